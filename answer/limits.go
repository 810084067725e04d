package answer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// The header names, as they go over the wire. They are put into header maps as they stand: HTTP/1.1 then shows them
// in the spelling of the draft, and no name is canonicalised for each call. [http.Header.Get], which canonicalises, does
// not find them before they have been sent.
const (
	rateLimit       = "RateLimit"
	rateLimitPolicy = "RateLimit-Policy"
	legacyLimit     = "X-RateLimit-Limit"
	legacyRemaining = "X-RateLimit-Remaining"
	legacyReset     = "X-RateLimit-Reset"
)

// Limits sets the headers that tell what the decision left of both allowances at the instant at. An unlimited kind is
// left out; where both are, no header is set. What a member has left is also left out where it was not looked up.
func (w Writer) Limits(h http.Header, d *quota.Decision, at time.Time) {
	switch w.Headers {
	case IETF:
		setIETF(h, d, at)
	case Legacy:
		setLegacy(h, d)
	case None:
	}
}

// Clear deletes what somebody else, an upstream for example, wrote under the names that [Writer.Limits] uses.
func (w Writer) Clear(h http.Header) {
	switch w.Headers {
	case IETF:
		delete(h, "Ratelimit")
		delete(h, "Ratelimit-Policy")
	case Legacy:
		delete(h, "X-Ratelimit-Limit")
		delete(h, "X-Ratelimit-Remaining")
		delete(h, "X-Ratelimit-Reset")
	case None:
	}
}

// limited reports which kinds of limit hold for the call and have an end.
func limited(d *quota.Decision) (application, member bool) {
	return d.Application.Limit != quota.Unlimited, d.HasMember && d.Member.Limit != quota.Unlimited
}

func setIETF(h http.Header, d *quota.Decision, at time.Time) {
	application, member := limited(d)
	if !application && !member {
		return
	}
	// Both values are parts of one string, and both slices of one array: two allocations in all.
	var room [192]byte
	b := room[:0]
	window, left := d.Day.Seconds(), d.Day.SecondsLeft(at)
	if application {
		b = appendItem(b, `"application";q=`, int64(d.Application.Limit), ";w=", window)
	}
	if member {
		b = appendItem(separate(b, 0), `"member";q=`, int64(d.Member.Limit), ";w=", window)
	}
	end := len(b)
	if application {
		b = appendItem(b, `"application";r=`, d.Application.Remaining(), ";t=", left)
	}
	if member && !d.MemberUnknown {
		b = appendItem(separate(b, end), `"member";r=`, d.Member.Remaining(), ";t=", left)
	}
	s := string(b)
	values := []string{s[:end], s[end:]}
	h[rateLimitPolicy] = values[0:1:1]
	h[rateLimit] = values[1:2:2]
}

// separate appends the separator of list members where something follows start.
func separate(b []byte, start int) []byte {
	if len(b) > start {
		b = append(b, ", "...)
	}
	return b
}

// appendItem appends an item of the draft's list: a policy's name with two numbers as parameters. Every limit is an
// Integer of RFC 9651, which has at most 15 digits.
func appendItem(b []byte, name string, n int64, parameter string, m int64) []byte {
	b = append(b, name...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, parameter...)
	return strconv.AppendInt(b, m, 10)
}

// setLegacy tells of the kind with less left, which is the one that a caller meets first; of the application's where
// both are even.
func setLegacy(h http.Header, d *quota.Decision) {
	application, member := limited(d)
	var a quota.Allowance
	switch {
	case application && member && !d.MemberUnknown && d.Member.Remaining() < d.Application.Remaining():
		a = d.Member
	case application:
		a = d.Application
	case member:
		a = d.Member
	default:
		return
	}
	values := []string{
		strconv.FormatInt(int64(a.Limit), 10),
		strconv.FormatInt(a.Remaining(), 10),
		strconv.FormatInt(d.Day.End.Unix(), 10),
	}
	h[legacyLimit] = values[0:1:1]
	h[legacyRemaining] = values[1:2:2]
	h[legacyReset] = values[2:3:3]
}

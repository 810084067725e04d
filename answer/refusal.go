package answer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// Refusal is a call that a limit refused. The names are the caller's own and appear in the answer.
type Refusal struct {
	Decision    *quota.Decision
	Application string
	Member      string    // empty where the call has none
	Endpoint    string    // an endpoint's id, or "*"
	At          time.Time // when it was decided: Retry-After counts from here
}

// Refusal answers a call that a limit refused: 429, with the headers of [Writer.Limits] and Retry-After, the whole
// seconds to the reset.
func (w Writer) Refusal(h http.Header, body []byte, r Refusal) (status int, _ []byte) {
	d := r.Decision
	setProblemHeaders(h)
	setRetryAfter(h, d.Day.SecondsLeft(r.At))
	w.Limits(h, d, r.At)

	violated, _ := d.Violated()
	body = append(body, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",`+
		`"title":"Daily limit reached","status":429,"detail":`...)
	var room [512]byte
	body = appendString(body, string(w.appendDetail(room[:0], r, violated)))
	body = append(body, `,"violated-policies":["`...)
	body = append(body, d.Refused.String()...)
	body = append(body, `"],"endpoint":`...)
	body = appendString(body, r.Endpoint)
	if w.Headers != None {
		body = append(body, `,"limit":`...)
		body = strconv.AppendInt(body, int64(violated.Limit), 10)
	}
	body = append(body, `,"resetsAt":"`...)
	body = appendInstant(body, d.Day.End)
	// The message names what the model API names: the member's limit is of an application and a member together.
	body = append(body, `","serviceErrorCode":101,"code":"TOO_MANY_REQUESTS","message":"Resource level throttle `...)
	if d.Refused == quota.Member {
		body = append(body, "APPLICATION_AND_MEMBER"...)
	} else {
		body = append(body, "APPLICATION"...)
	}
	body = append(body, ` DAY limit for calls to this resource is reached."}`+"\n"...)
	return http.StatusTooManyRequests, body
}

// appendDetail appends the sentences for a human, without escapes.
func (w Writer) appendDetail(b []byte, r Refusal, violated quota.Allowance) []byte {
	if r.Decision.Refused == quota.Member {
		b = append(b, "Member "...)
		b = append(b, r.Member...)
		b = append(b, " of application "...)
	} else {
		b = append(b, "Application "...)
	}
	b = append(b, r.Application...)

	// Calls may be left where the request costs more than one.
	left, numbers := violated.Remaining(), w.Headers != None
	switch {
	case left > 0 && numbers:
		b = append(b, " has "...)
		b = strconv.AppendInt(b, left, 10)
		b = append(b, " of its "...)
		b = appendCalls(b, int64(violated.Limit))
	case left > 0:
		b = append(b, " has fewer calls"...)
	case numbers:
		b = append(b, " has used its "...)
		b = appendCalls(b, int64(violated.Limit))
	default:
		b = append(b, " has used its calls"...)
	}
	b = append(b, " to "...)
	b = append(b, r.Endpoint...)
	if left > 0 {
		b = append(b, " left"...)
	}
	b = append(b, " for "...)
	b = append(b, r.Decision.Day.Date.String()...)
	b = append(b, " ("...)
	b = append(b, r.Decision.Day.Zone...)
	b = append(b, ')')
	switch {
	case left > 0 && numbers:
		b = append(b, ", and the request costs "...)
		b = strconv.AppendInt(b, r.Decision.Cost, 10)
	case left > 0:
		b = append(b, " than the request costs"...)
	}
	b = append(b, ". The limit resets at "...)
	b = appendInstant(b, r.Decision.Day.End)
	return append(b, '.')
}

func appendCalls(b []byte, n int64) []byte {
	b = strconv.AppendInt(b, n, 10)
	if n == 1 {
		return append(b, " call"...)
	}
	return append(b, " calls"...)
}

// appendInstant appends t as RFC 3339 in UTC, to the second.
func appendInstant(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, time.RFC3339)
}

package portal

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
)

const limitHelp = "Calls a day: a whole number, or unlimited. 0 is no access."

// limitWords returns a limit as people read it.
func limitWords(l quota.Limit) string {
	if l == quota.Unlimited {
		return l.String()
	}
	return group(int64(l))
}

// partialWords returns a limit that may be left to somebody else.
func partialWords(l *quota.Limit) string {
	if l == nil {
		return "–"
	}
	return limitWords(*l)
}

// grouped returns a value that the catalog tells as text, with its thousands set apart where it is a number.
func grouped(value string) string {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
		return group(n)
	}
	return value
}

// settingWords returns the name of a setting of the catalog: "member", or of a tier "posts.create member".
func settingWords(name string) string {
	of, kind := "", name
	if i := strings.LastIndexByte(name, ' '); i >= 0 {
		of, kind = name[:i+1], name[i+1:]
	}
	if kind == "application" || kind == "member" {
		kind += " limit"
	}
	return of + kind
}

// readLimit returns the limit in a field of a form; nil where the field is empty.
func readLimit(form url.Values, name string) (*quota.Limit, error) {
	text := strings.TrimSpace(form.Get(name))
	if text == "" {
		return nil, nil
	}
	l, err := quota.ParseLimit(text)
	if err != nil {
		return nil, misfilled(name, "Must be a whole number from 0 to %s, or unlimited.", group(int64(quota.MaxLimit)))
	}
	return &l, nil
}

// readLimits returns both limits of a form.
func readLimits(form url.Values) (l catalog.PartialLimits, err error) {
	if l.Application, err = readLimit(form, "application"); err == nil {
		l.Member, err = readLimit(form, "member")
	}
	return l, err
}

// readLimitsOf returns what a form says of an endpoint's limits in a tier or for an application.
func readLimitsOf(form url.Values) (endpoint string, l catalog.PartialLimits, err error) {
	if endpoint = form.Get("endpoint"); endpoint == "" {
		return "", l, misfilled("endpoint", "Name the endpoint.")
	}
	if l, err = readLimits(form); err == nil && l.IsZero() {
		err = misfilled("application", "Give the application's limit, or the member's, or both.")
	}
	return endpoint, l, err
}

// limitFields are the fields of an endpoint's limits in a tier or for an application.
func limitFields(s *catalog.Snapshot) []field {
	return []field{
		{Name: "endpoint", Label: "Endpoint", Help: "* is whatever matches no other.", Required: true, Most: 256, Hints: hints(s.Endpoints(), func(e *catalog.Endpoint) (string, bool) { return e.ID, true })},
		{Name: "application", Label: "Application limit", Help: limitHelp + " Empty: as it was."},
		{Name: "member", Label: "Member limit", Help: "The same, for each member."},
	}
}

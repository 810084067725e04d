package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/internal/netaddr"
	"github.com/perdiem/perdiem/registry"
)

// HeaderOptions says which headers identify the caller, and who is believed.
type HeaderOptions struct {
	Application string         // the name of the header that holds the application's id
	Member      string         // the name of the one that holds the member's; empty: there is none
	From        []netip.Prefix // the TCP peers that are believed; at least one
}

// Headers is the source that believes what a trusted proxy says in two headers. From any other peer the same headers mean
// nothing, and are taken off all the same.
type Headers struct {
	application string
	member      string
	from        []netip.Prefix
}

// NewHeaders returns the source. The error says every option that is missing or wrong.
func NewHeaders(o HeaderOptions) (*Headers, error) {
	var problems []error
	check := func(option, name string) {
		switch {
		case !httpname.IsToken(name):
			problems = append(problems, fmt.Errorf("headers.%s %q: must be the name of a header", option, name))
		case sameName(name, "Authorization"):
			problems = append(problems, fmt.Errorf("headers.%s: Authorization holds tokens; name another header", option))
		}
	}
	check("application", o.Application)
	if o.Member != "" {
		check("member", o.Member)
		if sameName(o.Application, o.Member) {
			problems = append(problems, errors.New("headers.member: must be another header than headers.application"))
		}
	}
	if len(o.From) == 0 {
		problems = append(problems, errors.New("headers.from: name the addresses that are believed, such as 127.0.0.0/8"))
	}
	for _, p := range o.From {
		if !p.IsValid() {
			problems = append(problems, errors.New("headers.from: an address range is not valid; write it as 10.0.0.0/8"))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	h := &Headers{application: http.CanonicalHeaderKey(o.Application), from: slices.Clone(o.From)}
	if o.Member != "" {
		h.member = http.CanonicalHeaderKey(o.Member)
	}
	return h, nil
}

// Identify finds a caller in a believed peer's request that has the application's header. An id that is not 1 to 256
// bytes of UTF-8 without control characters, and a header with two different values, are [fault.Invalid].
func (s *Headers) Identify(_ context.Context, r Request) (Caller, bool, error) {
	if !s.believes(r.Peer) {
		return Caller{}, false, nil
	}
	application, found, err := single(r.Header, s.application)
	if err != nil || !found {
		return Caller{}, false, err
	}
	if !registry.ValidID(application) {
		return Caller{}, false, errHeaderID(s.application)
	}
	var member string
	if s.member != "" {
		member, found, err = single(r.Header, s.member)
		if err != nil {
			return Caller{}, false, err
		}
		if found && !registry.ValidID(member) {
			return Caller{}, false, errHeaderID(s.member)
		}
		if member == application {
			member = ""
		}
	}
	return Caller{Application: application, Member: member}, true, nil
}

// Strip deletes both headers, whoever sent them.
func (s *Headers) Strip(h http.Header) {
	stripNamed(h, s.application)
	if s.member != "" {
		stripNamed(h, s.member)
	}
}

func (s *Headers) believes(peer netip.Addr) bool {
	return netaddr.In(s.from, peer)
}

func errHeaderID(name string) error {
	return fault.New(fault.Invalid, "The header %s must hold 1 to 256 bytes of UTF-8 without control characters.", name)
}

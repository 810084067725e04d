package catalog

import "fmt"

// PathPolicy says how paths are read, in requests and in patterns. The zero value is what holds unless the operator says else: a
// trailing slash is ignored in matching, ;parameters are dropped, case counts, and an encoded slash is refused.
//
// Each of the other choices is for an upstream that reads paths so itself. Where the upstream takes two paths for one that the
// policy holds apart, a caller may choose whose counter to be charged to.
type PathPolicy struct {
	// StrictSlash says that a path with a trailing slash is another path than without, as it is to [net/http.ServeMux].
	StrictSlash bool
	Parameters  Parameters
	// IgnoreCase says that paths which differ in case alone are matched as the same, by Unicode's simple folding. They are sent as
	// they came.
	IgnoreCase bool
	// PassEncodedSlash says that an encoded slash is a character of its segment: it parts nothing, and is sent as %2F.
	PassEncodedSlash bool
}

// Parameters says what becomes of the parameters that a path's segments may have, from a semicolon on (RFC 3986, 3.3).
type Parameters uint8

// What becomes of parameters.
const (
	DropParameters   Parameters = iota // they are neither matched nor sent
	KeepParameters                     // they belong to the segment: what is matched and sent has them
	RejectParameters                   // a path that has any is refused
)

var parameterNames = [...]string{"ignore", "keep", "reject"}

// String returns the word of a configuration.
func (p Parameters) String() string {
	if int(p) < len(parameterNames) {
		return parameterNames[p]
	}
	return fmt.Sprintf("parameters_%d", uint8(p))
}

// ParseParameters returns what a configuration's word means; ok is false where it means nothing.
func ParseParameters(word string) (_ Parameters, ok bool) {
	for i, name := range parameterNames {
		if word == name {
			return Parameters(i), true
		}
	}
	return 0, false
}

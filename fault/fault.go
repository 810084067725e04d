// Package fault holds the few kinds of error that perdiem's packages tell apart, and keeps the sentence
// that may be shown to a caller apart from the cause that is only logged.
//
// An error without a kind is [Internal]: its text is never shown outside. Each edge (the gateway, the admin
// API, the command line) translates a kind once, in one table of its own.
package fault

import (
	"errors"
	"fmt"
)

// Kind says whose fault an error is, and so what may be done about it.
type Kind uint8

// The kinds of error.
const (
	Internal     Kind = iota // a defect or a broken store: nothing that the caller did
	Invalid                  // the request or the input is malformed
	Unauthorized             // no credential, or one that does not hold
	Forbidden                // a good credential without the right
	NotFound                 // the thing named does not exist
	Conflict                 // the thing exists already, or belongs to another source
	Unavailable              // something needed is down: trying again later may help
	Exhausted                // too much was asked for at once: trying again soon helps
)

var names = [...]string{"internal", "invalid", "unauthorized", "forbidden", "not found", "conflict", "unavailable", "exhausted"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is an error of a known kind. Message is for the caller's eyes; Cause, which may be nil, is not.
type Error struct {
	Kind    Kind
	Message string
	Cause   error
}

// Error returns the message and the cause: for logs and operators, not for callers.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns an error of kind k whose message may be shown to the caller.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of kind k that keeps cause for the log and shows only message to the caller.
func Wrap(k Kind, cause error, message string) error {
	return &Error{Kind: k, Message: message, Cause: cause}
}

// KindOf returns the kind of the first [Error] in err's chain, and Internal where there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Message returns what may be shown to the caller: the message of the first [Error] in err's chain, and a
// sentence that gives nothing away where there is none.
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Message
	}
	return "An internal error occurred."
}

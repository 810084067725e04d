package notify

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"

	"github.com/wneessen/go-mail"

	"github.com/perdiem/perdiem/usage"
)

// statusError is the error of a webhook that did not take a message.
type statusError struct {
	host   string
	status int
}

// Error says who answered what.
func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered with status %d", e.host, e.status)
}

// errNotPublic is the error of an address that webhooks may not be sent to.
var errNotPublic = errors.New("not an address of the public internet, and the configuration's alerts.webhooks_may_reach does not allow it")

// problem says why a message was not taken by a way, to people of an application. They may set a webhook to whatever they like, so it tells them nothing of what
// the node can see of its own network: of a name that is not found no more than of one that leads where webhooks must not go. The log has all of it.
func problem(way usage.AlertWay, err error) string {
	if way == usage.MailWay {
		if code := refusal(err); code > 0 {
			return fmt.Sprintf("The mail server refused it, with code %d.", code)
		}
		return "The mail server was not reached, or did not take it."
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		return fmt.Sprintf("It answered with status %d.", status.status)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok || errors.Is(err, errNotPublic) {
		return "Its name is not found, or leads to no address on the public internet."
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "Its certificate is not valid."
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "It did not answer in time."
	}
	return "It could not be reached."
}

// refusal returns the code with which a mail server refused a message, or the address that it was for; 0 where it said nothing of the kind.
func refusal(err error) int {
	if failed, ok := errors.AsType[*mail.SendError](err); ok && failed.ErrorCode() > 0 {
		return failed.ErrorCode()
	}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return answer.Code
	}
	return 0
}

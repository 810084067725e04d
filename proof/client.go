package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// call is one call, as the client that made it saw it.
type call struct {
	id          uint64 // unlike every other call's
	application string
	member      string // empty: the application acts for itself
	run         int    // of the node that it was sent to
	due         time.Time
	sent        time.Time
	ended       time.Time // answered, or given up because the connection broke
	answer      answer
}

// answer is what a node says to a call. A zero status means that the call was sent and never answered.
type answer struct {
	status    int
	refusedBy string    // application or member, when a limit refused it
	resetsIn  int64     // seconds, from the RateLimit header; -1 when there is none
	resetsAt  time.Time // from a refusal's body
	left      allowance
}

// allowance is what the RateLimit header says is left, in calls; -1 where it says nothing.
type allowance struct{ application, member int64 }

func (c *call) admitted() bool { return c.answer.status == http.StatusOK }
func (c *call) refused() bool  { return c.answer.status == http.StatusTooManyRequests }
func (c *call) lost() bool     { return c.answer.status == 0 }

// conn is a client's connection to a node. It belongs to one goroutine, which writes each request and reads its answer itself: no call is
// ever sent twice, and none is handed between goroutines while its time is taken.
type conn struct {
	address string
	tcp     net.Conn
	read    *bufio.Reader
	request []byte
}

func dial(address string) (*conn, error) {
	tcp, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &conn{address: address, tcp: tcp, read: bufio.NewReader(tcp)}, nil
}

func (c *conn) close() {
	if c != nil {
		_ = c.tcp.Close() // nothing is under way that could be lost
	}
}

// callHeader carries a call's id to the upstream.
const callHeader = "X-Proof-Call"

// do sends a call and reads its answer, and enters both into k. The error says why there is no answer; the connection is of no use
// then.
func (c *conn) do(k *call, method, path string) error {
	c.compose(method, path, k.application, k.member, k.id)
	k.sent = time.Now()
	response, body, err := c.exchange(method)
	k.ended = time.Now()
	if err != nil {
		return err
	}
	k.answer, err = readAnswer(response, body)
	return err
}

// usage asks for the usage of an application, and of a member of it unless member is empty.
func (c *conn) usage(application, member string) (*usageReport, error) {
	c.compose(http.MethodGet, "/perdiem/usage", application, member, 0)
	response, body, err := c.exchange(http.MethodGet)
	if err != nil {
		return nil, fmt.Errorf("usage of %s %s: %w", application, member, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("usage of %s %s: %s: %s", application, member, response.Status, body)
	}
	report := &usageReport{}
	if err := json.Unmarshal(body, report); err != nil {
		return nil, fmt.Errorf("usage of %s %s: %w", application, member, err)
	}
	return report, nil
}

func (c *conn) compose(method, path, application, member string, id uint64) {
	b := append(c.request[:0], method...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: proof\r\nX-App-Id: "...)
	b = append(b, application...)
	if member != "" {
		b = append(b, "\r\nX-Member-Id: "...)
		b = append(b, member...)
	}
	b = append(b, "\r\n"+callHeader+": "...)
	b = strconv.AppendUint(b, id, 10)
	if method == http.MethodPost {
		b = append(b, "\r\nContent-Length: 0"...)
	}
	c.request = append(b, "\r\n\r\n"...)
}

func (c *conn) exchange(method string) (*http.Response, []byte, error) {
	if err := c.tcp.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, err
	}
	if _, err := c.tcp.Write(c.request); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(c.read, &http.Request{Method: method})
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

// readAnswer reads an answer of the gateway. The error says what the contract does not allow in it.
func readAnswer(response *http.Response, body []byte) (answer, error) {
	a := answer{status: response.StatusCode, resetsIn: -1, left: allowance{-1, -1}}
	if err := a.readLimits(response.Header.Get("RateLimit")); err != nil {
		return a, err
	}
	if a.status != http.StatusTooManyRequests {
		return a, nil
	}
	var problem struct {
		Violated []string  `json:"violated-policies"`
		ResetsAt time.Time `json:"resetsAt"`
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		return a, fmt.Errorf("a refusal's body: %w: %s", err, body)
	}
	if len(problem.Violated) != 1 || problem.ResetsAt.IsZero() {
		return a, fmt.Errorf("a refusal names no limit or no reset: %s", body)
	}
	a.refusedBy, a.resetsAt = problem.Violated[0], problem.ResetsAt
	return a, nil
}

// readLimits reads a RateLimit header, as in: "application";r=488;t=21600, "member";r=47;t=21600.
func (a *answer) readLimits(header string) error {
	if header == "" {
		return nil
	}
	for item := range strings.SplitSeq(header, ", ") {
		parts := strings.Split(item, ";")
		if len(parts) != 3 {
			return fmt.Errorf("the header RateLimit: %s", header)
		}
		r, errR := parameter(parts[1], "r=")
		t, errT := parameter(parts[2], "t=")
		if err := errors.Join(errR, errT); err != nil {
			return fmt.Errorf("the header RateLimit: %s: %w", header, err)
		}
		switch parts[0] {
		case `"application"`:
			a.left.application = r
		case `"member"`:
			a.left.member = r
		default:
			return fmt.Errorf("the header RateLimit: %s", header)
		}
		a.resetsIn = t
	}
	return nil
}

func parameter(text, name string) (int64, error) {
	value, ok := strings.CutPrefix(text, name)
	if !ok {
		return 0, fmt.Errorf("%s is missing", name)
	}
	return strconv.ParseInt(value, 10, 64)
}

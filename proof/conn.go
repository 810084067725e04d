package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

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

// post sends a call and reads its answer, and enters both into k. The error says why there is no answer; the connection is of no use
// then.
func (c *conn) post(k *call, path string) error {
	c.compose(http.MethodPost, path, k.application, k.member, k.id)
	k.sent = time.Now()
	response, body, err := c.exchange(http.MethodPost) //nolint:bodyclose // exchange has read it to its end
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
	response, body, err := c.exchange(http.MethodGet) //nolint:bodyclose // exchange has read it to its end
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

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/bench/internal/serve"
)

const (
	email    = "operator@example.com"
	password = "a long enough password"
)

// signIn adds an operator's account to a node, and returns the cookie of its session.
func signIn(ctx context.Context, file string, n *serve.Node) (string, error) {
	add := exec.CommandContext(ctx, file, "user", "add", email, "--operator", "-c", filepath.Join(n.Dir, "perdiem.yaml"))
	add.Stdin = strings.NewReader(password + "\n")
	if said, err := add.CombinedOutput(); err != nil {
		return "", fmt.Errorf("perdiem user add: %w\n%s", err, said)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	form := url.Values{"email": {email}, "password": {password}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.Portal+"/signin", strings.NewReader(form))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if len(answer.Cookies()) == 0 {
		return "", fmt.Errorf("signing in was answered by %s", answer.Status)
	}
	c := answer.Cookies()[0] // of the session; the other marks the browser
	return c.Name + "=" + c.Value, nil
}

// crowd are viewers. They only count what comes, so that they cost little beside what they are sent.
type crowd struct {
	connections []net.Conn
	events      atomic.Int64 // that came, of usage
	gone        atomic.Int64 // viewers whose connection ended
	leaving     atomic.Bool
	reading     sync.WaitGroup
}

// gather returns when all viewers are live.
func gather(ctx context.Context, portal, session string) (_ *crowd, err error) {
	c := &crowd{}
	defer func() {
		if err != nil {
			c.leave()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	first := make(chan error, viewers)
	for i := range viewers {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", portal)
		if err != nil {
			return nil, err
		}
		c.connections = append(c.connections, connection)
		if _, err := fmt.Fprintf(connection, "GET /apps/app%d/live HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nAccept: text/event-stream\r\n\r\n", i%applications, portal, session); err != nil {
			return nil, err
		}
		c.reading.Go(func() { c.read(connection, first) })
	}
	for range viewers {
		select {
		case err := <-first:
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, errors.Join(errors.New("the viewers are not all live"), ctx.Err())
		}
	}
	return c, nil
}

// read counts what comes to a viewer. It tells first of the first event, or why there was none.
func (c *crowd) read(from net.Conn, first chan<- error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 4<<10), 1<<20)
	live := false
	for lines.Scan() {
		if !live && bytes.HasPrefix(lines.Bytes(), []byte("HTTP/1.1 ")) && !bytes.HasPrefix(lines.Bytes(), []byte("HTTP/1.1 200 ")) {
			first <- errors.New("a viewer was answered by " + lines.Text())
			return
		}
		if !bytes.HasPrefix(lines.Bytes(), []byte("event: usage")) {
			continue
		}
		c.events.Add(1)
		if !live {
			live = true
			first <- nil
		}
	}
	if !c.leaving.Load() {
		c.gone.Add(1)
	}
	if !live {
		first <- fmt.Errorf("a viewer saw nothing: %w", lines.Err())
	}
}

// leave ends all viewers.
func (c *crowd) leave() {
	c.leaving.Store(true)
	for _, connection := range c.connections {
		_ = connection.Close()
	}
	c.reading.Wait()
}

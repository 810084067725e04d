package adminapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
)

func TestBackup(t *testing.T) {
	h := newHost(t)
	h.backup = func(context.Context) (func(io.Writer) error, error) {
		return func(w io.Writer) error { _, err := io.WriteString(w, "archive"); return err }, nil
	}
	w := h.ask("POST", "/admin/v1/backup", "")
	h.want(200, w, nil)
	if w.Body.String() != "archive" || w.Header().Get("Content-Type") != "application/x-tar" {
		t.Errorf("%q as %s", w.Body, w.Header().Get("Content-Type"))
	}
	h.backup = func(context.Context) (func(io.Writer) error, error) {
		return nil, fault.New(fault.Conflict, "There is one.")
	}
	h.wantProblem(409, "CONFLICT", h.ask("POST", "/admin/v1/backup", ""))
}

// TestBackupBreaksOff: whoever asks notices that an archive is not whole.
func TestBackupBreaksOff(t *testing.T) {
	h := newHost(t)
	h.backup = func(context.Context) (func(io.Writer) error, error) {
		return func(w io.Writer) error {
			if _, err := io.WriteString(w, strings.Repeat("archive", 100_000)); err != nil {
				return err
			}
			return errors.New("the disk failed")
		}, nil
	}
	server := httptest.NewServer(h.api)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/admin/v1/backup", nil)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+h.key)
	answer, err := server.Client().Do(r)
	check(t, err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err == nil || bytes.Contains(data, []byte("the disk failed")) {
		t.Errorf("%d bytes were read to their end: %v", len(data), err)
	}
}

// TestBackupTakesItsTime has a backup last for hours on a server that gives each request two minutes, and one that nobody takes end.
func TestBackupTakesItsTime(t *testing.T) {
	h := newHost(t) // outside of the bubble: its stores have goroutines of their own
	synctest.Test(t, func(t *testing.T) {
		const parts = 200
		ended := make(chan error, 1)
		h.backup = func(ctx context.Context) (func(io.Writer) error, error) {
			return func(w io.Writer) (err error) {
				defer func() { ended <- err }()
				for range parts {
					time.Sleep(time.Minute)
					if err := ctx.Err(); err != nil {
						return err
					}
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return err
					}
				}
				return nil
			}, nil
		}
		door := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: h.api, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute, ErrorLog: nil}
		go func() { _ = server.Serve(door) }() // it ends by Close
		defer server.Close()
		ask := func() net.Conn {
			ours, theirs := net.Pipe()
			door.conns <- theirs
			_, err := io.WriteString(ours, "POST /admin/v1/backup HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer "+h.key+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			check(t, err)
			return ours
		}
		taker := ask()
		data, err := io.ReadAll(taker)
		if err != nil || len(data) < parts*64<<10 {
			t.Errorf("%d bytes were read, %v", len(data), err)
		}
		check(t, <-ended)
		check(t, taker.Close())

		lazy := ask() // takes nothing
		began := time.Now()
		if err := <-ended; err == nil || time.Since(began) > 3*time.Minute {
			t.Errorf("a backup that nobody took ended after %s: %v", time.Since(began), err)
		}
		check(t, lazy.Close())
	})
}

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

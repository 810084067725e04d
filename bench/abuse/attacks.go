package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/bench/internal/serve"
	"github.com/perdiem/perdiem/identity"
)

// attack is a way to be a burden. It runs in a process of its own, at the lowest priority, until it is done or killed.
type attack struct {
	name  string
	title string
	run   func(ctx context.Context, target string)
	whole bool // it ends by itself, and is waited for
}

const (
	slowConnections = 1000
	slowBody        = 1 << 20   // bytes announced
	floodHeaders    = 62 << 10  // nearly as many as are taken
	tooMuchHeaders  = 400 << 10 // refused by 431
	streamed        = 10_000_000_000
	floodedBy       = 64 // connections
	batch           = 32 // requests a write
	unsent          = 64 << 10
)

var attacks = []attack{
	{"slow-headers", fmt.Sprintf("%d connections, a byte of headers a second each", slowConnections), slowHeaders, false},
	{"slow-bodies", fmt.Sprintf("%d connections, a byte of a body a second each", slowConnections), slowBodies, false},
	{"headers", fmt.Sprintf("%d connections, %d and %d KiB of headers a request, as many as can be sent", floodedBy, floodHeaders>>10, tooMuchHeaders>>10), headerFlood, false},
	{"body", "a body of 10 GB", largeBody, true},
	{"tokens", fmt.Sprintf("random tokens from %d connections, as many as can be sent", floodedBy), randomTokens, false},
}

// attacker is where connections come from: good clients have another address.
var attacker = net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}

// connections runs do on so many connections, each of which is made again when it ends.
func connections(ctx context.Context, n int, target string, do func(net.Conn) error) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				c, err := attacker.DialContext(ctx, "tcp", target)
				if err != nil {
					time.Sleep(100 * time.Millisecond)
					continue
				}
				_ = c.(*net.TCPConn).SetWriteBuffer(unsent) // else it is as large as the system has it
				_ = do(c)                                   // that the connection is broken off is what is to be expected
				c.Close()
			}
		})
	}
	all.Wait()
}

// drip writes text a byte a second.
func drip(c net.Conn, text string) error {
	for i := range len(text) {
		time.Sleep(time.Second)
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func slowHeaders(ctx context.Context, target string) {
	connections(ctx, slowConnections, target, func(c net.Conn) error {
		return drip(c, "GET /work HTTP/1.1\r\nHost: api.example\r\n"+strings.Repeat("X-Slow: 1\r\n", 1000))
	})
}

func slowBodies(ctx context.Context, target string) {
	connections(ctx, slowConnections, target, func(c net.Conn) error {
		if _, err := fmt.Fprintf(c, "POST /sink HTTP/1.1\r\nHost: api.example\r\n%s: %s\r\nContent-Length: %d\r\n\r\n", serve.Header, serve.Application, slowBody); err != nil {
			return err
		}
		return drip(c, strings.Repeat("x", slowBody))
	})
}

func headerFlood(ctx context.Context, target string) {
	of := func(size int) []byte {
		var b strings.Builder
		b.WriteString("GET /work HTTP/1.1\r\nHost: api.example\r\n")
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "X-Flood-%d: %s\r\n", i, strings.Repeat("f", 50))
		}
		b.WriteString("\r\n")
		return []byte(b.String())
	}
	large, tooLarge := of(floodHeaders), of(tooMuchHeaders)
	connections(ctx, floodedBy, target, func(c net.Conn) error {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for range 8 {
			if _, err := c.Write(large); err != nil {
				return err
			}
		}
		_, err := c.Write(tooLarge) // after which the connection is closed
		return err
	})
}

func largeBody(ctx context.Context, target string) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = fmt.Fprintf(c, "POST /sink HTTP/1.1\r\nHost: api.example\r\n%s: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", serve.Header, serve.Application, int64(streamed))
	if _, err := io.CopyN(c, zeros{}, streamed); err == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// randomTokens sends tokens that nobody issued: half of them in the form of those that carry a check, half in the older form, of which only the
// registry knows that they are made up.
func randomTokens(ctx context.Context, target string) {
	const bare = 47 // characters of the older form
	key := identity.NewTokenKey()
	requests := make([][]byte, 4096)
	for i := range requests {
		var b strings.Builder
		for n := range batch {
			secret, _ := key.NewToken()
			if n%2 == 0 {
				secret = secret[:bare]
			}
			fmt.Fprintf(&b, "GET /work HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer %s\r\n\r\n", secret)
		}
		requests[i] = []byte(b.String())
	}
	connections(ctx, floodedBy, target, func(c net.Conn) error {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for ctx.Err() == nil {
			if _, err := c.Write(requests[rand.IntN(len(requests))]); err != nil {
				return err
			}
		}
		return nil
	})
}

package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perdiem/perdiem/gateway"
)

// TestEarlyAnswers has many connections send bodies of every kind that are not read: by an upstream that answers before it has read them, or that is
// down, and by the gateway itself. Whatever comes of the connections, net/http must not panic over two readers of one, which it would log.
func TestEarlyAnswers(t *testing.T) {
	const rounds, callers = 40, 8
	early := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/some":
			_, _ = io.ReadFull(r.Body, make([]byte, 1))
		case "/all":
			_, _ = io.Copy(io.Discard, r.Body)
		default: // none
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Connection", "close")
		http.Error(w, "no", http.StatusForbidden)
	}))
	early.Config.ErrorLog = log.New(io.Discard, "", 0)
	early.Start()
	t.Cleanup(early.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, closed.Close())
	for name, host := range map[string]string{"an upstream that answers early": early.Listener.Addr().String(), "an upstream that is down": closed.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *setup) {
				c.options.Upstream = &url.URL{Scheme: "http", Host: host}
				c.options.Timeouts = gateway.Timeouts{Body: 50 * time.Millisecond} // what is never sent is not waited for long
			})
			s.quiet.Store(true)
			var answered [callers]int
			var group sync.WaitGroup
			for i := range callers {
				group.Go(func() {
					random := rand.New(rand.NewPCG(uint64(i), 1))
					for range rounds {
						answered[i] += sendUnwanted(t, s.address, random)
					}
				})
			}
			group.Wait()
			total := 0
			for _, n := range answered {
				total += n
			}
			if total < callers*rounds/2 {
				t.Errorf("only %d answers on %d connections", total, callers*rounds)
			}
			if said := s.log.String(); strings.Contains(said, "panic") {
				t.Errorf("logged %s", said)
			}
		})
	}
}

// sendUnwanted sends up to three requests with bodies on a connection, and returns how many were answered. That the connection ends is to be expected.
func sendUnwanted(t *testing.T, address string, random *rand.Rand) (answered int) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	reader := bufio.NewReader(conn)
	for range 3 {
		size := []int{1, 100, 3 << 10, 5 << 10, 100 << 10, 300 << 10}[random.IntN(6)]
		body := strings.Repeat("b", size)
		framing := fmt.Sprintf("Content-Length: %d\r\n", size)
		if random.IntN(2) == 0 {
			framing = "Transfer-Encoding: chunked\r\n"
			body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
		}
		head := "POST " + []string{"/none", "/some", "/all"}[random.IntN(3)] + " HTTP/1.1\r\nHost: a\r\n" + framing
		if random.IntN(4) > 0 { // else the gateway answers by itself
			head += "X-App-Id: acme\r\n"
		}
		if random.IntN(4) == 0 {
			head += "Connection: close\r\n"
		}
		expects := random.IntN(4) == 0
		if expects {
			head += "Expect: 100-continue\r\n"
		}
		head += "\r\n"
		sent := make(chan struct{})
		switch random.IntN(3) {
		case 0: // together
			go func() { defer close(sent); _, _ = io.WriteString(conn, head+body) }()
		case 1: // one after the other
			go func() { defer close(sent); _, _ = io.WriteString(conn, head); _, _ = io.WriteString(conn, body) }()
		default: // the end of it, or all, when the answer has come
			n := random.IntN(len(body))
			if _, err := io.WriteString(conn, head+body[:n]); err != nil {
				return answered
			}
			go func() { defer close(sent); _, _ = reader.Peek(1); _, _ = io.WriteString(conn, body[n:]) }()
			<-sent
		}
		answer, err := http.ReadResponse(reader, nil)
		for err == nil && answer.StatusCode == http.StatusContinue {
			answer, err = http.ReadResponse(reader, nil)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			answered++
		}
		if err != nil || answer.Close {
			conn.Close()
			<-sent
			return answered
		}
		<-sent
	}
	return answered
}

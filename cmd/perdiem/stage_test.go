package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a condition is waited for that has no time of its own.
const patience = 20 * time.Second

// stage is what a script plays on: an upstream, and at most one node at a time.
type stage struct {
	upstream *upstream
	env      []string
	node     *exec.Cmd
	exited   chan struct{} // closed when the node has ended
	out      *transcript
	err      *transcript
	load     *callers // nil: nobody calls
}

// upstream answers every request by its method and path, and counts those that reach it.
type upstream struct {
	*httptest.Server
	held    chan struct{} // gets an element for each request for /held, which is answered only after
	release chan struct{} // gave one
	mu      sync.Mutex
	reached map[string]int // guarded by mu: by the endpoint that perdiem tells
}

func newUpstream() *upstream {
	u := &upstream{reached: map[string]int{}, held: make(chan struct{}), release: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.reached[r.Header.Get("X-Perdiem-Endpoint")]++
		u.mu.Unlock()
		if r.URL.Path == "/held" {
			select {
			case u.held <- struct{}{}:
				<-u.release
			case <-r.Context().Done():
			}
		}
		fmt.Fprintf(w, "%s %s for %s %s\n", r.Method, r.URL.Path, r.Header.Get("X-Perdiem-Application"), r.Header.Get("X-Perdiem-Member"))
	}))
	return u
}

// transcript is what a process writes, and wakes those who wait for a line of it.
type transcript struct {
	mu    sync.Mutex
	text  bytes.Buffer  // guarded by mu
	wrote chan struct{} // guarded by mu: closed at each write, and replaced
}

func newTranscript() *transcript { return &transcript{wrote: make(chan struct{})} }

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.wrote)
	t.wrote = make(chan struct{})
	return t.text.Write(b)
}

func (t *transcript) read() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String(), t.wrote
}

// wait waits for what matches, and returns its submatches; nil where ended closed, or patience did, first.
func (t *transcript) wait(pattern *regexp.Regexp, ended <-chan struct{}) []string {
	deadline := time.After(patience)
	for last := false; ; {
		text, wrote := t.read()
		if m := pattern.FindStringSubmatch(text); m != nil {
			return m
		}
		if last {
			return nil
		}
		select {
		case <-wrote:
		case <-ended:
			last = true // one more look: it may have written before it ended
		case <-deadline:
			return nil
		}
	}
}

type stageKey struct{}

func setupStage(env *testscript.Env) error {
	s := &stage{upstream: newUpstream()}
	env.Values[stageKey{}] = s
	env.Setenv("UPSTREAM", s.upstream.URL)
	env.Setenv("GORACE", "atexit_sleep_ms=0 halt_on_error=1 "+os.Getenv("GORACE")) // else each program waits a second before it ends
	for _, name := range []string{"GATEWAY", "PORTAL", "ADMIN", "OPS", "STARTS", "TOKEN", "ENCRYPTED", "SSL_CERT_FILE"} {
		env.Setenv(name, "")
	}
	s.env = env.Vars
	env.Defer(func() {
		if s.load != nil {
			s.load.end()
		}
		if s.node != nil {
			_ = s.node.Process.Kill()
			<-s.exited
		}
		s.upstream.Close()
	})
	return nil
}

func staged(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

var readyLine = regexp.MustCompile(`(?m)^perdiem: ready(?: gateway=(\S+))? portal=(\S+) admin=(\S+) ops=(\S+)$`)

// start runs perdiem with the arguments in the background, and waits until it says that it is ready: then its addresses are in
// $GATEWAY, $PORTAL, $ADMIN and $OPS, and what it printed is in the file "printed".
func start(ts *testscript.TestScript, neg bool, args []string) {
	s := staged(ts)
	if neg || s.node != nil {
		ts.Fatalf("start: not with !, and one node at a time")
	}
	program, err := exec.LookPath("perdiem")
	ts.Check(err)
	s.node = exec.Command(program, args...)
	s.node.Dir = ts.MkAbs(".")
	for _, v := range s.env {
		name, _, _ := strings.Cut(v, "=")
		s.node.Env = append(s.node.Env, name+"="+ts.Getenv(name))
	}
	s.out, s.err, s.exited = newTranscript(), newTranscript(), make(chan struct{})
	s.node.Stdout, s.node.Stderr = s.out, s.err
	ts.Check(s.node.Start())
	go func(node *exec.Cmd, exited chan struct{}) {
		_ = node.Wait() // the state is in node.ProcessState
		close(exited)
	}(s.node, s.exited)
	ready := s.out.wait(readyLine, s.exited)
	printed, _ := s.out.read()
	logged, _ := s.err.read()
	if ready == nil {
		ts.Fatalf("start: not ready: printed %q, logged\n%s", printed, logged)
	}
	ts.Setenv("GATEWAY", ready[1])
	ts.Setenv("PORTAL", ready[2])
	ts.Setenv("ADMIN", ready[3])
	ts.Setenv("OPS", ready[4])
	ts.Check(os.WriteFile(ts.MkAbs("printed"), []byte(printed), 0o600))
}

// sendSignal sends HUP, or sends TERM, INT or KILL and waits for the node's end, which is a good one but for KILL.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	s := staged(ts)
	known := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	if neg || len(args) != 1 || known[args[0]] == 0 || s.node == nil {
		ts.Fatalf("usage: signal %v, with a node", slices.Sorted(maps.Keys(known)))
	}
	ts.Check(s.node.Process.Signal(known[args[0]]))
	if args[0] == "HUP" {
		return
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		ts.Fatalf("signal %s: the node goes on", args[0])
	}
	logged, _ := s.err.read()
	if code := s.node.ProcessState.ExitCode(); args[0] != "KILL" && code != 0 {
		ts.Fatalf("signal %s: exit status %d, logged\n%s", args[0], code, logged)
	}
	s.node = nil
}

// drain stops the node while a request is under way. The node must say that it is not ready, take no new request, let the one under way end
// well, and then end well itself.
func drain(ts *testscript.TestScript, neg bool, args []string) {
	s := staged(ts)
	if neg || len(args) != 0 || s.node == nil {
		ts.Fatalf("usage: drain, with a node")
	}
	under := make(chan error, 1)
	go func(gateway, token string) {
		r, err := http.NewRequest(http.MethodGet, "http://"+gateway+"/held", nil)
		if err != nil {
			under <- err
			return
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", answer.StatusCode)
			}
		}
		under <- err
	}(ts.Getenv("GATEWAY"), ts.Getenv("TOKEN"))
	select {
	case <-s.upstream.held:
	case err := <-under:
		ts.Fatalf("drain: the request ended early: %v", err)
	}
	ts.Check(s.node.Process.Signal(syscall.SIGTERM))
	for began := time.Now(); ; {
		answer, body := request(ts, http.MethodGet, "http://"+ts.Getenv("OPS")+"/readyz")
		if answer.StatusCode == http.StatusServiceUnavailable && strings.Contains(body, "a stop is under way") {
			break
		}
		if time.Since(began) > patience {
			ts.Fatalf("drain: still ready: %d %s", answer.StatusCode, body)
		}
	}
	for began := time.Now(); ; {
		c, err := net.Dial("tcp", ts.Getenv("GATEWAY"))
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Since(began) > patience {
			ts.Fatalf("drain: the gateway goes on to listen")
		}
	}
	s.upstream.release <- struct{}{}
	if err := <-under; err != nil {
		ts.Fatalf("drain: the request under way ended badly: %v", err)
	}
	<-s.exited
	if code := s.node.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("drain: exit status %d", code)
	}
	s.node = nil
}

// exits runs a program in the foreground, which must end with the status that is told first.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGUMENT...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	status := 0
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // testscript returns it bare
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	if status != want {
		ts.Fatalf("exits: status %d instead of %d", status, want)
	}
}

// request makes one request with $TOKEN and the headers, each as NAME=VALUE. The path may be a whole URL.
func request(ts *testscript.TestScript, method, path string, headers ...string) (*http.Response, string) {
	if strings.HasPrefix(path, "/") {
		path = "http://" + ts.Getenv("GATEWAY") + path
	}
	var send io.Reader
	headers = slices.DeleteFunc(slices.Clone(headers), func(h string) bool {
		file, ok := strings.CutPrefix(h, "@")
		if ok {
			send = strings.NewReader(ts.ReadFile(file))
		}
		return ok
	})
	r, err := http.NewRequest(method, path, send)
	ts.Check(err)
	if send != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token := ts.Getenv("TOKEN"); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	return answer, string(body)
}

// call makes a request, with a file's JSON as its body where one is named, which must be answered with the status that is told first; headers and body are in the file "answer".
func call(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: call STATUS METHOD PATH [NAME=VALUE...] [@FILE]")
	}
	answer, body := request(ts, args[1], args[2], args[3:]...)
	var text bytes.Buffer
	ts.Check(answer.Header.Write(&text))
	text.WriteString("\n" + body)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), bytes.ReplaceAll(text.Bytes(), []byte("\r"), nil), 0o600))
	if got := strconv.Itoa(answer.StatusCode); got != args[0] {
		ts.Fatalf("call: answered %s instead of %s:\n%s", got, args[0], text.String())
	}
}

// spend makes a number of requests, all of which must be admitted.
func spend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: spend TIMES METHOD PATH")
	}
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range times {
		if answer, body := request(ts, args[1], args[2]); answer.StatusCode != http.StatusOK {
			ts.Fatalf("spend: request %d of %d answered %d: %s", i+1, times, answer.StatusCode, body)
		}
	}
}

// until repeats a request until it is answered with the status, within the time that is told first.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: until WITHIN STATUS METHOD PATH")
	}
	within, err := time.ParseDuration(args[0])
	ts.Check(err)
	for began := time.Now(); ; {
		answer, body := request(ts, args[2], args[3])
		if strconv.Itoa(answer.StatusCode) == args[1] {
			return
		}
		if time.Since(began) > within {
			ts.Fatalf("until: after %s still %d: %s", within, answer.StatusCode, body)
		}
	}
}

// keep puts a file's text, or what the last program printed, into a variable.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: keep NAME FILE [PATTERN]")
	}
	text := ts.ReadFile(args[1])
	if len(args) == 3 {
		m := regexp.MustCompile(args[2]).FindStringSubmatch(text)
		if len(m) < 2 {
			ts.Fatalf("keep: %s does not match %s:\n%s", args[1], args[2], text)
		}
		text = m[1]
	}
	ts.Setenv(args[0], strings.TrimSpace(text))
}

// logged waits until the running node has logged what matches.
func logged(ts *testscript.TestScript, neg bool, args []string) {
	s := staged(ts)
	if neg || len(args) != 1 || s.node == nil {
		ts.Fatalf("usage: logged PATTERN, with a node")
	}
	if s.err.wait(regexp.MustCompile(args[0]), s.exited) == nil {
		text, _ := s.err.read()
		ts.Fatalf("logged: nothing matches %s:\n%s", args[0], text)
	}
}

// soon puts a time of day a while ahead, in UTC, into $STARTS.
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: soon AHEAD")
	}
	ahead, err := time.ParseDuration(args[0])
	ts.Check(err)
	ts.Setenv("STARTS", time.Now().UTC().Add(ahead).Format(time.TimeOnly))
}

// reached checks how many requests reached the upstream for an endpoint.
func reached(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reached ENDPOINT TIMES")
	}
	u := staged(ts).upstream
	u.mu.Lock()
	defer u.mu.Unlock()
	if got := strconv.Itoa(u.reached[args[0]]); got != args[1] {
		ts.Fatalf("reached: %s requests for %s instead of %s", got, args[0], args[1])
	}
}

// curlAgain does what the one line of "printed" that begins with curl does, until it is answered with 429, at most 100 times. The
// first answer must be 200.
func curlAgain(ts *testscript.TestScript, neg bool, args []string) {
	lines := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(ts.ReadFile("printed"), -1)
	if neg || len(args) != 0 || len(lines) != 1 {
		ts.Fatalf("curlagain: %d lines begin with curl: %q", len(lines), lines)
	}
	m := regexp.MustCompile(`^curl -i -H 'Authorization: Bearer (\S+)' (http://\S+)$`).FindStringSubmatch(lines[0])
	if m == nil {
		ts.Fatalf("curlagain: not the line that is known: %s", lines[0])
	}
	ts.Setenv("TOKEN", m[1])
	for i := range 100 {
		answer, body := request(ts, http.MethodGet, m[2])
		switch {
		case i > 0 && answer.StatusCode == http.StatusTooManyRequests:
			return
		case answer.StatusCode != http.StatusOK:
			ts.Fatalf("curlagain: request %d answered %d: %s", i+1, answer.StatusCode, body)
		}
	}
	ts.Fatalf("curlagain: no 429 within 100 requests")
}

// callers call without pause.
type callers struct {
	stop     chan struct{}
	group    sync.WaitGroup
	admitted atomic.Int64
	other    atomic.Int64 // answers other than 200
}

func (c *callers) end() {
	close(c.stop)
	c.group.Wait()
}

// load has four callers make a request over and over, from "load begin METHOD PATH" until "load end". Both, and "load reach N", which waits until
// N more calls were admitted, put how many were admitted into $ADMITTED.
func load(ts *testscript.TestScript, neg bool, args []string) {
	s := staged(ts)
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: load begin METHOD PATH | reach N | end")
	case args[0] == "begin" && len(args) == 3 && s.load == nil:
		c := &callers{stop: make(chan struct{})}
		s.load = c
		gateway, token := ts.Getenv("GATEWAY"), ts.Getenv("TOKEN")
		for range 4 {
			c.group.Go(func() {
				for {
					select {
					case <-c.stop:
						return
					default:
					}
					r, err := http.NewRequest(args[1], "http://"+gateway+args[2], nil)
					if err != nil {
						c.other.Add(1)
						return
					}
					r.Header.Set("Authorization", "Bearer "+token)
					answer, err := http.DefaultClient.Do(r)
					if err != nil {
						c.other.Add(1)
						return
					}
					_, _ = io.Copy(io.Discard, answer.Body)
					_ = answer.Body.Close()
					if answer.StatusCode == http.StatusOK {
						c.admitted.Add(1)
					} else {
						c.other.Add(1)
					}
				}
			})
		}
	case args[0] == "reach" && len(args) == 2 && s.load != nil:
		more, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for began, least := time.Now(), s.load.admitted.Load()+more; s.load.admitted.Load() < least; <-tick.C {
			if time.Since(began) > patience {
				ts.Fatalf("load: %d calls were admitted, and %d otherwise", s.load.admitted.Load(), s.load.other.Load())
			}
		}
	case args[0] == "end" && len(args) == 1 && s.load != nil:
		s.load.end()
		if n := s.load.other.Load(); n > 0 {
			ts.Fatalf("load: %d calls were not admitted", n)
		}
		defer func() { s.load = nil }()
	default:
		ts.Fatalf("load: not now: %q", args)
	}
	ts.Setenv("ADMITTED", strconv.FormatInt(s.load.admitted.Load(), 10))
}

// between checks that numbers do not fall.
func between(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: between LOW NUMBER HIGH")
	}
	var last int64
	for i, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		ts.Check(err)
		if i > 0 && n < last {
			ts.Fatalf("between: %d is less than %d", n, last)
		}
		last = n
	}
}

// flip copies a file, with a bit in the middle turned.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE TO")
	}
	data := []byte(ts.ReadFile(args[0]))
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

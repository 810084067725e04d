package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mailpit is a real mail server, https://mailpit.axllent.org, which keeps what it gets. It listens at a free port of 127.0.0.1.
type Mailpit struct {
	Port        int
	Certificate []byte // in PEM, by which it proves who it is; nil: it offers no encryption
	client      http.Client
}

// MailpitOptions say how a [Mailpit] takes mail. The zero value takes all, without encryption.
type MailpitOptions struct {
	StartTLS    bool   // it takes nothing without
	ImplicitTLS bool   // TLS from the start
	User        string // with StartTLS or ImplicitTLS; empty: it asks for none
	Password    string
	Recipients  string // a regular expression of the addresses that it takes mail for; empty: all
}

// Letter is a message that a [Mailpit] got.
type Letter struct {
	ID       string // Mailpit's own
	From     mail.Address
	To       []mail.Address
	Bcc      []mail.Address // whom the envelope names, and no header
	Subject  string
	Username string // that whoever sent it signed in as
	Text     string
}

// mailpitTime is how long a Mailpit may take to start, and to answer.
const mailpitTime = 10 * time.Second

// StartMailpit starts a mail server, which ends with the test. The go command makes it of what tools/go.mod names, and keeps it for the next time.
func StartMailpit(t testing.TB, o MailpitOptions) *Mailpit {
	t.Helper()
	program, err := mailpitProgram()
	if err != nil {
		t.Fatalf("the mail server that tests run against cannot be made (it needs the Go module proxy, or what was got from there before): %v", err)
	}
	folder, err := os.MkdirTemp("", "mailpit") // t.TempDir's name may be too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	write := func(name string, data []byte) (path string) {
		path = filepath.Join(folder, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	letters, pages := filepath.Join(folder, "smtp"), filepath.Join(folder, "http")
	args := []string{
		"--smtp", "unix:" + letters + ":600", "--listen", "unix:" + pages + ":600", "--database", filepath.Join(folder, "mail.db"),
		"--smtp-disable-rdns", "--disable-version-check", "--smtp-allowed-recipients", o.Recipients,
	}
	m := &Mailpit{}
	if o.StartTLS || o.ImplicitTLS {
		certificate, key, err := Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		m.Certificate = certificate
		args = append(args, "--smtp-tls-cert", write("cert.pem", certificate), "--smtp-tls-key", write("key.pem", key))
	}
	if o.StartTLS {
		args = append(args, "--smtp-require-starttls")
	}
	if o.ImplicitTLS {
		args = append(args, "--smtp-require-tls")
	}
	if o.User != "" {
		args = append(args, "--smtp-auth-file", write("users", []byte(o.User+":"+o.Password+"\n")))
	}
	command := exec.Command(program, args...)
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	command.Env = []string{} // which it would read options from
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
	})
	for _, socket := range []string{letters, pages} {
		if err := awaitSocket(socket, ended); err != nil {
			_ = command.Process.Kill()
			<-ended
			t.Fatalf("Mailpit did not start: %v: %s", err, said.String())
		}
	}
	m.client = http.Client{Timeout: mailpitTime, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", pages)
	}}}
	t.Cleanup(m.client.CloseIdleConnections)
	m.Port = forward(t, letters)
	return m
}

// mailpitProgram returns the path of the program, which is made where it was not yet.
var mailpitProgram = sync.OnceValues(func() (string, error) {
	root, err := run("go", "list", "-m", "-f", "{{.Dir}}", "github.com/perdiem/perdiem")
	if err != nil {
		return "", err
	}
	return run("go", "tool", "-modfile="+filepath.Join(root, "tools", "go.mod"), "-n", "mailpit")
})

// run returns the last line that a program prints.
func run(name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	var said strings.Builder
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, said.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
}

// awaitSocket waits until somebody listens at a socket.
func awaitSocket(path string, ended <-chan struct{}) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	late := time.After(mailpitTime)
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-ended:
			return errors.New("it has ended")
		case <-late:
			return err
		}
	}
}

// forward has a free port of 127.0.0.1 lead to a socket until the test ends, and returns the port: a Mailpit that is told to find a free one does not say which.
// A connection that is still open then fails the test.
func forward(t testing.TB, socket string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		ended := make(chan struct{})
		go func() { serving.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(mailpitTime):
			t.Error("a connection to the mail server was left open")
		}
	})
	serving.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { join(from, socket) })
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// join passes on what comes from either side until one of them ends.
func join(from net.Conn, socket string) {
	defer from.Close()
	to, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer to.Close()
	var other sync.WaitGroup
	other.Go(func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	})
	_, _ = io.Copy(from, to)
	_ = from.Close()
	other.Wait()
}

// Letters returns all that came, the first first.
func (m *Mailpit) Letters(t testing.TB) []Letter {
	t.Helper()
	var list struct {
		Messages []struct{ ID string }
	}
	m.get(t, "messages", &list)
	letters := make([]Letter, len(list.Messages))
	for i, message := range list.Messages {
		m.get(t, "message/"+url.PathEscape(message.ID), &letters[len(letters)-1-i])
	}
	return letters
}

// Raw returns a message as it came.
func (m *Mailpit) Raw(t testing.TB, l Letter) []byte {
	t.Helper()
	return m.body(t, "message/"+url.PathEscape(l.ID)+"/raw")
}

// Await returns all that came as soon as there are so many, or what there is when the time has passed.
func (m *Mailpit) Await(t testing.TB, count int, within time.Duration) []Letter {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for late := time.After(within); ; {
		letters := m.Letters(t)
		if len(letters) >= count {
			return letters
		}
		select {
		case <-again.C:
		case <-late:
			return letters
		}
	}
}

func (m *Mailpit) get(t testing.TB, path string, into any) {
	t.Helper()
	body := m.body(t, path)
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("Mailpit's %s: %v: %s", path, err, body)
	}
}

func (m *Mailpit) body(t testing.TB, path string) []byte {
	t.Helper()
	answer, err := m.client.Get("http://mailpit/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("Mailpit's %s: %s: %v: %s", path, answer.Status, err, body)
	}
	return body
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/internal/netaddr"
)

// connection says to which running node a command speaks, and with which key.
type connection struct {
	Config  string `short:"c" placeholder:"FILE" help:"The node's configuration, which tells its data folder (perdiem.yaml)."`
	Server  string `placeholder:"URL" help:"The node's admin API, instead of -c; by default $$PERDIEM_SERVER or http://127.0.0.1:8082."`
	KeyFile string `placeholder:"FILE" help:"A file with the operator's key. Without it, -c takes the node's own key, and --server $$PERDIEM_OPERATOR_KEY."`
}

const (
	defaultConfig = "perdiem.yaml"
	defaultServer = "http://127.0.0.1:8082"
	serverEnv     = "PERDIEM_SERVER"
	keyEnv        = "PERDIEM_OPERATOR_KEY"
)

// client speaks to the admin API of a node.
type client struct {
	base *url.URL
	key  string
	http *http.Client
}

// open finds the node. What the command line says goes before the environment, and that before a perdiem.yaml in this folder.
func (c connection) open(p *program) (*client, error) {
	if c.Config != "" && c.Server != "" {
		return nil, usageError{errors.New("-c and --server name two nodes; give one of them")}
	}
	if server, _ := p.getenv(serverEnv); server != "" && c.Config == "" && c.Server == "" {
		c.Server = server
		if _, err := os.Stat(defaultConfig); err == nil {
			fmt.Fprintf(p.stderr, "perdiem: %s is asked, as %s says, and not the node of ./%s: unset the variable, or say -c %s, to ask that\n", server, serverEnv, defaultConfig, defaultConfig)
		}
	}
	if c.Config == "" && c.Server == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			c.Config = defaultConfig
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		} else {
			c.Server = defaultServer
		}
	}
	if c.Config != "" {
		return c.openFolder(p)
	}
	return c.openServer(p)
}

// openFolder finds a node of this machine by its data folder.
func (c connection) openFolder(p *program) (*client, error) {
	config, err := readConfig(c.Config, p.getenv)
	if err != nil {
		return nil, err
	}
	a, err := readNodeFile(config.Data)
	if err != nil {
		return nil, err
	}
	if c.KeyFile == "" {
		c.KeyFile = config.OperatorKeyFile
	}
	key, err := adminapi.ReadKeyFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("the operator's key cannot be read: %w: name another file by --key-file", err)
	}
	if other, set := p.getenv(keyEnv); set && strings.TrimSpace(other) != "" && strings.TrimSpace(other) != key {
		fmt.Fprintf(p.stderr, "perdiem: %s holds another key, which is not used: with -c (or %s in this folder) the key is that of %s; --server URL takes the variable's\n",
			keyEnv, defaultConfig, c.KeyFile)
	}
	return newFolderClient(a, key)
}

// openServer finds a node by its address.
func (c connection) openServer(p *program) (*client, error) {
	base, err := parseServer(c.Server)
	if err != nil {
		return nil, usageError{err}
	}
	if c.KeyFile != "" {
		key, err := adminapi.ReadKeyFile(c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the operator's key cannot be read: %w", err)
		}
		return newClient(base, key), nil
	}
	key, set := p.getenv(keyEnv)
	if key = strings.TrimSpace(key); !set || key == "" {
		return nil, fmt.Errorf("the operator's key is not known: set %s, or name its file by --key-file, or the node's configuration by -c", keyEnv)
	}
	return newClient(base, key), nil
}

func newClient(base *url.URL, key string) *client {
	return &client{base: base, key: key, http: &http.Client{
		Timeout: 2 * time.Minute,
		// A redirection would carry the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// parseServer reads the address of an admin API.
func parseServer(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("--server %q: write it as https://HOST or http://127.0.0.1:PORT", text)
	case u.Scheme == "http" && !netaddr.IsLoopback(u.Hostname()):
		return nil, fmt.Errorf("--server %s: http would send the operator's key in the open; use https, or a tunnel to 127.0.0.1", text)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// reachable turns an address at which all of the machine's are listened at into one that can be asked.
func reachable(address string) string { return reachableAs(address, "127.0.0.1") }

// reachableAs turns an address at which all of the machine's are listened at into that of one host.
func reachableAs(address, as string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = as
	}
	return net.JoinHostPort(host, port)
}

const maxReply = 64 << 20 // bytes

// call asks for an operation. A body that is not bytes is sent as JSON; out, unless nil, is filled from the answer.
func (c *client) call(method, path string, query url.Values, body, out any) error {
	u := *c.base
	u.Path += "/admin/v1/" + path
	u.RawQuery = query.Encode()
	var send io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case []byte:
		send, contentType = bytes.NewReader(b), "application/yaml"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return err
		}
		send = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, u.String(), send)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	reply, err := c.http.Do(request)
	if err != nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err // it repeats the address, with the query
		}
		return fmt.Errorf("the node at %s does not answer: %w: see that it runs, or name another by --server, -c or PERDIEM_SERVER", c.base, err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err != nil {
		return fmt.Errorf("the node at %s broke its answer off: %w: ask again", c.base, err)
	}
	if reply.StatusCode >= 300 {
		return c.refused(reply, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("what answers at %s is no perdiem of this version: %w", c.base, err)
	}
	return nil
}

// refused returns what an answer that is an error says.
func (c *client) refused(reply *http.Response, data []byte) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	mediaType, _, _ := strings.Cut(reply.Header.Get("Content-Type"), ";")
	if mediaType != "application/problem+json" || json.Unmarshal(data, &problem) != nil || problem.Detail == "" {
		return fmt.Errorf("what answers at %s is no admin API of perdiem: it says %s", c.base, reply.Status)
	}
	if reply.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("the node at %s does not accept the operator's key: it may have been rotated; look for it in operator.key in the node's data folder", c.base)
	}
	if reply.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s The log of the node at %s tells more", problem.Detail, c.base)
	}
	return refusal{reply.StatusCode, problem.Detail}
}

// refusal is what a node says to what it does not do.
type refusal struct {
	status int // of HTTP, 400 to 499
	detail string
}

func (r refusal) Error() string { return r.detail }

package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

type demoCommand struct {
	Dir     string `placeholder:"DIR" help:"Keep everything in this folder; else it is in a temporary one and removed at the end."`
	Traffic bool   `help:"Keep a gentle load of calls running, by an application of its own, so that the portal's pages live."`
	Gateway string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"The gateway's address (${default})."`
	Portal  string `default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"The Developer Portal's address (${default})."`
	Admin   string `default:"127.0.0.1:8082" placeholder:"HOST:PORT" help:"The admin API's address (${default})."`
	Ops     string `default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"The address of metrics and health (${default})."`
}

// Validate is called by kong.
func (c demoCommand) Validate() error {
	taken := map[string]string{} // which flag has an address
	for _, f := range []struct{ name, address string }{
		{"gateway", c.Gateway}, {"portal", c.Portal}, {"admin", c.Admin}, {"ops", c.Ops},
	} {
		if !validAddress(f.address) {
			return fmt.Errorf("--%s %q: must be an address as HOST:PORT; port 0 picks a free one", f.name, f.address)
		}
		if other := taken[f.address]; other != "" && !strings.HasSuffix(f.address, ":0") {
			return fmt.Errorf("--%s %s is the address of --%s already; give one of them another", f.name, f.address, other)
		}
		taken[f.address] = f.name
	}
	return nil
}

const (
	demoApplication = "demo"
	demoMember      = "member-1"
	demoDeveloper   = "developer@example.com"
	demoOperator    = "operator@example.com"
	demoActor       = "demo"         // in the audit
	demoTokensHold  = 24 * time.Hour // each start issues others, so in a folder that is kept they would pile up
	demoMark        = "# Written by perdiem demo, each time that it starts."
)

//go:embed demo.yaml
var demoCatalog string

func (c demoCommand) Run(p *program) (err error) {
	folder := c.Dir
	if folder == "" {
		if folder, err = os.MkdirTemp("", "perdiem-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	}
	upstream, err := startSample()
	if err != nil {
		return err
	}
	defer upstream.close()
	config, err := c.write(folder, upstream.address)
	if err != nil {
		return err
	}
	limitMemory(p.getenv)
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var load *traffic
	defer func() { load.stop() }()
	err = p.serve(config, nodeOptions{Log: log, Now: p.now}, func(n *node) error {
		if err := c.introduce(p, n, folder, upstream.address); err != nil || !c.Traffic {
			return err
		}
		load, err = n.demoTraffic(trafficEvery)
		return err
	})
	if taken, ok := errors.AsType[*addressError](err); ok { // the configuration is ours, and the flags are the user's
		flag := "--" + strings.TrimPrefix(taken.name, "listen.")
		return fmt.Errorf("the address of %s cannot be had: %w: end what listens there, or give another address", flag, taken.cause)
	}
	return err
}

// write writes configuration and catalog into the folder, and returns the configuration read.
func (c demoCommand) write(folder, upstream string) (*config, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if locked, err := isFolderLocked(filepath.Join(folder, "data")); err != nil {
		return nil, err
	} else if locked {
		return nil, fmt.Errorf("a demo runs in %s already: stop it first, or name another folder by --dir", folder)
	}
	text := fmt.Sprintf(`%s
listen: {gateway: %q, portal: %q, admin: %q, ops: %q}
upstream: http://%s
data: ./data
catalog: catalog.yaml
`, demoMark, c.Gateway, c.Portal, c.Admin, c.Ops, upstream)
	file := filepath.Join(folder, "perdiem.yaml")
	catalog := demoMark + "\n" + demoCatalog
	if c.Traffic {
		catalog += trafficCatalog
	}
	for _, f := range []struct{ path, text string }{
		{file, text},
		{filepath.Join(folder, "catalog.yaml"), catalog},
	} {
		there, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && !strings.HasPrefix(string(there), demoMark) {
			return nil, fmt.Errorf("%s was not written by the demo, which would replace it: name another folder by --dir", f.path)
		}
		if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			return nil, err
		}
	}
	// A $ in an address would be read as a variable; validAddress has let none through that could be listened at.
	return readConfig(file, func(string) (string, bool) { return "", false })
}

// introduce issues tokens, makes accounts, and prints what there is to try.
func (c demoCommand) introduce(p *program, n *node, folder, upstream string) error {
	application, err := n.demoToken(demoApplication, "", demoTokensHold)
	if err != nil {
		return err
	}
	member, err := n.demoToken(demoApplication, demoMember, demoTokensHold)
	if err != nil {
		return err
	}
	developer, err := n.demoAccount(registry.NewAccount{Email: demoDeveloper})
	if err != nil {
		return err
	}
	operator, err := n.demoAccount(registry.NewAccount{Email: demoOperator, Operator: true})
	if err != nil {
		return err
	}
	shown := []registry.Grant{{Email: demoDeveloper, Application: demoApplication, Role: registry.Admin}}
	applications, load := "application "+demoApplication, ""
	if c.Traffic {
		shown = append(shown, registry.Grant{Email: demoDeveloper, Application: trafficApplication, Role: registry.Viewer})
		applications = "applications " + demoApplication + ", " + trafficApplication
		load = fmt.Sprintf("  sample traffic     %.0f calls a minute by %d members of application %s\n", time.Minute.Seconds()/trafficEvery.Seconds(), trafficMembers, trafficApplication)
	}
	for _, grant := range shown {
		if err := n.registry.Grant(context.Background(), grant, demoActor); err != nil {
			return err
		}
	}
	key, err := adminapi.ReadKeyFile(n.config.OperatorKeyFile)
	if err != nil {
		return err
	}
	kept := "removed at the end"
	if c.Dir != "" {
		kept = "kept"
	}
	gateway := "http://" + reachable(n.address.Gateway)
	_, err = fmt.Fprintf(p.stdout, `perdiem demo: a sample API behind the gateway, everything in %s (%s). Ctrl-C ends it.

  gateway            %s
  Developer Portal   %s
  admin API          http://%s
  metrics, health    http://%s/metrics  /healthz  /readyz
  sample API         http://%s (not metered when asked directly)
  application token  %s  (application %s)
  member token       %s  (member %s of it)
  developer account  %s  password %s  (%s)
  operator account   %s  password %s  (everything)
%s
The commands speak to this node after

export %s=http://%s
export %s=%s

for example: perdiem usage %s --member %s

A member may read the posts 20 times a day; the tokens hold for a day. Repeat this to see 200 turn into 429:

curl -i -H 'Authorization: Bearer %s' %s/rest/posts

%s
`, folder, kept, gateway, n.portalURL(), reachable(n.address.Admin), reachable(n.address.Ops), upstream,
		application, demoApplication, member, demoMember,
		demoDeveloper, developer, applications, demoOperator, operator, load,
		serverEnv, reachable(n.address.Admin), keyEnv, key, demoApplication, demoMember,
		member, gateway, n.address.readyLine())
	return err
}

// demoToken issues a token of an application, or of a member of it, that holds for some time.
func (n *node) demoToken(application, member string, holds time.Duration) (string, error) {
	secret, hash := n.tokenKey.NewToken()
	_, err := n.registry.IssueToken(context.Background(), registry.NewToken{
		Hash: hash, Application: application, Member: member, Expires: n.now().Add(holds), Actor: demoActor,
	})
	return secret, err
}

// demoTraffic starts the sample traffic, a call in about the time given.
func (n *node) demoTraffic(every time.Duration) (*traffic, error) {
	tokens := make([]string, trafficMembers)
	for i := range tokens {
		var err error
		if tokens[i], err = n.demoToken(trafficApplication, fmt.Sprintf("member-%d", i+1), trafficTokensHold); err != nil {
			return nil, err
		}
	}
	return startTraffic("http://"+reachable(n.address.Gateway), tokens, every), nil
}

// demoAccount sees to it that there is an account, with a fresh password, which it returns.
func (n *node) demoAccount(a registry.NewAccount) (password string, err error) {
	ctx := context.Background()
	password = rand.Text()
	if a.Password, err = n.passwords.Hash(ctx, password); err != nil {
		return "", err
	}
	_, err = n.registry.AddAccount(ctx, a, demoActor)
	if fault.KindOf(err) == fault.Conflict { // a demo that ran in this folder before added it
		err = n.registry.SetPassword(ctx, a.Email, a.Password, demoActor)
	}
	return password, err
}

// sample is a small API that knows nothing of limits.
type sample struct {
	address string
	server  *http.Server
}

// startSample serves the sample API on a free port of this machine.
func startSample() (*sample, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sample{address: l.Addr().String(), server: &http.Server{Handler: newPosts(), ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = s.server.Serve(l) }() // it ends by close
	return s, nil
}

func (s *sample) close() { _ = s.server.Close() }

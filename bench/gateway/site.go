package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

const (
	applications = 20
	endpoints    = 10
)

// catalogText is what is metered: limits that nobody reaches.
func catalogText() string {
	var b strings.Builder
	b.WriteString("endpoints:\n")
	for e := range endpoints {
		fmt.Fprintf(&b, "  - {id: ep%d, match: GET /v1/ep%d, application: 1000000000000, member: 1000000000}\n", e, e)
	}
	b.WriteString("catch_all: {application: 1000, member: 100}\napplications:\n")
	for a := range applications {
		fmt.Fprintf(&b, "  - {id: app%d}\n", a)
	}
	return b.String()
}

func (s site) configText(upstream, identity string, withTLS bool) string {
	text := fmt.Sprintf(`listen: {gateway: "127.0.0.1:0", portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
upstream: http://%s
catalog: catalog.yaml
`, upstream)
	if withTLS {
		text += fmt.Sprintf("tls: {gateway: {cert: %q, key: %q}}\n", s.cert(), s.key())
	}
	return text + "identity:\n  - tokens: {}\n" + identity
}

type caller struct{ application, member string }

// callerOf returns who a member is: an application has every twentieth of them.
func callerOf(member int) caller {
	return caller{fmt.Sprintf("app%d", member%applications), fmt.Sprintf("member%d", member)}
}

// site is a node's folder: its configuration, and a registry in which each of some members has a token.
type site struct {
	dir string
}

func (s site) config() string  { return filepath.Join(s.dir, "perdiem.yaml") }
func (s site) catalog() string { return filepath.Join(s.dir, "catalog.yaml") }
func (s site) data() string    { return filepath.Join(s.dir, "data") }
func (s site) tokens() string  { return filepath.Join(s.dir, "tokens") }
func (s site) cert() string    { return filepath.Join(s.dir, "cert.pem") }
func (s site) key() string     { return filepath.Join(s.dir, "key.pem") }

// makeSite makes in dir a site that is to be configured. What takes a while to make is kept in out for the next time.
func makeSite(ctx context.Context, out, dir string, members int) (site, error) {
	kept, s := site{filepath.Join(out, "members-"+strconv.Itoa(members))}, site{dir}
	if err := kept.issueOnce(ctx, members); err != nil {
		return s, err
	}
	return s, os.CopyFS(dir, os.DirFS(kept.dir))
}

// configure makes the site's node forward to an upstream. identity are sources of identity besides its own tokens, as lines of perdiem.yaml.
func (s site) configure(upstream, identity string, withTLS bool) error {
	return os.WriteFile(s.config(), []byte(s.configText(upstream, identity, withTLS)), 0o600)
}

// issueOnce makes a registry with tokens, unless it is there already. It does so without a node, since tokens by the hundred
// thousand would take the admin API a while.
func (s site) issueOnce(ctx context.Context, members int) error {
	if _, err := os.Stat(s.dir); err == nil {
		return nil
	}
	making := site{s.dir + ".making"}
	if err := os.RemoveAll(making.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(making.data(), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(making.catalog(), []byte(catalogText()), 0o600); err != nil {
		return err
	}
	c, err := catalog.Parse(making.catalog(), []byte(catalogText()), catalog.PathPolicy{})
	if err != nil {
		return err
	}
	r, err := sqlregistry.OpenSQLite(ctx, filepath.Join(making.data(), "registry.db"), sqlregistry.Options{})
	if err != nil {
		return err
	}
	if _, err = r.Apply(ctx, c, registry.ApplyOptions{Source: making.catalog(), Actor: "bench"}); err == nil {
		err = making.issue(ctx, r, members)
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	return os.Rename(making.dir, s.dir)
}

// issue issues the tokens.
func (s site) issue(ctx context.Context, r registry.Registry, members int) error {
	key, err := identity.OpenTokenKey(ctx, r.KeepSetting)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.tokens(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for m := range members {
		secret, hash := key.NewToken()
		one := callerOf(m)
		_, err := r.IssueToken(ctx, registry.NewToken{
			Hash:        hash,
			Application: one.application,
			Member:      one.member,
			Expires:     time.Now().AddDate(10, 0, 0),
			Actor:       "bench",
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(w, secret)
	}
	return w.Flush()
}

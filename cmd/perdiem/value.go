package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/registry"
)

// values reads the values of a configuration: each ${NAME} in them comes from the environment, and a relative path begins
// at the configuration's own folder. Each method reports what is wrong with a value, and returns false then.
type values struct {
	getenv func(string) (string, bool)
	folder string
}

var variable = regexp.MustCompile(`\$\{[^}]*\}?`)

// text returns a text that is not empty.
func (v values) text(n yamldoc.Node) (string, bool) {
	text, ok := n.String()
	if !ok {
		return "", false
	}
	if text, ok = v.expand(n, text); ok && text == "" {
		n.Problem("must not be empty")
		return "", false
	}
	return text, ok
}

// expand replaces each ${NAME}.
func (v values) expand(n yamldoc.Node, text string) (string, bool) {
	ok := true
	text = variable.ReplaceAllStringFunc(text, func(found string) string {
		name, closed := strings.CutSuffix(found[len("${"):], "}")
		if !closed || name == "" {
			n.Problem("write a variable of the environment as ${NAME}")
			ok = false
			return ""
		}
		value, set := v.getenv(name)
		if !set {
			n.Problem("the environment has no variable %s", name)
			ok = false
		}
		return value
	})
	return text, ok
}

// oneOf returns a text that is one of those given.
func (v values) oneOf(n yamldoc.Node, texts ...string) (string, bool) {
	text, ok := n.Text()
	if !ok {
		return n.OneOf(texts...)
	}
	if text, ok = v.expand(n, text); ok && !slices.Contains(texts, text) {
		n.Wrong(strings.Join(texts, " or "))
		return "", false
	}
	return text, ok
}

// count returns a whole number from 1 to most.
func (v values) count(n yamldoc.Node, most int64) (int64, bool) {
	text, ok := n.Text()
	if !ok || !variable.MatchString(text) {
		return n.Int(1, most)
	}
	if text, ok = v.expand(n, text); !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil || i < 1 || i > most {
		n.Wrong(fmt.Sprintf("a whole number from 1 to %d", most))
		return 0, false
	}
	return i, true
}

// duration returns a duration of more than 0.
func (v values) duration(n yamldoc.Node) (time.Duration, bool) {
	text, ok := n.Text()
	if !ok {
		return n.Duration(1)
	}
	if text, ok = v.expand(n, text); !ok {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		n.Wrong("a duration of more than 0, such as 1m30s")
		return 0, false
	}
	return d, true
}

// path returns the path of a file or a folder.
func (v values) path(n yamldoc.Node) (string, bool) {
	text, ok := v.text(n)
	if !ok {
		return "", false
	}
	return v.inFolder(text), true
}

// inFolder returns a path that begins at the configuration's folder, unless it is absolute.
func (v values) inFolder(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.folder, path)
	}
	return filepath.Clean(path)
}

// address returns an address to listen at, as HOST:PORT; HOST may be empty for all of the machine's.
func (v values) address(n yamldoc.Node) (string, bool) {
	text, ok := v.text(n)
	if !ok {
		return "", false
	}
	if !validAddress(text) {
		n.Wrong("an address as HOST:PORT; port 0 picks a free one")
		return "", false
	}
	return text, true
}

func validAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	number, err := strconv.Atoi(port)
	return err == nil && number >= 0 && number <= math.MaxUint16
}

// url returns the address of a web server: a scheme, a host, and perhaps a path; nil where there was a problem.
func (v values) url(n yamldoc.Node) *url.URL {
	text, ok := v.text(n)
	if !ok {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		n.Wrong("http://HOST:PORT or https://HOST, perhaps with a path")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		n.Problem("only a scheme, a host and a path may be told")
	default:
		return u
	}
	return nil
}

// contact returns where somebody is asked: an address of mail, as mailto:, or a page; nil where there was a problem.
func (v values) contact(n yamldoc.Node) *url.URL {
	text, ok := v.text(n)
	if !ok {
		return nil
	}
	if email, err := registry.ParseEmail(text); err == nil {
		return &url.URL{Scheme: "mailto", Opaque: email}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		n.Wrong("an email address such as api@host.example, or the URL of a page")
		return nil
	}
	return u
}

// network returns a range of addresses, such as 10.0.0.0/8; a single address is a range as well.
func (v values) network(n yamldoc.Node) (netip.Prefix, bool) {
	text, ok := v.text(n)
	if !ok {
		return netip.Prefix{}, false
	}
	if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
		return p.Masked(), true
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	n.Wrong("a range of addresses such as 10.0.0.0/8")
	return netip.Prefix{}, false
}

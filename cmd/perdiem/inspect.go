package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

// findings are everything that is wrong with a configuration file and what it names, but for the catalog.
type findings struct {
	config *config          // what could be read of it
	broken yamldoc.Problems // what keeps a node from starting
	dated  yamldoc.Problems // certificates that are not valid at the time, with which it starts
}

// inspectConfig reads the configuration file, and looks at all that it names but the catalog. The error says what kept the file from being read.
func inspectConfig(file string, getenv func(string) (string, bool), now time.Time) (*findings, error) {
	data, err := readConfigFile(file)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(file, data, getenv)
	f := &findings{config: c}
	if err != nil && !errors.As(err, &f.broken) {
		return nil, err
	}
	f.inspect(now)
	return f, nil
}

// withCatalog returns all of it, and what is wrong with the catalog.
func (f *findings) withCatalog() yamldoc.Problems {
	_, err := f.config.readCatalog()
	catalog, _ := errors.AsType[yamldoc.Problems](err)
	return yamldoc.Join(yamldoc.Join(f.broken, f.dated), catalog)
}

// readToServe reads the configuration of a node that is to start. The error is a [yamldoc.Problems] with everything that is wrong with it and what
// it names. When nothing is, but perhaps with the catalog, that is left to the start, which has to read it.
func readToServe(file string, getenv func(string) (string, bool), now time.Time) (*config, error) {
	f, err := inspectConfig(file, getenv, now)
	if err != nil {
		return nil, err
	}
	if len(f.broken) > 0 {
		return nil, f.withCatalog()
	}
	return f.config, nil
}

// inspect looks at what the configuration names. It changes nothing, and asks nobody.
func (f *findings) inspect(now time.Time) {
	f.inspectUpstream()
	f.inspectData()
	f.inspectOperatorKey()
	for listener, pair := range f.config.Edge.TLS {
		for _, err := range pair.Check(now) {
			problem := f.config.pairProblem(listener, err)
			if wrong, ok := errors.AsType[*keypair.Error](err); ok && wrong.Date {
				f.dated = append(f.dated, problem)
			} else {
				f.broken = append(f.broken, problem)
			}
		}
	}
	f.broken, f.dated = yamldoc.Join(f.broken, nil), yamldoc.Join(f.dated, nil)
}

// report keeps a problem of a key at the top; where the file does not name the key, its first character is the place.
func (f *findings) report(key, format string, args ...any) {
	problem, named := f.config.Places[key]
	if !named {
		problem.Line, problem.Column = 1, 1
	}
	problem.File = f.config.File
	problem.Text = key + ": " + fmt.Sprintf(format, args...)
	f.broken = append(f.broken, problem)
}

// inspectUpstream finds an upstream that is the node itself: requests would go in circles, or to what is not for callers.
func (f *findings) inspectUpstream() {
	c := f.config
	if c.Upstream == nil {
		return
	}
	port := c.Upstream.Port()
	if port == "" {
		if port = "80"; c.Upstream.Scheme == "https" {
			port = "443"
		}
	}
	for _, l := range []struct{ name, address, what string }{
		{"gateway", c.Gateway, "the gateway itself: requests would go in circles"},
		{"portal", c.Portal, "the Developer Portal's, which is not for the API's callers"},
		{"admin", c.Admin, "the admin API's, which is not for the API's callers"},
		{"ops", c.Ops, "that of metrics and health, which are not for the API's callers"},
	} {
		host, listens, err := net.SplitHostPort(l.address)
		if err != nil || listens != port || port == "0" || !sameHost(c.Upstream.Hostname(), host) {
			continue
		}
		f.report("upstream", "%s is the address of listen.%s, %s; name where the API itself listens", c.Upstream.Host, l.name, l.what)
		return
	}
}

// sameHost reports whether a connection to a host of this machine ends at a listener. Names but localhost are not looked up.
func sameHost(to, listener string) bool {
	if strings.EqualFold(to, listener) {
		return true
	}
	target, isAddress := parseHost(to)
	switch {
	case !isAddress:
		return false
	case target.IsUnspecified(): // the system takes it for this machine
		target = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if isEverywhere(listener) {
		return target.IsLoopback() || isOwnAddress(target)
	}
	at, isAddress := parseHost(listener)
	if !isAddress {
		return false
	}
	return target == at || target.IsLoopback() && at.IsLoopback() && (strings.EqualFold(to, "localhost") || strings.EqualFold(listener, "localhost"))
}

// parseHost returns the address that a host is written as.
func parseHost(host string) (netip.Addr, bool) {
	if strings.EqualFold(host, "localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap(), err == nil
}

// isOwnAddress reports whether one of the machine's interfaces has an address.
func isOwnAddress(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, o := range own {
		if p, err := netip.ParsePrefix(o.String()); err == nil && p.Addr().Unmap() == a.WithZone("") {
			return true
		}
	}
	return false
}

// inspectData sees that the data folder can be used, or made.
func (f *findings) inspectData() {
	folder := f.config.Data
	info, err := os.Stat(folder)
	switch {
	case err == nil && !info.IsDir():
		f.report("data", "%s is a file; name a folder", folder)
	case err == nil && isKernels(folder):
		f.report("data", "the folder %s cannot be written to: what is in it is the kernel's alone", folder)
	case err == nil:
		if err := mayWrite(folder); err != nil {
			f.report("data", "the folder %s cannot be written to: %v", folder, err)
		}
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		f.inspectParent(folder)
	default:
		f.report("data", "the folder cannot be used: %v", err)
	}
}

// inspectParent sees that a data folder can be made, with those above it that do not exist.
func (f *findings) inspectParent(folder string) {
	parent := filepath.Dir(folder)
	info, err := os.Stat(parent)
	for (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && parent != filepath.Dir(parent) {
		parent = filepath.Dir(parent)
		info, err = os.Stat(parent)
	}
	switch {
	case err != nil:
		f.report("data", "the folder %s cannot be made: %v", folder, err)
	case !info.IsDir():
		f.report("data", "the folder %s cannot be made, since %s is a file", folder, parent)
	case isKernels(parent):
		f.report("data", "the folder %s cannot be made, since what is in %s is the kernel's alone", folder, parent)
	default:
		if err := mayWrite(parent); err != nil {
			f.report("data", "the folder %s cannot be made in %s: %v", folder, parent, err)
		}
	}
}

// mayWrite returns why this process may not make files in a folder.
func mayWrite(folder string) error {
	const writeAndSearch = 2 | 1 // access(2)
	return syscall.Access(folder, writeAndSearch)
}

// inspectOperatorKey sees that the operator's key can be read or, where there is none yet, written. In the data folder, that folder tells.
func (f *findings) inspectOperatorKey() {
	file := f.config.OperatorKeyFile
	folder := filepath.Dir(file)
	_, err := adminapi.ReadKeyFile(file)
	switch {
	case err == nil || folder == f.config.Data && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)):
		return
	case !errors.Is(err, fs.ErrNotExist):
		f.report("operator_key_file", "the operator's key cannot be read: %v", err)
		return
	}
	if err := mayWrite(folder); err != nil {
		f.report("operator_key_file", "%s does not exist, and cannot be made: %s: %v", file, folder, err)
	}
}

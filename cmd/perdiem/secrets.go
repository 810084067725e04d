package main

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"

	"github.com/perdiem/perdiem/internal/netaddr"
)

// warnOfOpenSecrets warns of files with secrets that others on this machine can read. The operator's key is for its owner alone; certificates' keys and
// issuers' secrets may be a group's, as some systems have them.
func (n *node) warnOfOpenSecrets() {
	const others, notOwner = fs.FileMode(0o007), fs.FileMode(0o077)
	n.warnOfOpen("operator_key_file", n.config.OperatorKeyFile, notOwner)
	for _, listener := range slices.Sorted(maps.Keys(n.config.Edge.TLS)) {
		n.warnOfOpen("tls."+listener+".key", n.config.Edge.TLS[listener].Key, others)
	}
	for _, file := range n.config.Identity.SecretFiles {
		n.warnOfOpen("identity", file, others)
	}
}

// warnOfPlainAdmin warns when others than this machine can reach the admin API, and it speaks no TLS: the operator's key comes with each request.
func (n *node) warnOfPlainAdmin() {
	host, _, err := net.SplitHostPort(n.config.Admin)
	if err != nil || n.pairs["admin"] != nil || netaddr.IsLoopback(host) {
		return
	}
	n.log.Warn("listen.admin is not of this machine alone, and not encrypted: the operator's key can be read on its way; set tls.admin, or have it listen at 127.0.0.1 behind a proxy that speaks TLS",
		"admin", n.config.Admin)
}

// warnOfOpen warns when a file has any permission of those that are not to be given. What cannot be looked at was read, or reported, before.
func (n *node) warnOfOpen(key, file string, not fs.FileMode) {
	info, err := os.Stat(file)
	if err == nil && info.Mode().Perm()&not != 0 {
		n.log.Warn("others on this machine can read a secret: chmod 600 "+file, "key", key, "mode", fmt.Sprintf("%04o", info.Mode().Perm()))
	}
}

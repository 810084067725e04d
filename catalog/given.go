package catalog

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/perdiem/perdiem/fault"
)

// given is what a request brings under a name that is tested.
type given struct {
	value   string
	present bool
}

// set notes a value. It returns false where another was given before.
func (g *given) set(value string) bool {
	if g.present && !strings.EqualFold(g.value, value) {
		return false
	}
	g.value, g.present = value, true
	return true
}

// readHeader notes in all what the header brings under the tested names.
func readHeader(h http.Header, names []tested, all []given) error {
	asked := false
	for i, t := range names {
		if t.query {
			continue
		}
		asked = true
		for _, value := range h[t.name] {
			if !all[i].set(value) {
				return fault.New(fault.Invalid, "The header %s is given more than once with different values.", t.name)
			}
		}
	}
	if !asked {
		return nil
	}
	// Servers that hand headers on as variables (CGI, WSGI, PHP) do not tell X-A from X_A.
	for key := range h {
		if strings.IndexByte(key, '_') < 0 {
			continue
		}
		for _, t := range names {
			if !t.query && key != t.name && sameVariable(key, t.name) {
				return fault.New(fault.Invalid, "The header %s can be taken for %s; send the latter.", key, t.name)
			}
		}
	}
	return nil
}

// sameVariable reports whether two headers' names differ in case and in _ for - at most.
func sameVariable(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x == '_' {
			x = '-'
		}
		if y == '_' {
			y = '-'
		}
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// checkQuery returns why a raw query could be read in two ways, or nil. A line of HTTP/1.1 ends at a space (RFC 9112, section 3), and a URL's
// query at the # of its fragment (RFC 3986, 3.4): what stands behind either is seen by some readers and not by others.
func checkQuery(query string) error {
	for i := range len(query) {
		switch c := query[i]; {
		case c == '#':
			return fault.New(fault.Invalid, "The query has a raw number sign, which could mean two things; write it as %%23.")
		case c <= ' ' || c == 0x7F:
			return fault.New(fault.Invalid, "The query has a space or a control character, which could mean two things; write it as an escape.")
		}
	}
	return nil
}

// readQuery notes in all what the raw query brings under the tested names.
func readQuery(query string, names []tested, all []given) error {
	asked := false
	for _, t := range names {
		asked = asked || t.query
	}
	if !asked {
		return nil
	}
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		// Some servers part pairs at semicolons, too.
		parted := strings.IndexByte(pair, ';') >= 0
		for pair != "" {
			var piece string
			piece, pair, _ = strings.Cut(pair, ";")
			rawName, rawValue, _ := strings.Cut(piece, "=")
			name, err := url.QueryUnescape(rawName)
			if err != nil || strings.IndexByte(name, 0) >= 0 {
				return fault.New(fault.Invalid, "The query has a name that cannot be decoded.")
			}
			i := find(names, name)
			if i < 0 {
				continue
			}
			if parted {
				return fault.New(fault.Invalid, "The query has a semicolon beside %s, which could mean two things; write it as %%3B.", names[i].name)
			}
			value, err := url.QueryUnescape(rawValue)
			if err != nil {
				return fault.New(fault.Invalid, "The query has a value of %s that cannot be decoded.", names[i].name)
			}
			if !all[i].set(value) {
				return fault.New(fault.Invalid, "The query has %s more than once with different values.", names[i].name)
			}
		}
	}
	return nil
}

// find returns where a query parameter is in names; -1 where it is not.
func find(names []tested, name string) int {
	for i, t := range names {
		if t.query && strings.EqualFold(t.name, name) {
			return i
		}
	}
	return -1
}

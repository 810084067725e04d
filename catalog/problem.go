package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/fault"
)

// spot is a place in a catalog at which something is wrong.
type spot struct {
	section section
	index   int      // in the section's list
	path    []string // the keys that lead to it from there, as in the file
	name    bool     // it is the last key that is wrong, not what stands behind it
}

type section uint8

const (
	whole section = iota // the catalog itself
	endpoints
	catchAll
	tiers
	applications
)

func (s spot) at(path ...string) spot {
	s.path = path
	return s
}

func (s spot) below(key string) spot {
	return s.at(append(slices.Clone(s.path), key)...)
}

func (s spot) key() spot {
	s.name = true
	return s
}

// reporter takes what is wrong, and where.
type reporter func(at spot, format string, args ...any)

// Validate returns everything that is wrong with c where paths are read by a policy, one problem a line, as an error of kind
// [fault.Invalid]; nil where c makes sense. It is for catalogs that do not come from a file: [Parse] has applied the same rules.
func (c *Catalog) Validate(policy PathPolicy) error {
	var problems []string
	c.check(policy, func(at spot, format string, args ...any) {
		problems = append(problems, c.describe(at)+fmt.Sprintf(format, args...))
	})
	if len(problems) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "%s", strings.Join(problems, "\n"))
}

// describe names a spot for somebody who has no file before them: "endpoint posts.create: member: ".
func (c *Catalog) describe(at spot) string {
	var parts []string
	name := func(noun, id string) {
		if id == "" {
			id = fmt.Sprintf("number %d", at.index+1)
		}
		parts = append(parts, noun+" "+label(id))
	}
	switch at.section {
	case whole:
	case endpoints:
		name("endpoint", c.Endpoints[at.index].ID)
	case catchAll:
		parts = append(parts, "catch_all")
	case tiers:
		name("tier", c.Tiers[at.index].Name)
	case applications:
		name("application", c.Applications[at.index].ID)
	}
	for _, key := range at.path {
		parts = append(parts, label(key))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ": ") + ": "
}

// label returns text as it can stand in a line: in quotes where it is no good id.
func label(text string) string {
	if badID(text) != "" {
		return fmt.Sprintf("%.80q", text)
	}
	return text
}

// Package testkit holds what the tests of several packages share.
package testkit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/perdiem/perdiem/quota"
)

// Vector is a case of quota/testdata/vectors: calls of one application to one endpoint on one day, in order, and what
// each must be answered. The pure rule, the leases on each ledger and each door replay the same cases.
type Vector struct {
	Name   string
	Limits VectorLimits
	Calls  []VectorCall
}

// VectorCall is one call of a [Vector].
type VectorCall struct {
	Member      string        // empty: none
	Cost        int64         // calls
	Limits      *VectorLimits // from this call on; nil: as before
	Refused     quota.Kind
	Application int64 // used by the application after the call
	MemberUsed  int64 // used by the member after the call
}

// VectorLimits are the limits that hold in a [Vector].
type VectorLimits struct{ Application, Member quota.Limit }

// UnmarshalJSON reads limits written as numbers or "unlimited".
func (l *VectorLimits) UnmarshalJSON(data []byte) error {
	var raw struct{ Application, Member any }
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	l.Application, l.Member = limit(raw.Application), limit(raw.Member)
	return nil
}

func limit(v any) quota.Limit {
	if n, ok := v.(float64); ok {
		return quota.Limit(n)
	}
	return quota.Unlimited
}

// UnmarshalJSON reads a call: its cost is 1 unless told.
func (c *VectorCall) UnmarshalJSON(data []byte) error {
	raw := struct {
		Member, Refused               string
		Cost, Application, MemberUsed int64
		Limits                        *VectorLimits
	}{Cost: 1}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*c = VectorCall{Member: raw.Member, Cost: raw.Cost, Limits: raw.Limits, Application: raw.Application, MemberUsed: raw.MemberUsed}
	for _, k := range []quota.Kind{quota.Application, quota.Member} {
		if raw.Refused == k.String() {
			c.Refused = k
		}
	}
	return nil
}

// Vectors returns all cases.
func Vectors(t testing.TB) []Vector {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(file), "../../quota/testdata/vectors/*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors found: %v", err)
	}
	var all []Vector
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var vectors []Vector
		if err := json.Unmarshal(data, &vectors); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, vectors...)
	}
	return all
}

package embedledger_test

import (
	"testing"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
)

// open opens a ledger that is closed when the test ends.
func open(t testing.TB, o embedledger.Options) *embedledger.Ledger {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := embedledger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestConformance(t *testing.T) {
	for name, durability := range durabilities {
		t.Run(name, func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T) lease.Ledger {
				return open(t, embedledger.Options{Durability: durability})
			})
		})
	}
}

var durabilities = map[string]embedledger.Durability{"disk": embedledger.Disk, "process": embedledger.Process}

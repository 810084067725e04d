package portal

import (
	"strings"
	"testing"
	"time"
)

func TestHealthIsShown(t *testing.T) {
	ill := func(o *Options) {
		o.Operators.Health = func() Health {
			return Health{
				Reason: "the ledger is down", Version: "v9", Ledger: LedgerHealth{Reason: "the disk is full", Durability: "disk", WhenDown: "admit", Unbacked: 1200},
				Protection: &ProtectionHealth{Limiting: true, Limit: 4, InFlight: 4, Refused: 31000}, Restored: &Restored{Backup: at.Add(-time.Hour), At: at, Incomplete: true},
				Listeners: []Listener{{"portal", "127.0.0.1:1"}},
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*Options)
		says   []string
	}{
		"well":       {func(*Options) {}, []string{"● Ready", "v1.2.3", "● Up", "300 MiB", "40,960 MiB", "Watching", "12.0 ms", "gateway 127.0.0.1:8080", "4 applications"}},
		"ill":        {ill, []string{"■ Not ready the ledger is down", "■ Down the disk is full", "1,200", "■ Refusing calls", "31,000", "Not known", "backup of 23 Nov 2026, 17:47 UTC", "may be admitted again"}},
		"no gateway": {func(o *Options) { o.Operators.Health = func() Health { return Health{} } }, []string{"Off: there is no gateway here"}},
	} {
		got := openSite(t, sample, c.change).browser(operatorEmail).get("/operator/health")
		content := got.one(t, "content")
		for _, want := range c.says {
			if !strings.Contains(content, want) {
				t.Errorf("%s: no %q in %s", name, want, content)
			}
		}
	}
}

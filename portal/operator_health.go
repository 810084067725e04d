package portal

import (
	"net/http"
	"strconv"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// Health is how a node is.
type Health struct {
	Reason         string // why not every request could be decided now; empty: each could
	Version        string // of the program
	Day            quota.Day
	CatalogVersion int64
	Ledger         LedgerHealth
	Protection     *ProtectionHealth // nil: nothing is protected
	Restored       *Restored         // nil: the stores were never restored from a backup
	Listeners      []Listener        // those that listen
}

// LedgerHealth is how the ledger is.
type LedgerHealth struct {
	Reason      string // why it grants nothing; empty: it does
	Durability  string // as in perdiem.yaml
	WhenDown    string // what is done while it is down, as in perdiem.yaml
	DiskBytes   uint64 // taken by its files
	FreeBytes   uint64 // of the disk; 0: not known
	Accounts    int64  // in this node's memory
	Unbacked    int64  // calls that were admitted while it was down and are not charged yet
	ReadingBack bool   // what it held at the start is being read ahead: it is slower meanwhile
}

// ProtectionHealth is how infrastructure protection is.
type ProtectionHealth struct {
	Limiting              bool          // calls beyond the limit are refused now
	Limit, InFlight       int           // calls that may wait, and that wait, for the upstream at a time
	Refused               int64         // calls, since the start
	Latency, UsualLatency time.Duration // to the first byte: now, and when all is well
}

// Restored says that a node's stores were restored from a backup.
type Restored struct {
	Backup, At time.Time // when it was made, and when it was restored
	Incomplete bool      // the counters of the running day lack what was granted in between
}

// Listener is where a node listens.
type Listener struct {
	Name    string // as in perdiem.yaml
	Address string // HOST:PORT
}

// operatorHealthBody is what the page of a node's health is told.
type operatorHealthBody struct {
	operating
	Health
	Day                     string
	ResetsAt                time.Time
	Endpoints, Applications string
	Ledger                  []fact
	Protection              []fact
	ProtectionWords         string
	Limiting                bool
}

// fact is a thing that is known, and its name.
type fact struct{ Name, Value string }

// operatorHealth shows how the node is.
func (p *Portal) operatorHealth(v *visit) error {
	h, s := p.Operators.Health(), p.Catalog()
	body := operatorHealthBody{
		operating: v.operating("health", "Health", nil), Health: h, Day: h.Day.Date.String(), ResetsAt: h.Day.End,
		Endpoints: count(int64(len(s.Endpoints())), "endpoint", "endpoints"), Applications: count(int64(len(s.Applications())), "application", "applications"),
		ProtectionWords: "Off: there is no gateway here, or protection is off",
	}
	body.Ledger = []fact{
		{"Durability", h.Ledger.Durability},
		{"When it is down", h.Ledger.WhenDown},
		{"Size on disk", megabytes(h.Ledger.DiskBytes)},
		{"Free on the disk", "Not known"},
		{"Counters in memory", group(h.Ledger.Accounts)},
		{"Calls not charged yet", group(h.Ledger.Unbacked)},
	}
	if h.Ledger.FreeBytes > 0 {
		body.Ledger[3].Value = megabytes(h.Ledger.FreeBytes)
	}
	if state := h.Protection; state != nil {
		body.Limiting = state.Limiting
		body.ProtectionWords = "Watching: nothing is refused"
		if state.Limiting {
			body.ProtectionWords = "■ Refusing calls beyond what the upstream takes. It ends by itself"
		}
		body.Protection = []fact{
			{"Calls that may wait at a time", group(int64(state.Limit))},
			{"Calls that wait now", group(int64(state.InFlight))},
			{"Refused since the start", group(state.Refused)},
			{"Latency now", milliseconds(state.Latency)},
			{"Usual latency", milliseconds(state.UsualLatency)},
		}
	}
	return v.show(http.StatusOK, "operator-health", page{Title: "Health · operators", Body: body})
}

// megabytes returns a size as people read it.
func megabytes(bytes uint64) string { return group(int64(bytes>>20)) + " MiB" }

// milliseconds returns a latency as people read it.
func milliseconds(d time.Duration) string {
	if d >= 100*time.Millisecond {
		return group(d.Milliseconds()) + " ms"
	}
	return strconv.FormatFloat(d.Seconds()*1000, 'f', 1, 64) + " ms"
}

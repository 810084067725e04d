package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Status is how a node is.
type Status struct {
	Version        string    `json:"version" doc:"Of the program."`
	Ready          bool      `json:"ready" doc:"Every request could be decided now."`
	Reason         string    `json:"reason,omitempty" doc:"Why not."`
	Day            string    `json:"day" format:"date" doc:"The day that is running."`
	ResetsAt       time.Time `json:"resetsAt" doc:"When it ends."`
	Restored       *Restored `json:"restored,omitempty" doc:"Left out: the stores were never restored from a backup."`
	CatalogVersion int64     `json:"catalogVersion" doc:"Rises with each change to the catalog."`
	Endpoints      int       `json:"endpoints" doc:"In the catalog, the catch-all included."`
	Applications   int       `json:"applications" doc:"In the catalog."`
	Ledger         Ledger    `json:"ledger"`
}

// Ledger is how a node's ledger is.
type Ledger struct {
	Reason      string `json:"reason,omitempty" doc:"Why it grants nothing. Left out: it does."`
	Durability  string `json:"durability" enum:"disk,process" doc:"As in perdiem.yaml."`
	WhenDown    string `json:"whenDown" enum:"refuse,admit" doc:"What is done while it is down, as in perdiem.yaml."`
	DiskBytes   uint64 `json:"diskBytes" doc:"Taken by its files."`
	FreeBytes   uint64 `json:"freeBytes,omitempty" doc:"Of the disk. Left out: not known."`
	Accounts    int64  `json:"accounts" doc:"Counters in this node's memory."`
	Unbacked    int64  `json:"unbacked" doc:"Calls that were admitted while it was down and are not charged yet."`
	ReadingBack bool   `json:"readingBack" doc:"What it held at the start is being read ahead: it is slower meanwhile."`
}

// Restored says that the node's stores were restored from a backup.
type Restored struct {
	Backup     time.Time `json:"backup" doc:"When the backup was made."`
	At         time.Time `json:"at" doc:"When it was restored."`
	Incomplete bool      `json:"incomplete" doc:"The running day had begun by then: its counters lack what was granted in between, and as much may be admitted again."`
}

type statusOutput struct {
	Body Status
}

func (a *API) registerStatus(api huma.API) {
	huma.Register(api, a.operation("get-status", http.MethodGet, "status", "Tell how the node is"),
		func(context.Context, *struct{}) (*statusOutput, error) {
			return &statusOutput{Body: a.Status()}, nil
		})
}

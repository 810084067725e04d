package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// AuditEntry is one change: who made it, to what, from what, to what, and when.
type AuditEntry struct {
	Seq     int64     `json:"seq" doc:"Rises with each entry."`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor" doc:"Who: an account's email, an operator's key by the first digits of its hash, or another word; empty: perdiem itself."`
	Action  string    `json:"action" doc:"What was done, such as override.set."`
	Subject string    `json:"subject" doc:"To what, such as 'endpoint posts.create member'."`
	Before  string    `json:"before" doc:"What it was; empty where it did not exist, or is not for the audit."`
	After   string    `json:"after" doc:"What it is; the same."`
}

// AuditPage is some of the audit.
type AuditPage struct {
	Entries []AuditEntry `json:"entries" nullable:"false" doc:"The newest first."`
	Next    int64        `json:"next,omitempty" doc:"Ask again with this as before: older ones may follow. Left out: these were the oldest."`
}

type (
	auditInput struct {
		Before int64 `query:"before" minimum:"0" doc:"Where to go on: what an earlier answer told as next; left out: at the newest."`
		Limit  int   `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many entries are told at most."`
	}
	auditOutput struct{ Body AuditPage }
)

func (a *API) registerAudit(api huma.API) {
	op := a.operation("list-audit", http.MethodGet, "audit", "List who changed what, the newest first, a page at a time")
	op.Description = "The newest hundred thousand changes by operators, commands and perdiem itself are kept, and the newest thousand of each developer. " +
		"Of a catalog's file that changes more than a thousand things, the last entry tells how many more."
	huma.Register(api, op, func(ctx context.Context, in *auditInput) (*auditOutput, error) {
		entries, err := a.Registry.Audit(ctx, in.Before, in.Limit)
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		out := &auditOutput{Body: AuditPage{Entries: make([]AuditEntry, len(entries))}}
		for i, e := range entries {
			out.Body.Entries[i] = AuditEntry(e)
		}
		if len(entries) == in.Limit {
			out.Body.Next = entries[len(entries)-1].Seq
		}
		return out, nil
	})
}

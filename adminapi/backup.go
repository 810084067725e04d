package adminapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// writeTime is how long a part of a backup may take to be taken by whoever asked for it. The whole has no such bound: it may be large.
const writeTime = time.Minute

func (a *API) registerBackup(api huma.API) {
	op := a.operation("make-backup", http.MethodPost, "backup", "Copy the node's stores, while it runs", http.StatusConflict)
	op.Description = "A tar with a manifest, the stores' files and their checksums, as of the moment at which it was asked for; the operator's key is not in it. " +
		"An answer that breaks off is worth nothing. One backup is made at a time."
	op.DefaultStatus = http.StatusOK
	op.Responses["200"] = &huma.Response{
		Description: "The archive.",
		Content:     map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		write, err := a.Backup(ctx)
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", "application/x-tar")
			hc.SetHeader("Content-Disposition", `attachment; filename="perdiem.tar"`)
			to := &patient{Writer: hc.BodyWriter()}
			if w, ok := to.Writer.(http.ResponseWriter); ok {
				to.control = http.NewResponseController(w)
			}
			if err := write(to); err != nil {
				a.Log.LogAttrs(ctx, slog.LevelError, "a backup broke off", slog.Any("err", err))
				panic(http.ErrAbortHandler) // so that nobody takes the part for the whole
			}
		}}, nil
	})
}

// patient gives each write a time of its own.
type patient struct {
	io.Writer
	control *http.ResponseController // nil: there is no connection
}

func (p *patient) Write(b []byte) (int, error) {
	if p.control != nil {
		_ = p.control.SetWriteDeadline(time.Now().Add(writeTime)) // where that cannot be set, the server's holds
	}
	return p.Writer.Write(b)
}

// Package adminapi is the API with which operators and perdiem's own commands change and read a running node: the catalog with its
// endpoints, tiers, applications and overrides, tokens, usage and its history, alerts, accounts of the Developer Portal, the audit, the operator's key and
// backups.
//
// Everything asks for the operator's key ([Key]) as a bearer token but the API's description, OpenAPI 3.1, at /openapi.json, and the page made
// from it at /docs. Errors are problem details in the form that the gateway's have (see [Options.Fault]).
//
// Ids are told in queries and bodies, never in paths: an application may be called "..", or have a slash in its name.
package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// Options are what an [API] needs. All are required but TakesTokens.
type Options struct {
	Registry registry.Registry
	Usage    *usage.Reader
	History  *usage.History
	Alerts   usage.AlertStore
	Key      *Key
	// TestAlert has an alert that tells of no limit delivered by each of an application's channels, and returns by how many.
	TestAlert func(ctx context.Context, application string) (int, error)
	// Catalog returns the catalog that holds on this node.
	Catalog func() *catalog.Snapshot
	// NewToken returns a new token's secret and its hash.
	NewToken func() (secret string, hash registry.Hash)
	// TakesTokens says that callers are identified by such tokens. Without it whoever issues one is told.
	TakesTokens bool
	// HashPassword returns the hash of a password, as [registry.Account] has it. The error, of package fault, says why it may not be set.
	HashPassword func(ctx context.Context, password string) (hash string, err error)
	// Changed is called after each change to the catalog. When it returns, the change holds on this node.
	Changed func(context.Context) error
	// Revoked is called after a token was revoked. When it returns, the node admits no call with it any more.
	Revoked func(context.Context) error
	// Paths says how paths are read: a catalog that makes no sense then is refused.
	Paths catalog.PathPolicy
	// MayApply returns why a catalog file of this content may not be applied, or nil where it may. The error is of package fault.
	MayApply func(data []byte) error
	// Backup makes a copy of the node's stores; write, which is called once, writes it out as one archive and
	// removes the copy.
	Backup func(context.Context) (write func(io.Writer) error, err error)
	// Status returns how the node is.
	Status func() Status
	// Protection returns how infrastructure protection is.
	Protection func() Protection
	// Fault writes an error's answer: headers, body and status.
	Fault func(h http.Header, body []byte, err error) (status int, _ []byte)
	// Problem writes the answer of a status that no error stands for.
	Problem func(h http.Header, body []byte, status int, detail string) (int, []byte)
	Now     func() time.Time
	Log     *slog.Logger
}

// API is an [http.Handler] for operators. It is safe for concurrent use.
type API struct {
	Options
	mux           *http.ServeMux
	problemSchema *huma.Schema
}

// New returns the API, or an error that says which option is missing.
func New(o Options) (*API, error) {
	for _, need := range []struct {
		name    string
		missing bool
	}{
		{"Registry", o.Registry == nil},
		{"Usage", o.Usage == nil},
		{"History", o.History == nil},
		{"Alerts", o.Alerts == nil},
		{"TestAlert", o.TestAlert == nil},
		{"Key", o.Key == nil},
		{"Catalog", o.Catalog == nil},
		{"NewToken", o.NewToken == nil},
		{"HashPassword", o.HashPassword == nil},
		{"Changed", o.Changed == nil},
		{"Revoked", o.Revoked == nil},
		{"MayApply", o.MayApply == nil},
		{"Backup", o.Backup == nil},
		{"Status", o.Status == nil},
		{"Protection", o.Protection == nil},
		{"Fault", o.Fault == nil},
		{"Problem", o.Problem == nil},
		{"Now", o.Now == nil},
		{"Log", o.Log == nil},
	} {
		if need.missing {
			return nil, errors.New("adminapi: Options need " + need.name)
		}
	}
	a := &API{Options: o, mux: http.NewServeMux()}
	api := humago.New(a.mux, a.config())
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(plainStatus{ctx}) })
	a.problemSchema = api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problemDescription](), true, "Problem")
	a.registerStatus(api)
	a.registerProtection(api)
	a.registerCatalog(api)
	a.registerTokens(api)
	a.registerOverrides(api)
	a.registerUsers(api)
	a.registerGrants(api)
	a.registerUsage(api)
	a.registerKey(api)
	a.registerBackup(api)
	a.registerApplications(api)
	a.registerEndpoints(api)
	a.registerTiers(api)
	a.registerAmendments(api)
	a.registerAudit(api)
	a.registerSurvey(api)
	a.registerHistory(api)
	a.registerMembers(api)
	a.registerAlerts(api)
	if err := a.registerDocs(api.OpenAPI()); err != nil {
		return nil, err
	}
	return a, nil
}

const keyScheme = "operatorKey"

func (a *API) config() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "perdiem admin API",
				Version:     "1",
				Description: "Changes and reads a running node. Ask with the operator's key as a bearer token.",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{keyScheme: {Type: "http", Scheme: "bearer", Description: "the operator's key"}},
			},
			Security: []map[string][]string{{keyScheme: {}}},
		},
		OpenAPIPath:                  "/openapi",
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{a.transform},
	}
}

// open are the paths for which no key is asked.
var open = map[string]bool{"/openapi.json": true, "/openapi.yaml": true, docsPath: true, docsStylePath: true}

// ServeHTTP serves a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if !open[r.URL.Path] {
		key, ok := presentedKey(r)
		if !ok || !a.Key.Matches(key) {
			a.answer(w, fault.New(fault.Unauthorized, "Send the operator's key: Authorization: Bearer and the key."))
			return
		}
		r = r.WithContext(withActor(r.Context(), key))
	}
	if a.serves(r, r.Method) {
		a.mux.ServeHTTP(w, r)
		return
	}
	allowed := slices.DeleteFunc([]string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"}, func(method string) bool { return !a.serves(r, method) })
	if len(allowed) == 0 {
		a.answer(w, fault.New(fault.NotFound, "There is no %s; /openapi.json tells what there is.", r.URL.Path))
		return
	}
	h.Set("Allow", strings.Join(allowed, ", "))
	status, body := a.Problem(h, nil, http.StatusMethodNotAllowed, r.URL.Path+" does not take "+r.Method+"; /openapi.json tells what it takes.")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that whoever asked is gone
}

// serves reports whether there is something to ask by method at a request's path.
func (a *API) serves(r *http.Request, method string) bool {
	asked := *r
	asked.Method = method
	_, pattern := a.mux.Handler(&asked)
	return pattern != ""
}

// presentedKey returns the key that a request bears.
func presentedKey(r *http.Request) (key string, ok bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, key, _ := strings.Cut(values[0], " ")
	return strings.TrimSpace(key), strings.EqualFold(scheme, "Bearer")
}

// actorOf is under what the context of a request has its actor.
type actorOf struct{}

// withActor returns the context of a request that bears the key, which holds.
func withActor(ctx context.Context, key string) context.Context {
	hash := sha256.Sum256([]byte(key))
	return context.WithValue(ctx, actorOf{}, registry.KeyName(hex.EncodeToString(hash[:])))
}

// actor returns who asks, for the audit: whoever has the key that the request bears.
func actor(ctx context.Context) string {
	name, _ := ctx.Value(actorOf{}).(string)
	return name
}

func (a *API) answer(w http.ResponseWriter, err error) {
	status, body := a.Fault(w.Header(), nil, err)
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that whoever asked is gone
}

// changed takes up a change to the catalog.
func (a *API) changed(ctx context.Context) error { return takenUp(a.Changed(ctx)) }

// takenUp returns what is said of a change that is kept, when the node did or did not take it up.
func takenUp(err error) error {
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "The change is kept, but the node could not take it up yet; it goes on trying.")
	}
	return nil
}

// operation returns what all operations have in common. statuses are the errors that it may answer besides those of all.
func (a *API) operation(id, method, path, summary string, statuses ...int) huma.Operation {
	return huma.Operation{
		OperationID: id,
		Method:      method,
		Path:        "/admin/v1/" + path,
		Summary:     summary,
		Responses:   a.problemResponses(statuses...),
	}
}

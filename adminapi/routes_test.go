package adminapi_test

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRoutes asks for each route without a key, with a wrong one and with the right one. A route without a row fails it.
func TestRoutes(t *testing.T) {
	h := newHost(t)
	h.want(200, h.ask("PUT", "/admin/v1/catalog", schemaCatalog), nil)
	h.backup = func(context.Context) (func(io.Writer) error, error) {
		return func(io.Writer) error { return nil }, nil
	}
	const open = 200 // with whatever key
	rows := []struct {
		route, query, body string
		none, wrong, right int // the statuses
	}{
		{"GET /openapi.json", "", "", open, open, 200},
		{"GET /openapi.yaml", "", "", open, open, 200},
		{"GET /docs", "", "", open, open, 200},
		{"GET /docs.css", "", "", open, open, 200},

		{"GET /admin/v1/status", "", "", 401, 401, 200},
		{"GET /admin/v1/protection", "", "", 401, 401, 200},
		{"GET /admin/v1/survey", "", "", 401, 401, 200},
		{"POST /admin/v1/backup", "", "", 401, 401, 200},
		{"GET /admin/v1/catalog", "", "", 401, 401, 200},
		{"PUT /admin/v1/catalog", "", schemaCatalog, 401, 401, 200},

		{"GET /admin/v1/endpoints", "", "", 401, 401, 200},
		{"GET /admin/v1/endpoint", "id=posts.create", "", 401, 401, 200},
		{"PUT /admin/v1/endpoints", "", `{"id": "made", "match": "GET /made"}`, 401, 401, 200},
		{"DELETE /admin/v1/endpoints", "id=made", "", 401, 401, 200},
		{"GET /admin/v1/tiers", "", "", 401, 401, 200},
		{"GET /admin/v1/tier", "name=gold", "", 401, 401, 200},
		{"PUT /admin/v1/tiers", "", `{"name": "made"}`, 401, 401, 200},
		{"DELETE /admin/v1/tiers", "id=made", "", 401, 401, 200},
		{"GET /admin/v1/applications", "", "", 401, 401, 200},
		{"GET /admin/v1/application", "id=acme", "", 401, 401, 200},
		{"PUT /admin/v1/applications", "", `{"id": "made"}`, 401, 401, 200},
		{"DELETE /admin/v1/applications", "id=made", "", 401, 401, 200},
		{"PUT /admin/v1/applications", "", `{"id": "acme", "shadow": true}`, 401, 401, 200},
		{"DELETE /admin/v1/amendments", "noun=application&id=acme", "", 401, 401, 200},
		{"GET /admin/v1/overrides", "", "", 401, 401, 200},
		{"PUT /admin/v1/overrides", "", `{"application": "acme", "endpoint": "*", "limits": {"member": 7}}`, 401, 401, 204},
		{"DELETE /admin/v1/overrides", "application=acme&endpoint=*", "", 401, 401, 204},

		{"POST /admin/v1/tokens", "", `{"application": "acme"}`, 401, 401, 201},
		{"GET /admin/v1/tokens", "application=acme", "", 401, 401, 200},
		{"DELETE /admin/v1/tokens", "id=tok_0", "", 401, 401, 404},
		{"GET /admin/v1/alerts", "application=acme", "", 401, 401, 200},
		{"PUT /admin/v1/alerts", "", `{"application": "acme", "mail": ["ops@acme.example"]}`, 401, 401, 200},
		{"POST /admin/v1/alerts/secret", "", `{"application": "acme"}`, 401, 401, 409}, // it has no webhook
		{"GET /admin/v1/alerts/deliveries", "application=acme", "", 401, 401, 200},
		{"POST /admin/v1/alerts/test", "", `{"application": "acme"}`, 401, 401, 200},
		{"GET /admin/v1/usage", "application=acme", "", 401, 401, 200},
		{"GET /admin/v1/history/hours", "application=acme", "", 401, 401, 200},
		{"GET /admin/v1/history/days", "application=acme", "", 401, 401, 200},
		{"GET /admin/v1/members/near", "application=acme", "", 401, 401, 200},

		{"POST /admin/v1/users", "", `{"email": "ann@example.com"}`, 401, 401, 201},
		{"GET /admin/v1/users", "", "", 401, 401, 200},
		{"PUT /admin/v1/users/password", "", `{"email": "ann@example.com", "password": "another horse battery"}`, 401, 401, 204},
		{"PUT /admin/v1/users/operator", "", `{"email": "ann@example.com", "operator": true}`, 401, 401, 204},
		{"DELETE /admin/v1/users/sessions", "email=ann@example.com", "", 401, 401, 204},
		{"PUT /admin/v1/grants", "", `{"email": "ann@example.com", "application": "acme", "role": "admin"}`, 401, 401, 204},
		{"GET /admin/v1/grants", "application=acme", "", 401, 401, 200},
		{"DELETE /admin/v1/grants", "email=ann@example.com&application=acme", "", 401, 401, 204},
		{"DELETE /admin/v1/users", "email=ann@example.com", "", 401, 401, 204},
		{"GET /admin/v1/audit", "", "", 401, 401, 200},
		{"POST /admin/v1/operator-key/rotate", "", "", 401, 401, 200}, // the last, since the key ends
	}
	tried := map[string]bool{}
	for _, row := range rows {
		tried[row.route] = true
		method, target, _ := strings.Cut(row.route, " ")
		if row.query != "" {
			target += "?" + row.query
		}
		for _, with := range []struct {
			name, authorization string
			status              int
		}{
			{"no key", "", row.none},
			{"a wrong key", "Bearer " + strings.Repeat("x", len(h.key)), row.wrong},
			{"the right key", "Bearer " + h.key, row.right},
		} {
			r := httptest.NewRequest(method, target, strings.NewReader(row.body))
			if strings.HasPrefix(row.body, "{") {
				r.Header.Set("Content-Type", "application/json")
			}
			if with.authorization != "" {
				r.Header.Set("Authorization", with.authorization)
			}
			before := h.newest()
			w := httptest.NewRecorder()
			h.api.ServeHTTP(w, r)
			if w.Code != with.status {
				t.Errorf("%s with %s: %d, not %d: %.300s", row.route, with.name, w.Code, with.status, w.Body)
			}
			if after := h.newest(); with.status == 401 && after != before {
				t.Errorf("%s with %s changed something: %+v", row.route, with.name, after)
			}
		}
	}
	for _, op := range describe(t, h).operations {
		if route := op.method + " " + op.path; !tried[route] {
			t.Errorf("%s has no row", route)
		}
	}
}

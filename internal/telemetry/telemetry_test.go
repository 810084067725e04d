package telemetry_test

import (
	"errors"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perdiem/perdiem/internal/telemetry"
)

func open(t *testing.T, o telemetry.Options) *telemetry.Telemetry {
	t.Helper()
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Figures == nil {
		o.Figures = func() telemetry.Figures { return telemetry.Figures{} }
	}
	tel, err := telemetry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func get(t *testing.T, tel *telemetry.Telemetry, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	tel.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	var why error
	tel := open(t, telemetry.Options{Ready: func() error { return why }})
	for _, c := range []struct {
		why    error
		path   string
		status int
		body   string
	}{
		{nil, "/healthz", 200, "ok\n"},
		{nil, "/readyz", 200, "ok\n"},
		{errors.New("the ledger is down"), "/healthz", 200, "ok\n"},
		{errors.New("the ledger is down"), "/readyz", 503, "not ready: the ledger is down\n"},
		{nil, "/nothing", 404, "404 page not found\n"},
	} {
		why = c.why
		if status, body := get(t, tel, c.path); status != c.status || body != c.body {
			t.Errorf("%s with %v: %d %q", c.path, c.why, status, body)
		}
	}
}

// TestSeriesFollowTheCatalog checks that the series of an endpoint end with it, and that none begins for an endpoint that is not in
// the catalog.
func TestSeriesFollowTheCatalog(t *testing.T) {
	tel := open(t, telemetry.Options{})
	count := func(endpoint string) {
		tel.Request(telemetry.Request{Outcome: "admitted", Endpoint: endpoint, Limit: "none", Duration: time.Millisecond})
	}
	series := func() string {
		_, body := get(t, tel, "/metrics")
		return strings.Join(regexp.MustCompile(`(?m)^perdiem_requests_total.*$`).FindAllString(body, -1), "\n")
	}
	tel.SetEndpoints([]string{"*", "posts"})
	count("posts")
	count("*")
	count("hostile")
	want := `perdiem_requests_total{endpoint="",limit="none",outcome="admitted"} 1
perdiem_requests_total{endpoint="*",limit="none",outcome="admitted"} 1
perdiem_requests_total{endpoint="posts",limit="none",outcome="admitted"} 1`
	if got := series(); got != want {
		t.Errorf("got\n%s", got)
	}
	tel.SetEndpoints([]string{"*"})
	count("posts")
	want = `perdiem_requests_total{endpoint="",limit="none",outcome="admitted"} 2
perdiem_requests_total{endpoint="*",limit="none",outcome="admitted"} 1`
	if got := series(); got != want {
		t.Errorf("after posts left, got\n%s", got)
	}
}

func TestFigures(t *testing.T) {
	tel := open(t, telemetry.Options{Version: "1.2.3", Revision: "abc", Figures: func() telemetry.Figures {
		return telemetry.Figures{
			LedgerUp: true, Incomplete: true, LedgerRequests: 1, LedgerAsks: 2, LedgerWrites: 3, LedgerBytes: 4, FreeBytes: 5, Returned: 6, Unbacked: 7, Unrecorded: 10, Accounts: 8, CatalogVersion: 9,
			Certificates: map[string]time.Time{"gateway": time.Unix(1_000_000, 5), "ops": time.Unix(-1, 0)},
		}
	}})
	tel.Decision(time.Millisecond)
	_, body := get(t, tel, "/metrics")
	for _, line := range []string{
		"perdiem_ledger_up 1", "perdiem_ledger_incomplete 1", "perdiem_ledger_requests_total 1", "perdiem_ledger_asks_total 2", "perdiem_ledger_writes_total 3",
		"perdiem_ledger_disk_bytes 4", "perdiem_ledger_free_disk_bytes 5", "perdiem_returned_calls_total 6", "perdiem_unbacked_calls_total 7", "perdiem_unrecorded_calls_total 10",
		"perdiem_accounts 8", "perdiem_catalog_version 9", "perdiem_decision_duration_seconds_count 1",
		`perdiem_certificate_expiry_seconds{listener="gateway"} 1e+06`, `perdiem_certificate_expiry_seconds{listener="ops"} -1`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if !regexp.MustCompile(`(?m)^perdiem_build_info\{goversion="go\S+",revision="abc",version="1\.2\.3"\} 1$`).MatchString(body) {
		t.Error("perdiem_build_info is missing")
	}
}

func TestCountingWhileTheCatalogChanges(t *testing.T) {
	tel := open(t, telemetry.Options{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 1000 {
				tel.Request(telemetry.Request{Outcome: "refused", Endpoint: "posts", Limit: "member"})
				tel.Decision(time.Microsecond)
			}
		})
	}
	for range 100 {
		tel.SetEndpoints([]string{"posts"})
		tel.SetEndpoints(nil)
	}
	group.Wait()
	if status, _ := get(t, tel, "/metrics"); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestOptionsAreRequired(t *testing.T) {
	if _, err := telemetry.New(telemetry.Options{}); err == nil {
		t.Error("no error")
	}
}

func TestProtectionFigures(t *testing.T) {
	var protection *telemetry.ProtectionFigures
	tel := open(t, telemetry.Options{Figures: func() telemetry.Figures { return telemetry.Figures{Protection: protection} }})
	if _, body := get(t, tel, "/metrics"); strings.Contains(body, "perdiem_protection") {
		t.Error("there are figures of a protection that there is not")
	}
	protection = &telemetry.ProtectionFigures{
		Limiting: true, Limit: 12, InFlight: 11, Refused: 7, Latency: 750 * time.Millisecond, UsualLatency: 5 * time.Millisecond,
	}
	_, body := get(t, tel, "/metrics")
	for _, line := range []string{"limiting 1", "limit 12", "in_flight 11", "refused_total 7", "latency_seconds 0.75", "usual_latency_seconds 0.005"} {
		if !strings.Contains(body, "\nperdiem_protection_"+line+"\n") {
			t.Errorf("no %s in\n%s", line, body)
		}
	}
}

package admit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sample = `
endpoints:
  - {id: posts.create, match: POST /rest/posts, application: 5, member: 2}
  - {id: posts.find, match: GET /rest/posts, when: {header: {X-RestLi-Method: FINDER}}, application: 100, cost: 3}
  - {id: posts.shadow, match: /shadow, application: 2, member: 1, shadow: true}
  - {id: posts.closed, match: /closed, application: 0, shadow: true}
  - {id: posts.members, match: /members, member: 0}
catch_all: {application: 1000, member: 100}
tiers: {large: {posts.create: {application: 50, member: 20}}}
applications:
  - {id: acme}
  - {id: beta, tier: large, overrides: {posts.create: {member: 3}}}
  - {id: gamma, shadow: true}
  - {id: gone, suspended: true}
`

// system is an Admitter with real leases behind it.
type system struct {
	*admit.Admitter
	book     *lease.Book
	snapshot atomic.Pointer[catalog.Snapshot]
}

func start(t testing.TB, yaml string, sources ...identity.Source) *system {
	t.Helper()
	s := &system{}
	s.apply(t, yaml)
	rule, err := quota.NewDayRule("UTC", "00:00")
	must(t, err)
	ledger, err := embedledger.Open(embedledger.Options{Dir: t.TempDir(), Durability: embedledger.Process, MinFree: 1})
	must(t, err)
	s.book, err = lease.Open(lease.Options{Ledger: ledger, Rule: rule, Day: rule.At(time.Now()), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() {
		must(t, s.book.Close(context.Background()))
		must(t, ledger.Close())
	})
	headers, err := identity.NewHeaders(identity.HeaderOptions{
		Application: "X-App-Id", Member: "X-Member-Id", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	must(t, err)
	s.Admitter, err = admit.New(admit.Options{
		Catalog: s.snapshot.Load, Callers: identity.New(append(sources, headers)...), Take: s.book.Take, Now: time.Now,
	})
	must(t, err)
	return s
}

func (s *system) apply(t testing.TB, yaml string) {
	t.Helper()
	c, err := catalog.Parse("catalog.yaml", []byte(yaml), catalog.PathPolicy{})
	must(t, err)
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{})
	must(t, err)
	s.snapshot.Store(snapshot)
}

// request makes a request of an application and, where one is named, a member.
func (s *system) request(t testing.TB, method, path, application, member string, header ...string) admit.Request {
	t.Helper()
	normal, err := s.Path(path)
	must(t, err)
	r := admit.Request{Method: method, Path: normal, Header: http.Header{}, Peer: netip.MustParseAddr("127.0.0.1")}
	if application != "" {
		r.Header.Set("X-App-Id", application)
	}
	if member != "" {
		r.Header.Set("X-Member-Id", member)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAdmit(t *testing.T) {
	s := start(t, sample)
	before := time.Now()
	d, err := s.Admit(t.Context(), s.request(t, "POST", "//rest/posts/", "acme", "m-1"))
	must(t, err)
	if !d.Admitted() || d.Endpoint.ID != "posts.create" || d.Caller.Application != "acme" || d.Caller.Member != "m-1" || d.Path.Forward != "/rest/posts/" ||
		d.Shadowed != quota.None || d.At.Before(before) || d.At.After(time.Now()) || !d.Day.Contains(d.At) {
		t.Errorf("%+v", d)
	}
	if d.Application != (quota.Allowance{Limit: 5, Used: 1}) || d.Member != (quota.Allowance{Limit: 2, Used: 1}) {
		t.Errorf("left %+v %+v", d.Application, d.Member)
	}
	d, err = s.Admit(t.Context(), s.request(t, "GET", "/rest/posts", "acme", "", "X-RestLi-Method", "finder"))
	must(t, err)
	if d.Endpoint.ID != "posts.find" || d.Cost != 3 || d.Application.Used != 3 || d.HasMember {
		t.Errorf("%+v", d)
	}
	d, err = s.Admit(t.Context(), s.request(t, "POST", "/rest/posts", "beta", "m-1"))
	must(t, err)
	if d.Application.Limit != 50 || d.Member.Limit != 3 {
		t.Errorf("a tier and an override: %+v", d)
	}
}

func TestRefusal(t *testing.T) {
	s := start(t, sample)
	want := []quota.Kind{quota.None, quota.None, quota.Member, quota.Member}
	for i, kind := range want {
		d, err := s.Admit(t.Context(), s.request(t, "POST", "/rest/posts", "acme", "m-1"))
		must(t, err)
		if d.Refused != kind || d.Shadowed != quota.None || d.Endpoint == nil || d.Caller.Member != "m-1" {
			t.Errorf("call %d: %+v", i+1, d)
		}
	}
}

func TestShadow(t *testing.T) {
	s := start(t, sample)
	for _, c := range []struct{ application, path, endpoint, member string }{{"acme", "/shadow", "posts.shadow", "m-1"}, {"gamma", "/rest/posts", "posts.create", ""}} {
		var kinds []quota.Kind
		for range 7 {
			d, err := s.Admit(t.Context(), s.request(t, "POST", c.path, c.application, c.member))
			must(t, err)
			if !d.Admitted() {
				t.Fatalf("%s refused in shadow: %+v", c.application, d)
			}
			kinds = append(kinds, d.Shadowed)
		}
		all, err := s.book.Usage(t.Context(), c.application)
		must(t, err)
		var charged int64
		for _, k := range kinds {
			if k == quota.None {
				charged++
			}
		}
		if charged == 0 || charged == 7 || len(all) != 1 || all[0].Endpoint != c.endpoint || all[0].Used != charged || all[0].Refused != 7-charged {
			t.Errorf("%s: shadowed %v, used %+v", c.application, kinds, all)
		}
	}
}

func TestErrors(t *testing.T) {
	s := start(t, sample)
	tests := []struct {
		name    string
		request admit.Request
		kind    fault.Kind
		says    string
	}{
		{"no credential", s.request(t, "GET", "/", "", ""), fault.Unauthorized, ""},
		{"unknown application", s.request(t, "GET", "/", "nobody", ""), fault.Unauthorized, "nobody"},
		{"suspended", s.request(t, "GET", "/", "gone", ""), fault.Forbidden, "gone"},
		{"no access, in shadow too", s.request(t, "GET", "/closed", "acme", ""), fault.Forbidden, "posts.closed"},
		{"no access for members", s.request(t, "GET", "/members", "acme", "m-1"), fault.Forbidden, "posts.members"},
		{"two values of a tested name", s.request(t, "GET", "/rest/posts", "acme", "", "X-RestLi-Method", "FINDER", "X-RestLi-Method", "GET"), fault.Invalid, ""},
		{"two applications", s.request(t, "GET", "/", "acme", "", "X-App-Id", "beta"), fault.Invalid, ""},
		{"CONNECT", s.request(t, "CONNECT", "/", "acme", ""), fault.Invalid, "CONNECT"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.Admit(t.Context(), test.request)
			if fault.KindOf(err) != test.kind || !strings.Contains(fault.Message(err), test.says) {
				t.Errorf("error %v (%v), want one of kind %v that says %q", err, fault.KindOf(err), test.kind, test.says)
			}
		})
	}
	for _, path := range []string{"", "rest", "/%2f", "/%00", "/a\\b"} {
		if _, err := s.Path(path); fault.KindOf(err) != fault.Invalid {
			t.Errorf("path %q: %v", path, err)
		}
	}
	if d, err := s.Admit(t.Context(), s.request(t, "GET", "/members", "acme", "")); err != nil || !d.Admitted() {
		t.Errorf("an application where members have no access: %+v %v", d, err)
	}
	for _, application := range []string{"acme", "beta", "gamma", "gone", "nobody"} {
		all, err := s.book.Usage(t.Context(), application)
		must(t, err)
		if application != "acme" && len(all) > 0 {
			t.Errorf("%s is charged: %+v", application, all)
		}
	}
}

// Protection is asked when only a limit can still refuse the call, and what it refuses is not charged.
func TestProtect(t *testing.T) {
	s := start(t, sample)
	var asked []string
	busy := fault.New(fault.Exhausted, "busy")
	ask := func(method, path, application string) error {
		r := s.request(t, method, path, application, "m-1")
		r.Protect = func(ctx context.Context, endpoint string) error {
			if ctx != t.Context() {
				t.Error("another context")
			}
			asked = append(asked, endpoint)
			return busy
		}
		_, err := s.Admit(t.Context(), r)
		return err
	}
	for _, c := range []struct{ method, path, application string }{
		{"GET", "/", "nobody"}, {"GET", "/", "gone"}, {"GET", "/closed", "acme"}, {"GET", "/members", "acme"}, {"CONNECT", "/", "acme"},
	} {
		if err := ask(c.method, c.path, c.application); err == nil || errors.Is(err, busy) || len(asked) > 0 {
			t.Errorf("%v: %v, asked for %v", c, err, asked)
		}
	}
	if err := ask("POST", "/rest/posts", "acme"); !errors.Is(err, busy) || len(asked) != 1 || asked[0] != "posts.create" {
		t.Errorf("%v, asked for %v", err, asked)
	}
	if all, err := s.book.Usage(t.Context(), "acme"); err != nil || len(all) > 0 {
		t.Errorf("used %+v, %v", all, err)
	}
}

func TestTakeFails(t *testing.T) {
	s := start(t, sample)
	down := fault.New(fault.Unavailable, "The ledger cannot be reached.")
	headers, err := identity.NewHeaders(identity.HeaderOptions{Application: "X-App-Id", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	must(t, err)
	o := admit.Options{
		Catalog: s.snapshot.Load, Callers: identity.New(headers), Now: time.Now,
		Take: func(context.Context, lease.Call) (quota.Decision, error) { return quota.Decision{}, down },
	}
	a, err := admit.New(o)
	must(t, err)
	if _, err := a.Admit(t.Context(), s.request(t, "GET", "/shadow", "acme", "")); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
	for _, remove := range []func(*admit.Options){
		func(o *admit.Options) { o.Catalog = nil }, func(o *admit.Options) { o.Callers = nil },
		func(o *admit.Options) { o.Take = nil }, func(o *admit.Options) { o.Now = nil },
	} {
		missing := o
		remove(&missing)
		if _, err := admit.New(missing); err == nil {
			t.Error("a missing option is taken")
		}
	}
}

func TestIdentify(t *testing.T) {
	s := start(t, sample)
	caller, err := s.Identify(t.Context(), s.request(t, "GET", "/", "acme", "m-1"))
	if err != nil || caller.Application != "acme" || caller.Member != "m-1" {
		t.Errorf("%+v %v", caller, err)
	}
	for application, kind := range map[string]fault.Kind{"": fault.Unauthorized, "nobody": fault.Unauthorized, "gone": fault.Forbidden} {
		if _, err := s.Identify(t.Context(), s.request(t, "GET", "/", application, "")); fault.KindOf(err) != kind {
			t.Errorf("%q: %v", application, err)
		}
	}
	if all, err := s.book.Usage(t.Context(), "acme"); err != nil || len(all) > 0 {
		t.Errorf("charged: %+v %v", all, err)
	}
	h := http.Header{"X-App-Id": {"acme"}, "X_member_id": {"m"}, "X-Other": {"kept"}}
	if s.Strip(h); len(h) != 1 {
		t.Errorf("after Strip: %v", h)
	}
}

// TestCatalogChange lowers a limit below what is used, and raises it again: what is used never changes by it.
func TestCatalogChange(t *testing.T) {
	s := start(t, sample)
	call := func(refused quota.Kind, used int64) {
		t.Helper()
		d, err := s.Admit(t.Context(), s.request(t, "POST", "/rest/posts", "acme", ""))
		must(t, err)
		if d.Refused != refused || d.Application.Used != used {
			t.Errorf("%+v, want %v with %d used", d.Decision, refused, used)
		}
	}
	for i := range int64(3) {
		call(quota.None, i+1)
	}
	s.apply(t, strings.Replace(sample, "application: 5", "application: 2", 1))
	call(quota.Application, 3)
	s.apply(t, strings.Replace(sample, "application: 5", "application: 4", 1))
	call(quota.None, 4)
	call(quota.Application, 4)
}

// TestVectors replays the cases that the pure rule is tested with.
func TestVectors(t *testing.T) {
	for _, v := range testkit.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			s := start(t, sample)
			limits := v.Limits
			for i, call := range v.Calls {
				if call.Limits != nil {
					limits = *call.Limits
				}
				snapshot, err := catalog.NewSnapshot(&catalog.Catalog{
					Endpoints:    []catalog.Endpoint{{ID: "e", Path: "/e", Cost: call.Cost, Limits: quota.Limits(limits)}},
					CatchAll:     catalog.Endpoint{ID: catalog.CatchAllID, Cost: 1},
					Applications: []catalog.Application{{ID: "acme"}},
				}, catalog.Options{})
				must(t, err)
				s.snapshot.Store(snapshot)
				d, err := s.Admit(t.Context(), s.request(t, "GET", "/e", "acme", call.Member))
				must(t, err)
				if d.Refused != call.Refused || d.Application.Used != call.Application || d.Refused != quota.Application && d.Member.Used != call.MemberUsed {
					t.Errorf("call %d: %+v, want %+v", i+1, d.Decision, call)
				}
			}
		})
	}
}

// BenchmarkAdmit is the whole warm decision, parallel: token, endpoint, limits, both allowances.
func BenchmarkAdmit(b *testing.B) {
	const members = 1000
	store, err := sqlregistry.OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "registry.db"), sqlregistry.Options{})
	must(b, err)
	b.Cleanup(func() { must(b, store.Close()) })
	yaml := "endpoints:\n"
	for i := range 100 {
		yaml += fmt.Sprintf("  - {id: e%d, match: \"GET /rest/things%d/{id}\"}\n", i, i)
	}
	yaml += "catch_all: {}\napplications: [{id: acme}]\n"
	c, err := catalog.Parse("catalog.yaml", []byte(yaml), catalog.PathPolicy{})
	must(b, err)
	_, err = store.Apply(b.Context(), c, registry.ApplyOptions{Source: "catalog.yaml", Actor: "bench"})
	must(b, err)
	key := identity.NewTokenKey()
	tokens, err := identity.NewTokens(identity.TokenOptions{Registry: store, Key: key})
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan struct{})
	go func() {
		defer close(running)
		tokens.Run(ctx)
	}()
	b.Cleanup(func() {
		cancel()
		<-running
	})
	for tokens.Ready() != nil {
		runtime.Gosched() // tokens are remembered once revocations have been read
	}
	s := start(b, yaml, tokens)
	requests := make([]admit.Request, members)
	for i := range requests {
		secret, hash := key.NewToken()
		_, err := store.IssueToken(ctx, registry.NewToken{Hash: hash, Application: "acme", Member: fmt.Sprintf("m-%d", i), Expires: time.Now().Add(time.Hour)})
		must(b, err)
		requests[i] = s.request(b, "GET", fmt.Sprintf("/rest/things%d/1", i%100), "", "", "Authorization", "Bearer "+secret, "Accept", "*/*", "User-Agent", "bench")
		_, err = s.Admit(ctx, requests[i])
		must(b, err)
	}
	var worker atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(worker.Add(1)) * 7919; pb.Next(); i++ {
			if d, err := s.Admit(ctx, requests[i%members]); err != nil || !d.Admitted() {
				b.Errorf("%+v %v", d, err)
				return
			}
		}
	})
}

// voucher is a source that vouches for the application that a header names.
type voucher struct{}

func (voucher) Identify(_ context.Context, r identity.Request) (identity.Caller, bool, error) {
	id := r.Header.Get("X-Vouched")
	return identity.Caller{Application: id, Vouched: true}, id != "", nil
}

func (voucher) Strip(http.Header) {}

// TestRegister has an application that is first met decided by the very call that met it, and others than vouched ones refused.
func TestRegister(t *testing.T) {
	s := start(t, sample, voucher{})
	ask := func(header, id string) (admit.Decision, error) {
		return s.Admit(t.Context(), s.request(t, "POST", "/rest/posts", "", "", header, id))
	}
	if _, err := ask("X-Vouched", "new"); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("where nobody is registered: %v", err)
	}
	var registered []string
	var fail error
	a, err := admit.New(admit.Options{
		Catalog: s.snapshot.Load, Take: s.book.Take, Now: time.Now,
		Callers: identity.New(voucher{}),
		Register: func(_ context.Context, id string) error {
			registered = append(registered, id)
			if fail == nil {
				s.apply(t, sample+"  - {id: "+id+", tier: large}\n")
			}
			return fail
		},
	})
	must(t, err)
	s.Admitter = a
	for used := 1; used <= 2; used++ {
		d, err := ask("X-Vouched", "new")
		if err != nil || !d.Admitted() || d.Application.Limit != 50 || d.Application.Used != int64(used) {
			t.Errorf("call %d: %+v, %v", used, d, err)
		}
	}
	if _, err := ask("X-Vouched", "gone"); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("one that is suspended: %v", err)
	}
	if _, err := ask("X-App-Id", "other"); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("one that nobody vouches for: %v", err)
	}
	fail = fault.New(fault.Exhausted, "too many")
	if _, err := ask("X-Vouched", "newer"); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("one too many: %v", err)
	}
	if fmt.Sprint(registered) != "[new newer]" {
		t.Errorf("registered %v", registered)
	}
}

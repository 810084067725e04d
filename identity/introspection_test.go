package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry/registrytest"
)

// questions answers an introspection source's questions in its process: what it answers can be changed at any time.
type questions struct {
	mu      sync.Mutex
	answers map[string]string // guarded by mu; by token; what is not in it is not active
	status  int               // guarded by mu; 0: 200
	err     error             // guarded by mu
	asked   int               // guarded by mu
	slow    chan struct{}     // guarded by mu; not nil: an answer waits for it
}

func (q *questions) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked++
	if slow := q.slow; slow != nil {
		q.mu.Unlock()
		select {
		case <-slow:
		case <-r.Context().Done():
			q.mu.Lock()
			return nil, r.Context().Err()
		}
		q.mu.Lock()
	}
	if q.err != nil {
		return nil, q.err
	}
	answer, ok := q.answers[form.Get("token")]
	if !ok {
		answer = `{"active":false}`
	}
	status := q.status
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Header: http.Header{}, Request: r}, nil
}

func (q *questions) set(status int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status, q.err = status, err
}

func (q *questions) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asked
}

var introspectionOptions = IntrospectionOptions{
	URL: "https://issuer.example/introspect", ClientID: "gw", ClientSecret: "s", Application: "client_id", Member: "sub",
}

func newIntrospection(t testing.TB, now func() time.Time, answers map[string]string) (*Introspection, *questions) {
	t.Helper()
	o := introspectionOptions
	o.Now = now
	i, err := NewIntrospection(o)
	if err != nil {
		t.Fatal(err)
	}
	q := &questions{answers: answers}
	i.client.Transport = q
	return i, q
}

func TestIntrospection(t *testing.T) {
	clock := registrytest.NewClock()
	now := clock.Now().Unix()
	active := func(more string) string { return `{"active":true,"client_id":"acme","sub":"m-1"` + more + `}` }
	acme := Caller{Application: "acme", Member: "m-1", Vouched: true}
	own := Caller{Application: "acme", Vouched: true}
	for _, test := range []struct {
		name   string
		answer string
		want   Caller
		kind   fault.Kind // where want is zero
	}{
		{"active", active(""), acme, 0},
		{"with all that there is", active(fmt.Sprintf(`,"exp":%d,"nbf":%d,"iat":1,"scope":"a b","token_type":"bearer","aud":["x"],"cnf":{}`, now+1, now+30)), acme, 0},
		{"an application alone", `{"active":true,"client_id":"acme"}`, own, 0},
		{"a member that is the application", `{"active":true,"client_id":"acme","sub":"acme"}`, own, 0},
		{"a member of null", `{"active":true,"client_id":"acme","sub":null}`, own, 0},
		{"not active", `{"active":false}`, Caller{}, fault.Unauthorized},
		{"not active, with names", `{"active":false,"client_id":"acme"}`, Caller{}, fault.Unauthorized},
		{"expired", active(fmt.Sprintf(`,"exp":%d`, now)), Caller{}, fault.Unauthorized},
		{"not yet", active(fmt.Sprintf(`,"nbf":%d`, now+31)), Caller{}, fault.Unauthorized},
		{"an exp that is a text", active(`,"exp":"9999999999"`), Caller{}, fault.Unauthorized},
		{"bound to a key", active(`,"token_type":"DPoP"`), Caller{}, fault.Unauthorized},
		{"no application", `{"active":true,"sub":"m-1"}`, Caller{}, fault.Unauthorized},
		{"a member with NUL", `{"active":true,"client_id":"acme","sub":"m\u0000"}`, Caller{}, fault.Unauthorized},
		{"an application that is a list", `{"active":true,"client_id":["acme"]}`, Caller{}, fault.Unauthorized},
		{"active as a text", `{"active":"true","client_id":"acme"}`, Caller{}, fault.Unavailable},
		{"active of null", `{"active":null,"client_id":"acme"}`, Caller{}, fault.Unavailable},
		{"Active", `{"Active":true,"client_id":"acme"}`, Caller{}, fault.Unavailable},
		{"nothing of active", `{"client_id":"acme"}`, Caller{}, fault.Unavailable},
		{"active twice", `{"active":false,"active":true,"client_id":"acme"}`, Caller{}, fault.Unavailable},
		{"a list", `[true]`, Caller{}, fault.Unavailable},
		{"no JSON", `<html>`, Caller{}, fault.Unavailable},
		{"nothing", ``, Caller{}, fault.Unavailable},
		{"a long answer", active(`,"x":"` + strings.Repeat("x", maxIntrospects) + `"`), Caller{}, fault.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			i, q := newIntrospection(t, clock.Now, map[string]string{"secret": test.answer})
			for range 3 {
				got, found, err := identifyBearer(t.Context(), i, "secret")
				if got != test.want || found != (test.want != Caller{}) || fault.KindOf(err) != test.kind {
					t.Errorf("got %+v, %t, %v; want %+v or an error of kind %q", got, found, err, test.want, test.kind)
				}
			}
			if want := map[bool]int{true: 3, false: 1}[test.kind == fault.Unavailable]; q.count() != want {
				t.Errorf("the issuer was asked %d times, want %d", q.count(), want)
			}
		})
	}
}

func TestIntrospectionAsksAboutTokensOnly(t *testing.T) {
	i, q := newIntrospection(t, time.Now, nil)
	secret, _ := testKey.NewToken()
	for _, lines := range [][]string{nil, {"Authorization: Bearer " + secret}, {"Authorization: Basic dTpw"}, {"Authorization: Bearer"}} {
		if _, found, err := i.Identify(t.Context(), request(t, "", lines...)); found || err != nil {
			t.Errorf("%q: %t, %v", lines, found, err)
		}
	}
	for _, token := range []string{"two words", "a,b", `"a"`, "====", "é", strings.Repeat("a", maxCredential+1)} {
		if _, found, err := identifyBearer(t.Context(), i, token); found || fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("%.20q: %t, %v", token, found, err)
		}
	}
	if q.count() != 0 {
		t.Errorf("the issuer was asked %d times", q.count())
	}
}

func TestIntrospectionAudience(t *testing.T) {
	o := introspectionOptions
	o.Audience = "api"
	i, err := NewIntrospection(o)
	if err != nil {
		t.Fatal(err)
	}
	i.client.Transport = &questions{answers: map[string]string{
		"one":   `{"active":true,"client_id":"acme","aud":"api"}`,
		"list":  `{"active":true,"client_id":"acme","aud":["x","api"]}`,
		"other": `{"active":true,"client_id":"acme","aud":"x"}`,
		"none":  `{"active":true,"client_id":"acme"}`,
		"odd":   `{"active":true,"client_id":"acme","aud":{"api":1}}`,
	}}
	for token, want := range map[string]bool{"one": true, "list": true, "other": false, "none": false, "odd": false} {
		if _, found, err := identifyBearer(t.Context(), i, token); found != want || !want && fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("%s: %t, %v", token, found, err)
		}
	}
}

// TestIntrospectionIsRemembered asks again when, and only when, an answer is old.
func TestIntrospectionIsRemembered(t *testing.T) {
	clock := registrytest.NewClock()
	i, q := newIntrospection(t, clock.Now, map[string]string{
		"long":  `{"active":true,"client_id":"acme"}`,
		"brief": fmt.Sprintf(`{"active":true,"client_id":"acme","exp":%d}`, clock.Now().Unix()+20),
	})
	ask := func(token string, kind fault.Kind, asked int) {
		t.Helper()
		_, found, err := identifyBearer(t.Context(), i, token)
		if found != (kind == 0) || fault.KindOf(err) != kind {
			t.Errorf("%s: %t, %v", token, found, err)
		}
		if q.count() != asked {
			t.Errorf("%s: asked %d times, want %d", token, q.count(), asked)
		}
	}
	ask("long", 0, 1)
	ask("brief", 0, 2)
	ask("unknown", fault.Unauthorized, 3)
	clock.Advance(inactiveFor - time.Millisecond)
	ask("unknown", fault.Unauthorized, 3)
	clock.Advance(time.Millisecond)
	ask("unknown", fault.Unauthorized, 4)
	clock.Advance(10*time.Second - time.Millisecond)
	ask("brief", 0, 4)
	clock.Advance(time.Millisecond)
	ask("brief", fault.Unauthorized, 4)
	clock.Advance(activeFor - 20*time.Second - time.Millisecond)
	ask("long", 0, 4)
	clock.Advance(time.Millisecond)
	ask("long", 0, 5)
}

// TestIntrospectionShares has many bring one token at once, of whom one gives up.
func TestIntrospectionShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, q := newIntrospection(t, time.Now, map[string]string{"secret": `{"active":true,"client_id":"acme"}`})
		q.slow = make(chan struct{})
		hasty, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // the first: its end is not that of the question
			if _, _, err := identifyBearer(hasty, i, "secret"); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("whoever gave up: %v", err)
			}
		})
		synctest.Wait()
		for range 100 {
			wg.Go(func() {
				if _, found, err := identifyBearer(t.Context(), i, "secret"); !found || err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(q.slow)
		wg.Wait()
		if q.count() != 1 {
			t.Errorf("asked %d times", q.count())
		}
	})
}

// TestIntrospectionFlood sends made-up tokens as fast as it can, by a clock that stands still.
func TestIntrospectionFlood(t *testing.T) {
	clock := registrytest.NewClock()
	i, q := newIntrospection(t, clock.Now, map[string]string{
		"warm": `{"active":true,"client_id":"acme"}`, "cold": `{"active":true,"client_id":"acme"}`,
	})
	identify := func(token string) error {
		_, _, err := identifyBearer(t.Context(), i, token)
		return err
	}
	if err := identify("warm"); err != nil {
		t.Fatal(err)
	}
	for second := range 3 {
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Go(func() {
				for n := range 20 {
					if kind := fault.KindOf(identify(fmt.Sprintf("%d-%d-%d", second, w, n))); kind != fault.Unauthorized && kind != fault.Exhausted {
						t.Errorf("a made-up token: kind %q", kind)
					}
				}
			})
		}
		wg.Wait()
		if want := 1 + vainPerSecond*(second+1); q.count() != want {
			t.Errorf("asked %d times, want %d", q.count(), want)
		}
		if err := identify("warm"); err != nil {
			t.Errorf("a token that is remembered: %v", err)
		}
		if err := identify("cold"); second == 0 && fault.KindOf(err) != fault.Exhausted {
			t.Errorf("a token that is not: %v", err)
		}
		clock.Advance(time.Second)
	}
	if err := identify("cold"); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

// TestIntrospectionFloodGoesOn sends made-up tokens for longer than an answer holds. A token in use is asked about anew all the same, and
// one that is revoked is a stranger from then on.
func TestIntrospectionFloodGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const good = `{"active":true,"client_id":"acme"}`
		i, q := newIntrospection(t, time.Now, map[string]string{"good": good, "revoked": good})
		identify := func(token string) error {
			_, _, err := identifyBearer(t.Context(), i, token)
			return err
		}
		for _, token := range []string{"good", "revoked"} {
			if err := identify(token); err != nil {
				t.Fatal(err)
			}
		}
		q.mu.Lock()
		delete(q.answers, "revoked")
		q.mu.Unlock()
		const step = 100 * time.Millisecond
		for n := range 3 * activeFor / step {
			before := q.count()
			for m := range 2 * vainPerSecond {
				if kind := fault.KindOf(identify(fmt.Sprint(int64(n), "-", m))); kind != fault.Unauthorized && kind != fault.Exhausted {
					t.Errorf("a made-up token: kind %q", kind)
				}
			}
			if kind := fault.KindOf(identify("cold")); kind != fault.Exhausted {
				t.Fatalf("after %v the flood is none: %q", n*step, kind)
			}
			if asked := q.count() - before; asked > vainPerSecond || n%10 != 0 && asked > 0 {
				t.Errorf("at %v the issuer was asked about %d unknown tokens", n*step, asked)
			}
			before = q.count()
			if err := identify("good"); err != nil {
				t.Fatalf("after %v of a flood a good token is refused: %v", n*step, err)
			}
			want := 0
			if n*step%activeFor == 0 && n > 0 {
				want = 1
			}
			if asked := q.count() - before; asked != want {
				t.Errorf("at %v the issuer was asked %d times about a good token, want %d", n*step, asked, want)
			}
			if err := identify("revoked"); n*step < activeFor && err != nil || n*step >= activeFor && n*step < activeFor+inactiveFor && fault.KindOf(err) != fault.Unauthorized ||
				n*step >= activeFor+inactiveFor && fault.KindOf(err) != fault.Exhausted {
				t.Fatalf("at %v a token that was revoked: %v", n*step, err)
			}
			time.Sleep(step) // of the bubble's clock
		}
	})
}

// TestIntrospectionKeepsTheirTurn has questions about unknown tokens take all that may be under way or wait: a token that was active is
// asked about beside them.
func TestIntrospectionKeepsTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, q := newIntrospection(t, time.Now, map[string]string{"good": `{"active":true,"client_id":"acme"}`})
		if _, _, err := identifyBearer(t.Context(), i, "good"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(activeFor) // of the bubble's clock
		hang := make(chan struct{})
		q.mu.Lock()
		q.slow = hang
		q.mu.Unlock()
		var wg sync.WaitGroup
		for n := range maxFlying {
			wg.Go(func() { _, _, _ = identifyBearer(t.Context(), i, fmt.Sprint(n)) })
		}
		synctest.Wait()
		q.mu.Lock()
		q.slow = nil
		q.mu.Unlock()
		if _, found, err := identifyBearer(t.Context(), i, "good"); !found || err != nil {
			t.Errorf("a token that was active: %v", err)
		}
		close(hang)
		wg.Wait()
	})
}

// TestIntrospectionDown breaks the issuer for a minute: callers that are remembered go on, others are told so.
func TestIntrospectionDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, q := newIntrospection(t, time.Now, map[string]string{"warm": `{"active":true,"client_id":"acme"}`, "cold": `{"active":true,"client_id":"acme"}`})
		identify := func(token string) error {
			_, _, err := identifyBearer(t.Context(), i, token)
			return err
		}
		if err := identify("warm"); err != nil {
			t.Fatal(err)
		}
		for second := range 60 {
			switch second % 3 { // it is down in three ways
			case 0:
				q.set(0, io.ErrUnexpectedEOF)
			case 1:
				q.set(http.StatusInternalServerError, nil)
			case 2:
				q.set(http.StatusUnauthorized, nil)
			}
			if err := identify("warm"); err != nil {
				t.Errorf("second %d, a caller that is remembered: %v", second, err)
			}
			before := q.count()
			for n := range 100 {
				if err := identify(fmt.Sprint("cold-", n)); fault.KindOf(err) != fault.Unavailable {
					t.Errorf("second %d, another: %v", second, err)
				}
			}
			if asked := q.count() - before; asked > vainPerSecond {
				t.Errorf("second %d: an issuer that is down was asked %d times", second, asked)
			}
			time.Sleep(time.Second) // of the bubble's clock
		}
		if err := identify("warm"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("after a minute: %v", err)
		}
		q.set(0, nil)
		time.Sleep(time.Second)
		for _, token := range []string{"warm", "cold"} {
			if err := identify(token); err != nil {
				t.Errorf("with the issuer up again, %s: %v", token, err)
			}
		}
	})
}

// TestIntrospectionHangs has an issuer that takes questions and answers none: those who wait are bounded in number and in time.
func TestIntrospectionHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, q := newIntrospection(t, time.Now, nil)
		q.slow = make(chan struct{})
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		kinds := map[fault.Kind]int{}
		for n := range maxFlying + 500 {
			wg.Go(func() {
				_, _, err := identifyBearer(t.Context(), i, fmt.Sprint(n))
				mu.Lock()
				defer mu.Unlock()
				kinds[fault.KindOf(err)]++
			})
			synctest.Wait()
		}
		if q.count() != maxQuestions {
			t.Errorf("%d questions at a time, want %d", q.count(), maxQuestions)
		}
		wg.Wait()
		if took := time.Since(began); took > issuerTime {
			t.Errorf("they waited %v", took)
		}
		if kinds[fault.Unavailable] != maxFlying || kinds[fault.Exhausted] != 500 {
			t.Errorf("the answers: %v", kinds)
		}
	})
}

// TestIntrospectionRequest looks at what goes over the wire, to a server that proves who it is and to one that does not.
func TestIntrospectionRequest(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/introspect?tenant=1" || id != "g%26w" || secret != "s+%2F%C3%A9" || r.FormValue("token") != "a+b/c" {
			t.Errorf("%s %s as %q with %q about %q", r.Method, r.URL, id, secret, r.FormValue("token"))
		}
		switch r.Header.Get("Accept") {
		case "application/json":
			_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "client_id": "acme"})
		default:
			t.Errorf("accepts %q", r.Header.Get("Accept"))
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell that it was not believed
	server.StartTLS()
	defer server.Close()
	o := introspectionOptions
	o.URL, o.ClientID, o.ClientSecret = server.URL+"/introspect?tenant=1", "g&w", "s /é"
	o.Roots = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, trusted := range []bool{true, false} {
		if !trusted {
			o.Roots = nil
		}
		i, err := NewIntrospection(o)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		caller, found, err := identifyBearer(t.Context(), i, "a+b/c")
		if found != trusted || trusted && caller.Application != "acme" || !trusted && fault.KindOf(err) != fault.Unavailable {
			t.Errorf("trusted %t: %+v, %v", trusted, caller, err)
		}
	}
}

// TestNoRedirects has an issuer send perdiem, with its secret, somewhere else.
func TestNoRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	o := introspectionOptions
	o.URL = server.URL
	i, err := NewIntrospection(o)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, _, err := identifyBearer(t.Context(), i, "a"); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	j := jwtOptions
	j.JWKS = server.URL
	source, err := NewJWT(j)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := identifyBearer(t.Context(), source, newECKey("ec").sign(header("ES256", "ec"), goodClaims(time.Now(), nil))); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}

func TestIntrospectionOptions(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*IntrospectionOptions)
		want   string // in the error; empty: none
	}{
		{"all", func(*IntrospectionOptions) {}, ""},
		{"http elsewhere", func(o *IntrospectionOptions) { o.URL = "http://issuer.example" }, "introspection.url"},
		{"no client", func(o *IntrospectionOptions) { o.ClientID = "" }, "introspection.client_id"},
		{"no secret", func(o *IntrospectionOptions) { o.ClientSecret = "" }, "introspection.client_secret"},
		{"one claim for both", func(o *IntrospectionOptions) { o.Member = o.Application }, "member"},
		{"a header that is none", func(o *IntrospectionOptions) { o.Header = "Authorization" }, "introspection.header"},
	} {
		o := introspectionOptions
		test.change(&o)
		_, err := NewIntrospection(o)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

package answer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// vector is a case of testdata/vectors.json: a decision, and the answer to it. The body, absent where the call is
// admitted, is compared member by member in order.
type vector struct {
	Name        string
	Headers     string
	At          time.Time
	Application string
	Member      string
	Endpoint    string
	Decision    struct {
		Refused     string
		Cost        int64
		Application allowance
		Member      *allowance
		Day         struct {
			Date, Zone string
			Start, End time.Time
		}
	}
	WantHeaders map[string]string
	WantBody    json.RawMessage
}

type allowance struct {
	Limit string
	Used  int64
}

func (a allowance) parse(t *testing.T) quota.Allowance {
	t.Helper()
	limit, err := quota.ParseLimit(a.Limit)
	if err != nil {
		t.Fatal(err)
	}
	return quota.Allowance{Limit: limit, Used: a.Used}
}

func (v *vector) decision(t *testing.T) *quota.Decision {
	t.Helper()
	in := v.Decision
	date, err := quota.ParseDate(in.Day.Date)
	if err != nil {
		t.Fatal(err)
	}
	d := &quota.Decision{
		Cost:        in.Cost,
		Application: in.Application.parse(t),
		Day:         quota.Day{Date: date, Start: in.Day.Start, End: in.Day.End, Zone: in.Day.Zone},
	}
	if in.Member != nil {
		d.HasMember, d.Member = true, in.Member.parse(t)
	}
	for _, k := range []quota.Kind{quota.None, quota.Application, quota.Member} {
		if k.String() == in.Refused {
			d.Refused = k
		}
	}
	if d.Refused.String() != in.Refused {
		t.Fatalf("unknown kind %q", in.Refused)
	}
	return d
}

func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var vectors []vector
	if err := decoder.Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			headers, err := answer.ParseHeaders(v.Headers)
			if err != nil {
				t.Fatal(err)
			}
			w, d, h := answer.Writer{Headers: headers}, v.decision(t), http.Header{}
			if d.Admitted() {
				w.Limits(h, d, v.At)
			} else {
				status, body := w.Refusal(h, []byte("kept"), answer.Refusal{
					Decision: d, Application: v.Application, Member: v.Member, Endpoint: v.Endpoint, At: v.At,
				})
				if status != http.StatusTooManyRequests {
					t.Errorf("status %d, want 429", status)
				}
				rest, ok := bytes.CutPrefix(body, []byte("kept"))
				if !ok {
					t.Fatalf("the slice handed in was overwritten: %q", body)
				}
				if diff := cmp.Diff(members(t, v.WantBody), members(t, rest)); diff != "" {
					t.Errorf("body (-want +got):\n%s", diff)
				}
			}
			got := map[string]string{}
			for name, values := range h {
				got[name] = strings.Join(values, "; and again ")
			}
			if diff := cmp.Diff(v.WantHeaders, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			checkStructured(t, h, d, v.At)
		})
	}
}

// members returns the tokens of a JSON document: its names and values in order.
func members(t *testing.T, data []byte) []json.Token {
	t.Helper()
	if !json.Valid(data) {
		t.Fatalf("not JSON: %s", data)
	}
	var tokens []json.Token
	for d := json.NewDecoder(bytes.NewReader(data)); d.More() || len(tokens) > 0 && d.InputOffset() < int64(len(bytes.TrimSpace(data))); {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	return tokens
}

// checkStructured reads the IETF headers with an independent parser and compares what they say with the decision.
func checkStructured(t interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}, h http.Header, d *quota.Decision, at time.Time,
) {
	t.Helper()
	type numbers struct{ quota, window, remaining, left int64 }
	got := map[string]numbers{}
	read := func(header, first, second string, keep func(n *numbers, first, second int64)) {
		values, ok := h[header]
		if !ok {
			return
		}
		list, err := httpsfv.UnmarshalList(values)
		if err != nil {
			t.Fatal(header, err)
		}
		for _, member := range list {
			item, ok := member.(httpsfv.Item)
			if !ok {
				t.Fatal(header, "has a list inside")
			}
			name := item.Value.(string) // the draft: a policy's name is a String
			a, _ := item.Params.Get(first)
			b, _ := item.Params.Get(second)
			if len(item.Params.Names()) != 2 {
				t.Errorf("%s has parameters %q, want %s and %s", header, item.Params.Names(), first, second)
			}
			n := got[name]
			keep(&n, a.(int64), b.(int64))
			got[name] = n
		}
	}
	read("RateLimit-Policy", "q", "w", func(n *numbers, q, w int64) { n.quota, n.window = q, w })
	read("RateLimit", "r", "t", func(n *numbers, r, t int64) { n.remaining, n.left = r, t })
	if len(got) == 0 {
		return
	}
	want := map[string]numbers{}
	add := func(name string, a quota.Allowance) {
		if a.Limit != quota.Unlimited {
			want[name] = numbers{int64(a.Limit), d.Day.Seconds(), a.Remaining(), d.Day.SecondsLeft(at)}
		}
	}
	add("application", d.Application)
	if d.HasMember {
		add("member", d.Member)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(numbers{})); diff != "" {
		t.Errorf("structured headers (-want +got):\n%s", diff)
	}
}

// TestStructuredHeaders draws decisions at random: whatever they are, the headers parse and say the same.
func TestStructuredHeaders(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.OneOf(rapid.Int64Range(1, 1000), rapid.Int64Range(1, int64(quota.MaxLimit)), rapid.Just(int64(quota.Unlimited)))
		used := rapid.Int64Range(0, 1<<53)
		d := &quota.Decision{
			Cost:        1,
			HasMember:   rapid.Bool().Draw(t, "has member"),
			Application: quota.Allowance{Limit: quota.Limit(limit.Draw(t, "limit")), Used: used.Draw(t, "used")},
			Day:         quota.Day{Start: start, End: start.Add(time.Duration(rapid.Int64Range(1, 50).Draw(t, "hours")) * time.Hour), Zone: "UTC"},
		}
		if d.HasMember {
			d.Member = quota.Allowance{Limit: quota.Limit(limit.Draw(t, "member's limit")), Used: used.Draw(t, "member's use")}
		}
		at := start.Add(time.Duration(rapid.Int64Range(0, int64(51*time.Hour)).Draw(t, "at")))
		h := http.Header{}
		answer.Writer{}.Limits(h, d, at)
		if len(h["RateLimit"]) != len(h["RateLimit-Policy"]) {
			t.Fatalf("one header without the other: %v", h)
		}
		checkStructured(t, h, d, at)
	})
}

func TestClear(t *testing.T) {
	upstream := func() http.Header {
		h := http.Header{}
		for _, name := range []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Other"} {
			h.Set(name, "upstream")
		}
		return h
	}
	for headers, left := range map[answer.Headers]int{answer.IETF: 4, answer.Legacy: 3, answer.None: 6} {
		h := upstream()
		answer.Writer{Headers: headers}.Clear(h)
		if len(h) != left {
			t.Errorf("%v leaves %v", headers, h)
		}
	}
}

func TestParseHeaders(t *testing.T) {
	for _, h := range []answer.Headers{answer.IETF, answer.Legacy, answer.None} {
		if got, err := answer.ParseHeaders(h.String()); err != nil || got != h {
			t.Errorf("ParseHeaders(%q) = %v, %v", h, got, err)
		}
	}
	for _, s := range []string{"", "IETF", "ietf ", "headers 3"} {
		if _, err := answer.ParseHeaders(s); err == nil || !strings.Contains(err.Error(), "ietf, legacy or none") {
			t.Errorf("ParseHeaders(%q): error %v does not say what is allowed", s, err)
		}
	}
}

func TestFault(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   string
		title  string
		detail string
	}{
		{fault.New(fault.Invalid, "The path has a backslash."), 400, "BAD_REQUEST", "Bad Request", "The path has a backslash."},
		{fault.New(fault.Unauthorized, "The token is expired."), 401, "UNAUTHORIZED", "Unauthorized", "The token is expired."},
		{fault.New(fault.Forbidden, `No access to "x".`), 403, "FORBIDDEN", "Forbidden", `No access to "x".`},
		{fault.New(fault.NotFound, "No such."), 404, "NOT_FOUND", "Not Found", "No such."},
		{fault.New(fault.Conflict, "Taken."), 409, "CONFLICT", "Conflict", "Taken."},
		{fault.Wrap(fault.Unavailable, errors.New("secret cause"), "The ledger is down."), 503, "SERVICE_UNAVAILABLE", "Service Unavailable", "The ledger is down."},
		{fault.Wrap(fault.Internal, errors.New("secret cause"), "secret too"), 500, "INTERNAL_SERVER_ERROR", "Internal Server Error", "An internal error occurred."},
		{errors.New("secret"), 500, "INTERNAL_SERVER_ERROR", "Internal Server Error", "An internal error occurred."},
	}
	for _, test := range tests {
		h := http.Header{}
		status, body := answer.Fault(h, nil, test.err)
		if status != test.status {
			t.Errorf("%v: status %d, want %d", test.err, status, test.status)
		}
		want := []json.Token{
			json.Delim('{'), "type", "about:blank", "title", test.title, "status", float64(test.status),
			"detail", test.detail, "code", test.code, "message", test.detail, json.Delim('}'),
		}
		if diff := cmp.Diff(want, members(t, body)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.err, diff)
		}
		if strings.Contains(string(body), "secret") {
			t.Errorf("the cause is shown: %s", body)
		}
		if h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%v: headers %v", test.err, h)
		}
		if challenged := h.Get("WWW-Authenticate") != ""; challenged != (status == 401) {
			t.Errorf("%v: WWW-Authenticate %q", test.err, h.Get("WWW-Authenticate"))
		}
	}
}

func TestProblemOfAnyStatus(t *testing.T) {
	for _, unknown := range []int{0, 200, 304, 499, 599, 1000} {
		if status, body := answer.Problem(http.Header{}, nil, unknown, "x"); status != 500 || !strings.Contains(string(body), "INTERNAL_SERVER_ERROR") {
			t.Errorf("%d: %d %s", unknown, status, body)
		}
	}
	for status, code := range map[int]string{
		405: "METHOD_NOT_ALLOWED", 502: "BAD_GATEWAY", 504: "GATEWAY_TIMEOUT", 406: "NOT_ACCEPTABLE", 413: "CONTENT_TOO_LARGE",
		415: "UNSUPPORTED_MEDIA_TYPE", 418: "I_M_A_TEAPOT", 422: "UNPROCESSABLE_ENTITY", 431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
		501: "NOT_IMPLEMENTED", 505: "HTTP_VERSION_NOT_SUPPORTED",
	} {
		if got, body := answer.Problem(http.Header{}, nil, status, "x"); got != status || !strings.Contains(string(body), `"code":"`+code+`"`) {
			t.Errorf("%d: %d %s", status, got, body)
		}
	}
}

func TestReduced(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		h := http.Header{}
		status, body := answer.Fault(h, nil, fault.New(fault.Exhausted, "at most ten a second"))
		if status != 429 {
			t.Fatalf("status %d", status)
		}
		text := "Too many requests. The service is protecting itself and will return to normal automatically."
		want := []json.Token{
			json.Delim('{'), "type", "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
			"title", "Temporarily reduced capacity", "status", float64(429), "detail", text,
			"code", "TOO_MANY_REQUESTS", "message", text, json.Delim('}'),
		}
		if diff := cmp.Diff(want, members(t, body)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		seconds, err := strconv.Atoi(h.Get("Retry-After"))
		if err != nil || seconds < 1 || seconds > 10 {
			t.Fatalf("Retry-After %q is not a few seconds", h.Get("Retry-After"))
		}
		seen[h.Get("Retry-After")] = true
		if len(h) != 3 {
			t.Fatalf("headers %v", h)
		}
	}
	if len(seen) < 2 {
		t.Errorf("Retry-After has no jitter: %v", seen)
	}
}

// TestSpelling checks that the names go over the wire in the draft's spelling, and once.
func TestSpelling(t *testing.T) {
	rec := httptest.NewRecorder()
	d := &quota.Decision{Application: quota.Allowance{Limit: 500, Used: 12}, Day: quota.Day{End: time.Unix(86400, 0)}}
	answer.Writer{}.Limits(rec.Header(), d, time.Unix(0, 0))
	answer.Writer{}.Limits(rec.Header(), d, time.Unix(0, 0))
	answer.Send(rec, http.StatusOK, []byte("body"))
	var wire bytes.Buffer
	if err := rec.Result().Write(&wire); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"\nRateLimit: ", "\nRateLimit-Policy: "} {
		if strings.Count(wire.String(), name) != 1 {
			t.Errorf("%q is not there once:\n%s", name, wire.String())
		}
	}
}

// FuzzNames hands hostile names to a refusal: the body stays one JSON object whose members say what they said.
func FuzzNames(f *testing.F) {
	f.Add("acme", "m-1", "posts.create")
	f.Add("\x00\x1f\x7f\u0085\u2028\xff\xc3\x28", "\"}\\", "</script>")
	f.Fuzz(func(t *testing.T, application, member, endpoint string) {
		d := &quota.Decision{
			Refused: quota.Member, Cost: 1, HasMember: true,
			Member: quota.Allowance{Limit: 1, Used: 1}, Application: quota.Allowance{Limit: quota.Unlimited},
			Day: quota.Day{End: time.Unix(86400, 0), Zone: "UTC"},
		}
		_, body := answer.Writer{}.Refusal(http.Header{}, nil, answer.Refusal{Decision: d, Application: application, Member: member, Endpoint: endpoint})
		var got struct{ Detail, Endpoint string }
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		valid := func(s string) string {
			return string([]rune(s)) // what is not UTF-8 becomes U+FFFD, byte by byte
		}
		if got.Endpoint != valid(endpoint) {
			t.Errorf("endpoint %q, want %q", got.Endpoint, valid(endpoint))
		}
		if !strings.Contains(got.Detail, valid(member)) || !strings.Contains(got.Detail, valid(application)) {
			t.Errorf("detail %q lacks %q or %q", got.Detail, valid(member), valid(application))
		}
		if bytes.ContainsAny(body[:len(body)-1], "\x00\n\r\x1b\x7f<>") {
			t.Errorf("control characters or tags: %q", body)
		}
	})
}

func BenchmarkLimits(b *testing.B) {
	d := &quota.Decision{
		Application: quota.Allowance{Limit: 100_000, Used: 12}, HasMember: true, Member: quota.Allowance{Limit: 150, Used: 3},
		Day: quota.Day{Start: time.Unix(0, 0), End: time.Unix(86400, 0), Zone: "UTC"},
	}
	h := http.Header{}
	for b.Loop() {
		answer.Writer{}.Limits(h, d, time.Unix(1000, 0))
	}
}

func BenchmarkRefusal(b *testing.B) {
	d := &quota.Decision{
		Refused: quota.Member, Cost: 1, Application: quota.Allowance{Limit: 100_000, Used: 12}, HasMember: true, Member: quota.Allowance{Limit: 150, Used: 150},
		Day: quota.Day{Start: time.Unix(0, 0), End: time.Unix(86400, 0), Zone: "UTC"},
	}
	body := make([]byte, 0, 1024)
	for b.Loop() {
		h := http.Header{}
		_, body = answer.Writer{}.Refusal(h, body[:0], answer.Refusal{Decision: d, Application: "acme", Member: "m-1", Endpoint: "posts.create", At: time.Unix(1000, 0)})
	}
}

// What a member has left is not told where it was not looked up.
func TestAMemberNotLookedUp(t *testing.T) {
	day := quota.Day{Date: 20780, Start: time.Unix(20780*86400, 0), End: time.Unix(20781*86400, 0), Zone: "UTC"}
	d := quota.Decision{
		Refused: quota.Application, Cost: 1, HasMember: true, MemberUnknown: true, Day: day,
		Application: quota.Allowance{Limit: 500, Used: 500}, Member: quota.Allowance{Limit: 50},
	}
	for headers, want := range map[string]map[string]string{
		"ietf":   {"RateLimit": `"application";r=0;t=86400`, "RateLimit-Policy": `"application";q=500;w=86400, "member";q=50;w=86400`},
		"legacy": {"X-RateLimit-Limit": "500", "X-RateLimit-Remaining": "0"},
	} {
		parsed, err := answer.ParseHeaders(headers)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		answer.Writer{Headers: parsed}.Limits(h, &d, day.Start)
		for name, value := range want {
			if got := h[name]; len(got) != 1 || got[0] != value {
				t.Errorf("%s: %s is %q, want %q", headers, name, got, value)
			}
		}
	}
}

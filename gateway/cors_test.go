package gateway_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/gateway"
)

func crossing(t testing.TB, o gateway.CORS, origins ...string) func(*setup) {
	t.Helper()
	for _, text := range origins {
		origin, err := gateway.ParseOrigin(text)
		must(t, err)
		o.Origins = append(o.Origins, origin)
	}
	return func(c *setup) { c.options.CORS = &o }
}

// corsHeaders returns what an answer tells a browser, several lines joined by "|".
func corsHeaders(h http.Header) map[string]string {
	told := map[string]string{}
	for name, values := range h {
		if name == "Vary" || strings.HasPrefix(name, "Access-Control-") {
			told[strings.TrimPrefix(name, "Access-Control-")] = strings.Join(values, "|")
		}
	}
	return told
}

func TestPreflight(t *testing.T) {
	const asks = "Access-Control-Request-Method: PUT"
	const question = "Access-Control-Request-Method, Access-Control-Request-Headers"
	plain := []string{"https://app.example", "http://localhost:3000", "https://*.wild.example", "https://PORT.example:443"}
	for _, test := range []struct {
		name    string
		cors    gateway.CORS
		origins []string
		sent    []string
		status  int
		want    map[string]string
	}{
		{"listed", gateway.CORS{MaxAge: time.Minute}, plain, []string{"Origin: https://app.example", asks, "Access-Control-Request-Headers: authorization, x-y"}, 204, map[string]string{
			"Allow-Origin": "https://app.example", "Allow-Methods": "PUT", "Allow-Headers": "authorization, x-y", "Max-Age": "60", "Vary": question + "|Origin",
			"Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"with a port", gateway.CORS{}, plain, []string{"Origin: http://localhost:3000", asks}, 204, map[string]string{
			"Allow-Origin": "http://localhost:3000", "Allow-Methods": "PUT", "Vary": question + "|Origin", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"with the scheme's own port", gateway.CORS{}, plain, []string{"Origin: https://port.example", asks}, 204, map[string]string{
			"Allow-Origin": "https://port.example", "Allow-Methods": "PUT", "Vary": question + "|Origin", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"below a name", gateway.CORS{}, plain, []string{"Origin: https://a.b.wild.example", asks}, 204, map[string]string{
			"Allow-Origin": "https://a.b.wild.example", "Allow-Methods": "PUT", "Vary": question + "|Origin", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"all that can be said", gateway.CORS{Credentials: true, Methods: []string{"GET", "PUT"}, Headers: []string{"Authorization"}, Expose: []string{"X-Sum"}}, plain, []string{"Origin: https://app.example", asks}, 204, map[string]string{
			"Allow-Origin": "https://app.example", "Allow-Methods": "GET, PUT", "Allow-Headers": "Authorization", "Allow-Credentials": "true", "Vary": question + "|Origin",
			"Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, X-Sum",
		}},
		{"any", gateway.CORS{}, []string{"*"}, []string{"Origin: null", asks}, 204, map[string]string{
			"Allow-Origin": "*", "Allow-Methods": "PUT", "Vary": question, "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"not listed", gateway.CORS{}, plain, []string{"Origin: https://evil.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"another scheme", gateway.CORS{}, plain, []string{"Origin: http://app.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"another port", gateway.CORS{}, plain, []string{"Origin: http://localhost:3001", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"the name above", gateway.CORS{}, plain, []string{"Origin: https://wild.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"a name that ends alike", gateway.CORS{}, plain, []string{"Origin: https://evilwild.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"more than a host", gateway.CORS{}, plain, []string{"Origin: https://evil.example/.wild.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"null", gateway.CORS{}, plain, []string{"Origin: null", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"two origins", gateway.CORS{}, plain, []string{"Origin: https://app.example", "Origin: https://app.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"no method", gateway.CORS{}, []string{"*"}, []string{"Origin: a", "Access-Control-Request-Method: P T"}, 400, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"no header", gateway.CORS{}, []string{"*"}, []string{"Origin: a", asks, "Access-Control-Request-Headers: a, b:c"}, 400, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"too many headers", gateway.CORS{}, []string{"*"}, []string{"Origin: a", asks, "Access-Control-Request-Headers: " + strings.Repeat("a, ", 4000)}, 400, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, crossing(t, test.cors, test.origins...))
			w := s.dial()
			w.send("OPTIONS /rest/posts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + strings.Join(test.sent, "\r\n") + "\r\n\r\n") // without a credential
			got := w.reply()
			if got.StatusCode != test.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if diff := cmp.Diff(test.want, corsHeaders(got.Header)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if s.upstream.count() != 0 {
				t.Error("it reached the upstream")
			}
			o := s.observation(1)
			if want := map[int]gateway.Outcome{204: gateway.Preflight}[test.status]; o.Outcome != want || o.Status != test.status || o.Endpoint != "" {
				t.Errorf("observed %+v", o)
			}
		})
	}
}

// TestCORSAnswers shows what browsers are told with answers, the gateway's own and the upstream's.
func TestCORSAnswers(t *testing.T) {
	says := func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		maps.Copy(h, http.Header{
			"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Expose-Headers": {"X-Own"}, "Vary": {"Accept-Encoding"},
		})
		if r.URL.Path == "/vary" {
			h["Vary"] = []string{"accept, ORIGIN"}
		}
	}
	const exposed = "RateLimit, RateLimit-Policy, Retry-After"
	mine := map[string]string{"Allow-Origin": "https://app.example", "Expose-Headers": exposed, "Vary": "Origin"}
	for _, test := range []struct {
		name    string
		headers answer.Headers
		origins []string
		request string
		status  int
		want    map[string]string
	}{
		{"no credential", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|Origin: https://app.example", 401, mine},
		{"refused", answer.IETF, []string{"https://app.example"}, "POST /limited HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 429, mine},
		{"refused, legacy", answer.Legacy, []string{"https://app.example"}, "POST /limited HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 429, map[string]string{
			"Allow-Origin": "https://app.example", "Expose-Headers": exposed + ", X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset", "Vary": "Origin",
		}},
		{"no access", answer.IETF, []string{"https://app.example"}, "GET /closed HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 403, mine},
		{"usage", answer.IETF, []string{"https://app.example"}, "GET /perdiem/usage HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, mine},
		{"not listed", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|Origin: https://evil.example", 401, map[string]string{"Vary": "Origin"}},
		{"no origin", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1", 401, map[string]string{"Vary": "Origin"}},
		{"any", answer.IETF, []string{"*"}, "GET / HTTP/1.1", 401, map[string]string{"Allow-Origin": "*", "Expose-Headers": exposed}},
		{"the upstream's", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, map[string]string{
			"Allow-Origin": "https://app.example", "Expose-Headers": exposed + "|X-Own", "Vary": "Origin|Accept-Encoding",
		}},
		{"the upstream's, which varies", answer.IETF, []string{"https://app.example"}, "GET /vary HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, map[string]string{
			"Allow-Origin": "https://app.example", "Expose-Headers": exposed + "|X-Own", "Vary": "accept, ORIGIN",
		}},
		{"the upstream's, not listed", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|X-App-Id: acme|Origin: https://evil.example", 200, map[string]string{
			"Vary": "Origin|Accept-Encoding",
		}},
		{"the upstream's, any", answer.IETF, []string{"*"}, "GET / HTTP/1.1|X-App-Id: acme|Origin: https://evil.example", 200, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": exposed + "|X-Own", "Vary": "Accept-Encoding",
		}},
		{"OPTIONS that is no preflight", answer.IETF, []string{"*"}, "OPTIONS / HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": exposed + "|X-Own", "Vary": "Accept-Encoding",
		}},
		{"without CORS", answer.IETF, nil, "OPTIONS / HTTP/1.1|X-App-Id: acme|Origin: https://app.example|Access-Control-Request-Method: PUT", 200, map[string]string{
			"Allow-Origin": "*", "Allow-Credentials": "true", "Expose-Headers": "X-Own", "Vary": "Accept-Encoding",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := []func(*setup){styled(test.headers), handled(says), func(c *setup) {
				c.catalog = strings.Replace(c.catalog, "endpoints:\n", "endpoints:\n  - {id: limited, match: POST /limited, application: 1}\n", 1)
			}}
			if test.origins != nil {
				change = append(change, crossing(t, gateway.CORS{}, test.origins...))
			}
			s := start(t, change...)
			s.do("POST", "/limited", "")
			w := s.dial()
			w.send(strings.ReplaceAll(test.request, "|", "\r\n") + "\r\nHost: a\r\nConnection: close\r\n\r\n")
			got := w.reply()
			if got.StatusCode != test.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if diff := cmp.Diff(test.want, corsHeaders(got.Header)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if u := s.used("*"); test.status == 200 && !strings.Contains(test.request, "usage") && u.Used != 1 {
				t.Errorf("used %+v", u)
			}
		})
	}
}

func TestParseOrigin(t *testing.T) {
	for _, text := range []string{
		"", "null", "app.example", "https://", "https://app.example/", "https://app.example/x", "https://u@app.example", "https://app.example?q", "https://a b",
		"https://*", "https://*.*.x", "https://a*.example", "1http://a", "https://a:0", "https://*.127.0.0.1", "://a", "**",
	} {
		if _, err := gateway.ParseOrigin(text); err == nil {
			t.Errorf("%q is taken for an origin", text)
		}
	}
	for _, text := range []string{"*", "https://app.example", "http://[::1]:3000", "capacitor://localhost", "https://*.example.com:8443"} {
		if _, err := gateway.ParseOrigin(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

package main

import (
	"errors"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/notify"
	"github.com/perdiem/perdiem/quota"
)

var environment = map[string]string{
	"PORT": "9001", "DAYS": "30", "WAIT": "5s", "EMPTY": "", "HEADERS": "none", "UPSTREAM": "http://api.internal",
}

func getenv(name string) (string, bool) {
	value, set := environment[name]
	return value, set
}

func dayRule(t *testing.T, zone, starts string) quota.DayRule {
	t.Helper()
	rule, err := quota.NewDayRule(zone, starts)
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

var compareConfigs = cmp.Options{
	cmp.Comparer(func(a, b quota.DayRule) bool { return a.Zone() == b.Zone() && a.Starts() == b.Starts() }),
	cmpopts.EquateComparable(netip.Prefix{}, gateway.Host{}, gateway.Origin{}),
	cmpopts.IgnoreFields(config{}, "Places"),
}

func TestConfigDefaults(t *testing.T) {
	want := &config{
		File:   "conf/perdiem.yaml",
		Portal: "127.0.0.1:8081", Admin: "127.0.0.1:8082", Ops: "127.0.0.1:9090",
		UpstreamTimeout: time.Minute, Protection: protectionConfig{Least: 1, Most: 10_000, Tolerance: 500 * time.Millisecond}, Data: "conf/data", RetentionDays: 8, HistoryDays: 400, OperatorKeyFile: "conf/data/operator.key",
		CatalogNamed: yamldoc.Problem{File: "conf/perdiem.yaml"},
		Day:          dayRule(t, "UTC", "00:00"), UsageForMembers: true,
		Identity: identityConfig{Sources: []sourceConfig{{}}, UnknownTierNamed: yamldoc.Problem{File: "conf/perdiem.yaml"}},
		Edge:     edgeConfig{Timeouts: gateway.DefaultTimeouts(), Connections: gateway.DefaultConnections()},
	}
	for _, text := range []string{"", "# nothing\n", "{}"} {
		got, err := parseConfig("conf/perdiem.yaml", []byte(text), getenv)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
	}
}

// wholeConfig has every key that can be used, with values other than the defaults.
const wholeConfig = `
listen: {gateway: "0.0.0.0:${PORT}", portal: ":0", admin: "[::1]:8082", ops: localhost:9090}
upstream: ${UPSTREAM}/v2
upstream_timeout: ${WAIT}
protection: {min_concurrency: 2, max_concurrency: 9001, tolerance: "${WAIT}"}
data: /var/lib/perdiem
durability: process
retention_days: ${DAYS}
catalog: catalogs/../catalog.yaml
operator_key_file: operator.key
day: {zone: Europe/Berlin, starts: "06:30:15"}
headers: ${HEADERS}
when_ledger_is_down: admit
paths: {trailing_slash: strict, parameters: keep, case: insensitive, encoded_slash: pass}
unknown_applications: {tier: development}
method_override: true
usage: application
portal_url: https://developers.example/portal
tls:
  gateway: {cert: api.pem, key: keys/api.key}
  admin: {cert: /etc/ssl/admin.pem, key: "admin-${PORT}.key"}
trusted_proxies: [10.1.2.3/8, "::1"]
hosts: [API.example.com, "*.example.com:8443"]
cors: {origins: ["https://app.example", "http://localhost:${PORT}"], methods: [GET], headers: [Authorization], expose: [X-Sum], credentials: true, max_age: 1m}
timeouts: {headers: 5s, body: 30s, body_rate: 1000, answer: 20s, idle: 1m}
connections: {total: 500, per_address: 20}
history_days: ${DAYS}
alerts: {webhooks_may_reach: [10.1.2.3/16]}
portal_contact: API@example.com
gateway_url: https://api.example
oidc: {issuer: "https://id.example/realm", client_id: portal, client_secret: "${WAIT}", label: Example ID, scopes: [groups, profile], groups_claim: roles, operator_group: operators}
smtp: {host: mail.example, port: 2525, tls: opportunistic, user: gw, password: "${WAIT}", from: perdiem@mail.example}
identity:
  - headers: {application: X-App-Id, member: X-Member-Id, from: [127.0.0.1/8, "::1", "::ffff:10.0.0.1"]}
  - tokens: {header: x-api-key}
  - jwt: {jwks: "https://issuer.example/jwks?p=1", issuer: "https://issuer.example/", audience: api, application: azp, member: oid}
  - jwt: {jwks: "http://localhost:1/jwks", issuer: i, audience: a}
  - introspection: {url: "http://[::1]:1/introspect", client_id: gw, client_secret: "${WAIT}", audience: api, application: app, member: user}
`

// TestConfigWhole reads every key that can be used, with values other than the defaults.
func TestConfigWhole(t *testing.T) {
	got, err := parseConfig("/etc/perdiem/perdiem.yaml", []byte(wholeConfig), getenv)
	if err != nil {
		t.Fatal(err)
	}
	want := &config{
		File:    "/etc/perdiem/perdiem.yaml",
		Gateway: "0.0.0.0:9001", Portal: ":0", Admin: "[::1]:8082", Ops: "localhost:9090",
		Upstream:        &url.URL{Scheme: "http", Host: "api.internal", Path: "/v2"},
		UpstreamTimeout: 5 * time.Second,
		Protection:      protectionConfig{Least: 2, Most: 9001, Tolerance: 5 * time.Second},
		Data:            "/var/lib/perdiem", Durability: embedledger.Process, RetentionDays: 30, HistoryDays: 30, Alerts: alertsConfig{WebhooksMayReach: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		GatewayURL:    &url.URL{Scheme: "https", Host: "api.example"},
		PortalContact: &url.URL{Scheme: "mailto", Opaque: "api@example.com"},
		OIDC: &identity.OIDCOptions{
			Issuer: "https://id.example/realm", ClientID: "portal", ClientSecret: "5s", Label: "Example ID", Scopes: []string{"groups", "profile"}, GroupsClaim: "roles", OperatorGroup: "operators",
		},
		SMTP:    &notify.MailOptions{Host: "mail.example", Port: 2525, Encryption: notify.Opportunistic, User: "gw", Password: "5s", From: "perdiem@mail.example"},
		Catalog: "/etc/perdiem/catalog.yaml", CatalogNamed: yamldoc.Problem{File: "/etc/perdiem/perdiem.yaml", Line: 9, Column: 10}, OperatorKeyFile: "/etc/perdiem/operator.key",
		Day: dayRule(t, "Europe/Berlin", "06:30:15"), Headers: answer.None, AdmitWhenDown: true,
		Paths:          catalog.PathPolicy{StrictSlash: true, Parameters: catalog.KeepParameters, IgnoreCase: true, PassEncodedSlash: true},
		MethodOverride: true,
		Identity: identityConfig{TokenHeader: "x-api-key", UnknownTier: "development", UnknownTierNamed: yamldoc.Problem{File: "/etc/perdiem/perdiem.yaml", Line: 15, Column: 30}, Sources: []sourceConfig{
			{Headers: &identity.HeaderOptions{Application: "X-App-Id", Member: "X-Member-Id", From: []netip.Prefix{
				netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.1/32"),
			}}},
			{},
			{JWT: &identity.JWTOptions{JWKS: "https://issuer.example/jwks?p=1", Issuer: "https://issuer.example/", Audience: "api", Application: "azp", Member: "oid"}},
			{JWT: &identity.JWTOptions{JWKS: "http://localhost:1/jwks", Issuer: "i", Audience: "a", Application: "client_id", Member: "sub"}},
			{Introspection: &identity.IntrospectionOptions{URL: "http://[::1]:1/introspect", ClientID: "gw", ClientSecret: "5s", Audience: "api", Application: "app", Member: "user"}},
		}},
		PortalURL: &url.URL{Scheme: "https", Host: "developers.example", Path: "/portal"},
		Edge: edgeConfig{
			TLS: map[string]pairConfig{
				"gateway": {
					Files:     keypair.Files{Certificate: "/etc/perdiem/api.pem", Key: "/etc/perdiem/keys/api.key"},
					CertNamed: yamldoc.Problem{Line: 20, Column: 19}, KeyNamed: yamldoc.Problem{Line: 20, Column: 33},
				},
				"admin": {
					Files:     keypair.Files{Certificate: "/etc/ssl/admin.pem", Key: "/etc/perdiem/admin-9001.key"},
					CertNamed: yamldoc.Problem{Line: 21, Column: 17}, KeyNamed: yamldoc.Problem{Line: 21, Column: 42},
				},
			},
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			Hosts:          []gateway.Host{host(t, "api.example.com"), host(t, "*.example.com:8443")},
			CORS: &gateway.CORS{
				Origins: []gateway.Origin{origin(t, "https://app.example"), origin(t, "http://localhost:9001")},
				Methods: []string{"GET"}, Headers: []string{"Authorization"}, Expose: []string{"X-Sum"}, Credentials: true, MaxAge: time.Minute,
			},
			Timeouts:    gateway.Timeouts{Headers: 5 * time.Second, Body: 30 * time.Second, BodyRate: 1000, Answer: 20 * time.Second, Idle: time.Minute},
			Connections: gateway.Connections{Total: 500, PerAddress: 20},
		},
	}
	if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func host(t *testing.T, text string) gateway.Host {
	t.Helper()
	h, err := gateway.ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func origin(t *testing.T, text string) gateway.Origin {
	t.Helper()
	o, err := gateway.ParseOrigin(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestConfigProblems(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string // without the file's name
	}{
		{"a list", "- 1", []string{"1:1: must be a mapping, not a list"}},
		{"a text", "hello", []string{"1:1: must be a mapping, not hello"}},
		{"broken", "listen: {", []string{`1:9: not YAML: could not find flow mapping end token '}'`}},
		{"an unknown key", "upstrem: http://x", []string{`1:1: unknown key "upstrem"; did you mean upstream?`}},
		{"a key twice", "data: a\ndata: b", []string{`2:1: key "data" comes twice; the first is in line 1`}},
		{"an alias", "data: &a x\ncatalog: *a", []string{"1:7: anchors are not supported; write the value out", "2:10: aliases are not supported; write the value out, or put a text that begins with * in quotes"}},

		{"addresses", "listen:\n  gateway: 8080\n  admin: nowhere\n  ops: 127.0.0.1:65536\n  portal: ''\nupstream: http://x", []string{
			`2:12: gateway: must be a text; write it in quotes: "8080"`,
			"3:10: admin: must be an address as HOST:PORT; port 0 picks a free one, not nowhere",
			"4:8: ops: must be an address as HOST:PORT; port 0 picks a free one, not 127.0.0.1:65536",
			"5:11: portal: must not be empty",
		}},
		{"an address twice", `listen: {admin: "127.0.0.1:1", ops: "127.0.0.1:1"}`, []string{"1:37: ops: 127.0.0.1:1 is the address of admin already"}},
		{"an address within another", `listen: {admin: "0.0.0.0:1", ops: "127.0.0.1:1", portal: "127.0.0.2:2"}`, []string{"1:35: ops: 127.0.0.1:1 is the address of admin already"}},
		{"an address that is all", `listen: {admin: "127.0.0.1:1", ops: ":1"}`, []string{"1:37: ops: :1 is the address of admin already"}},
		{"a port left free twice", `listen: {admin: "127.0.0.1:0", ops: "127.0.0.1:0"}`, nil},
		{"a gateway without upstream", `listen: {gateway: ":1"}`, []string{"1:10: a gateway needs an upstream; say at the top where admitted requests go, such as upstream: http://127.0.0.1:9000"}},
		{"a gateway's URL of another kind", "gateway_url: api.example", []string{"1:14: gateway_url: must be http://HOST:PORT or https://HOST, perhaps with a path, not api.example"}},
		{"a gateway's URL with a query", "gateway_url: https://api.example?key=1", []string{"1:14: gateway_url: only a scheme, a host and a path may be told"}},
		{"a gateway's URL with a user", "gateway_url: https://ann@api.example", []string{"1:14: gateway_url: only a scheme, a host and a path may be told"}},
		{"upstream of another kind", "upstream: ftp://x", []string{"1:11: upstream: must be http://HOST:PORT, https://HOST or h2c://HOST:PORT, perhaps with a path, not ftp://x"}},
		{"upstream without host", "upstream: http:///x", []string{"1:11: upstream: must be http://HOST:PORT, https://HOST or h2c://HOST:PORT, perhaps with a path, not http:///x"}},
		{"upstream with a password", "upstream: http://u:p@x", []string{"1:11: upstream: only a scheme, a host and a path may be told"}},
		{"upstream with a query", "upstream: http://x/?", []string{"1:11: upstream: only a scheme, a host and a path may be told"}},
		{"times", "upstream_timeout: 60", []string{"1:19: upstream_timeout: must be a duration such as 1m30s, at least 1ns, not 60"}},
		{"no time", "upstream_timeout: 0s", []string{"1:19: upstream_timeout: must be a duration of more than 0, such as 1m30s, not 0s"}},
		{"choices", "durability: paper\nheaders: none \nwhen_ledger_is_down: pass\nusage: member", []string{
			"1:13: durability: must be disk or process, not paper",
			"3:22: when_ledger_is_down: must be refuse or admit, not pass",
			"4:8: usage: must be application, not member",
		}},
		{"a choice that is a list", "headers: [ietf]", []string{"1:10: headers: must be ietf or legacy or none, not a list"}},
		{"no protection", "protection: off", nil},
		{"protection", "protection: on", nil},
		{"protection of another kind", "protection: perhaps", []string{"1:13: protection: must be on or off, not perhaps"}},
		{"bounds of protection", "protection: {min_concurrency: 0, max_concurrency: 1000001, tolerance: 0s, queue: 1}", []string{
			"1:31: min_concurrency: must be a whole number from 1 to 1000000, not 0",
			"1:51: max_concurrency: must be a whole number from 1 to 1000000, not 1000001",
			"1:71: tolerance: must be a duration of more than 0, such as 1m30s, not 0s",
			`1:75: unknown key "queue"; known here: max_concurrency, min_concurrency, tolerance`,
		}},
		{"bounds of protection that cross", "protection: {min_concurrency: 20, max_concurrency: 10}", []string{
			"1:13: protection: min_concurrency is 20, which is more than max_concurrency, 10",
		}},
		{"retention", "retention_days: 0", []string{"1:17: retention_days: must be a whole number from 1 to 36500, not 0"}},
		{"history", "history_days: 36501", []string{"1:15: history_days: must be a whole number from 1 to 36500, not 36501"}},
		{"webhooks that may reach nothing", "alerts: {webhooks_may_reach: []}", []string{"1:30: webhooks_may_reach: allows nothing; leave it out to allow the public internet alone"}},
		{"an issuer without more", "oidc: {issuer: 'https://id.example'}", []string{"1:7: client_id is missing", "1:7: client_secret is missing"}},
		{"an issuer anybody can be", "oidc: {issuer: 'http://id.example', client_id: a, client_secret: b}", []string{"1:16: issuer: must begin with https: over http anybody in between could make callers up (http is for this machine alone, such as http://127.0.0.1:9000)"}},
		{"two scopes as one", "oidc: {issuer: 'https://id.example', client_id: a, client_secret: b, scopes: [a b]}", []string{"1:79: scopes[0]: must be one scope: printable ASCII without space, quote and backslash"}},
		{"a button too wide", "oidc: {issuer: 'https://id.example', client_id: a, client_secret: b, label: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}", []string{"1:77: label: must be at most 64 bytes"}},
		{"a mail server without a host", "smtp: {from: a@b.example}", []string{"1:7: host is missing"}},
		{"mail from a person", "smtp: {host: h, from: A <a@b.example>}", []string{"1:23: from: must be an address such as perdiem@host.example, not \"A <a@b.example>\""}},
		{"a user without a password", "smtp: {host: h, from: a@b.example, user: u}", []string{"1:7: smtp: user and password belong together: give both or neither"}},
		{"a password for everybody", "smtp: {host: h, from: a@b.example, user: u, password: p, tls: none}", []string{"1:7: smtp: tls: none would send the password for everybody to read; leave user and password out, or tls"}},
		{"retention in words", "retention_days: ${UPSTREAM}", []string{"1:17: retention_days: must be a whole number from 1 to 36500, not ${UPSTREAM}"}},
		{"day", "day: {zone: Local, starts: 24:00}", []string{
			"1:13: zone: must be the name of an IANA zone such as UTC or Europe/Berlin, not Local",
			`1:28: starts: must be a time of day as "HH:MM" or "HH:MM:SS", not 24:00`,
		}},
		{"a zone that is a path", "day: {zone: ../../etc/passwd}", []string{"1:13: zone: must be the name of an IANA zone such as UTC or Europe/Berlin, not ../../etc/passwd"}},
		{"a number for a path", "data: 1", []string{`1:7: data: must be a text; write it in quotes: "1"`}},

		{"a variable that is not set", "data: ${NOWHERE}", []string{"1:7: data: the environment has no variable NOWHERE"}},
		{"a variable that is empty", "data: ${EMPTY}", []string{"1:7: data: must not be empty"}},
		{"a variable that is not closed", "data: ${EMPTY", []string{"1:7: data: write a variable of the environment as ${NAME}"}},
		{"a variable without a name", "data: ${}", []string{"1:7: data: write a variable of the environment as ${NAME}"}},

		{"not built yet", "tls: {check: {}, rls: {}}\n\n\ncluster: {registry: x}\nlisten: {rls: x, check: x}", []string{
			"1:7: tls.check is not built yet; leave it out",
			"1:18: tls.rls is not built yet; leave it out",
			"4:1: cluster is not built yet; leave it out",
			"5:10: listen.rls is not built yet; leave it out",
			"5:18: listen.check is not built yet; leave it out",
		}},
		{"paths", "paths:\n  trailing_slash: exact\n  parameters: drop\n  case: true\n  encoded_slash: [pass]\n  slashes: merge\nmethod_override: GET", []string{
			"2:19: trailing_slash: must be ignore or strict, not exact",
			"3:15: parameters: must be ignore or keep or reject, not drop",
			"4:9: case: must be sensitive or insensitive, not true",
			"5:18: encoded_slash: must be reject or pass, not a list",
			`6:3: unknown key "slashes"; known here: case, encoded_slash, parameters, trailing_slash`,
			"7:18: method_override: must be true or false, not GET",
		}},
		{"paths as they are", "paths: {trailing_slash: ignore, parameters: reject, case: sensitive, encoded_slash: reject}\nmethod_override: false", nil},
		{"the address of a listener that is not named", "upstream: http://x\nlisten: {gateway: 127.0.0.1:8082, ops: \"127.0.0.1:0\"}", []string{
			"2:1: 127.0.0.1:8082, the address of gateway, is that of admin unless told; give one of them another",
		}},
		{"unknown applications", "unknown_applications: admit", []string{"1:23: unknown_applications: must be refuse, not admit"}},

		{"a path with a doubled slash", "upstream: http://x//y", []string{"1:11: upstream: the path must not have a doubled slash"}},
		{"certificates", "tls:\n  gateway: {}\n  admin: {cert: 1, key: [x]}\n  ops: ops.pem\n  other: {}", []string{
			"2:12: cert is missing", "2:12: key is missing",
			`3:17: cert: must be a text; write it in quotes: "1"`, "3:25: key: must be a text, not a list",
			"4:8: ops: must be a mapping, not ops.pem",
			`5:3: unknown key "other"; known here: admin, check, gateway, ops, portal, rls`,
		}},
		{"proxies", "trusted_proxies: [everybody]", []string{"1:19: trusted_proxies[0]: must be a range of addresses such as 10.0.0.0/8, not everybody"}},
		{"no proxies", "trusted_proxies: []", []string{"1:18: trusted_proxies: names nobody; leave it out to believe nobody"}},
		{"proxies that are no list", "trusted_proxies: 10.0.0.0/8", []string{"1:18: trusted_proxies: must be a list, not 10.0.0.0/8"}},
		{"hosts", "hosts: [https://a, a b, \"*\"]", []string{
			"1:9: hosts[0]: must be the name of a host, perhaps with a port, such as api.example.com or *.example.com, not https://a",
			`1:20: hosts[1]: must be the name of a host, perhaps with a port, such as api.example.com or *.example.com, not "a b"`,
			"1:25: hosts[2]: must be the name of a host, perhaps with a port, such as api.example.com or *.example.com, not *",
		}},
		{"no hosts", "hosts: []", []string{"1:8: hosts: names no host; leave it out to answer for any"}},
		{"too many hosts", "hosts: [" + strings.Repeat("a, ", 10_000) + "a]", []string{"1:8: hosts: has 10001 items; at most 10000 are read"}},
		{"origins", "cors: {origins: [\"https://app.example/\", app.example], methods: [\"*\"], headers: [], expose: [a b], max_age: 1500ms}", []string{
			"1:18: origins[0]: must have the name of a host after its scheme, such as https://app.example or https://*.example.com, not https://app.example/",
			"1:42: origins[1]: must be an origin as browsers send it, such as https://app.example or http://localhost:3000, without a path; or *, not app.example",
			"1:66: methods[0]: must be the name of a method, not the text \"*\"",
			"1:81: headers: names no header; leave it out to allow any",
			`1:94: expose[0]: must be the name of a header, not "a b"`,
			"1:109: max_age: must be whole seconds",
		}},
		{"no origins", "cors: {}", []string{"1:7: origins is missing"}},
		{"cookies for anybody", "cors: {origins: [\"*\"], credentials: true}", []string{"1:24: credentials need a list of origins: with * any web site could act in a user's name"}},
		{"times of clients", "timeouts: {headers: 0s, body: soon, body_rate: 0, write: 1s}", []string{
			"1:21: headers: must be a duration of more than 0, such as 1m30s, not 0s",
			"1:31: body: must be a duration of more than 0, such as 1m30s, not soon",
			"1:48: body_rate: must be a whole number from 1 to 1000000000, not 0",
			`1:51: unknown key "write"; known here: answer, body, body_rate, headers, idle`,
		}},
		{"connections of clients", "connections: {total: 0, per_address: many}", []string{
			"1:22: total: must be a whole number from 1 to 1000000, not 0",
			"1:38: per_address: must be a whole number from 1 to 1000000, not many",
		}},

		{"nobody identifies", "identity: []", []string{"1:11: identity: names no source; without one nobody is let in"}},
		{"nobody identifies, beside another problem", "identity: []\ncluster: {}", []string{
			"1:11: identity: names no source; without one nobody is let in",
			"2:1: cluster is not built yet; leave it out",
		}},
		{"an empty source", "identity: [{}]", []string{"1:12: identity[0]: names no source; without one nobody is let in"}},
		{"issuers of whom nothing is told", "identity:\n  - jwt: {}\n  - introspection: {}\n  - tokens: {header: Authorization}", []string{
			"2:10: jwks is missing",
			"2:10: issuer is missing",
			"2:10: audience is missing",
			"3:20: url is missing",
			"3:20: client_id is missing",
			"3:20: client_secret is missing",
			"4:22: header: must be the name of a header, and not Authorization, not Authorization",
		}},
		{"an issuer over the open net", "identity:\n  - jwt: {jwks: \"http://issuer.example/jwks\", issuer: a, audience: b, application: sub}", []string{
			"2:17: jwks: must begin with https: over http anybody in between could make callers up (http is for this machine alone, such as http://127.0.0.1:9000)",
			"2:10: jwt: application and member must be two claims",
		}},
		{"a secret that is not there", "identity:\n  - introspection: {url: \"https://a/b\", client_id: a, client_secret: \"file:no/such\"}", []string{
			"2:70: client_secret: the secret cannot be read: stat no/such: no such file or directory",
		}},
		{"unknown applications of no tier", "unknown_applications: {}", []string{
			"1:23: tier is missing",
		}},
		{"two sources in one item", "identity: [{tokens: {}, headers: {application: A, from: [\"::1\"]}}]", []string{"1:12: identity[0]: an item holds one source; begin each with a dash"}},
		{"tokens twice", "identity: [{tokens: {}}, {tokens: {}}]", []string{"1:27: tokens are a source already; leave this one out"}},
		{"an unknown source", "identity: [{token: {}}]", []string{`1:13: unknown key "token"; did you mean tokens?`}},
		{"headers of nobody", "identity: [{headers: {}}]", []string{"1:22: application is missing", "1:22: from is missing"}},
		{"headers that are none", "identity: [{headers: {application: X App, member: authorization, from: []}}]", []string{
			`1:36: application: must be the name of a header, and not Authorization, not "X App"`,
			"1:51: member: must be the name of a header, and not Authorization, not authorization",
			"1:72: from: names nobody; write the addresses that are believed, such as 127.0.0.0/8",
		}},
		{"headers that are dropped", "identity:\n  - tokens: {header: x_perdiem_key}\n  - headers: {application: X-Forwarded-User, member: X-Real-IP, from: [\"::1\"]}", []string{
			"2:22: header: x_perdiem_key identifies nobody: perdiem drops what comes under it, from proxies as well; name another header",
			"3:28: application: X-Forwarded-User identifies nobody: perdiem drops what comes under it, from proxies as well; name another header",
			"3:54: member: X-Real-IP identifies nobody: perdiem drops what comes under it, from proxies as well; name another header",
		}},
		{"one header for both", `identity: [{headers: {application: X-Id, member: x_id, from: ["::1"]}}]`, []string{"1:22: headers: application and member must be two headers"}},
		{"addresses that are none", "identity: [{headers: {application: A, from: [everybody, 10.0.0.0/33, 1]}}]", []string{
			"1:46: from[0]: must be a range of addresses such as 10.0.0.0/8, not everybody",
			"1:57: from[1]: must be a range of addresses such as 10.0.0.0/8, not 10.0.0.0/33",
			`1:70: from[2]: must be a text; write it in quotes: "1"`,
			"1:45: from: names nobody; write the addresses that are believed, such as 127.0.0.0/8",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseConfig("p.yaml", []byte(c.text), getenv)
			var problems yamldoc.Problems
			if err != nil && !errors.As(err, &problems) {
				t.Fatalf("not a list of problems: %v", err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, strings.TrimPrefix(p.String(), "p.yaml:"))
			}
			if diff := cmp.Diff(c.want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestConfigAndCatalogProblems checks that one reading tells what is wrong with both files.
func TestConfigAndCatalogProblems(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "perdiem.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("perdiem.yaml", "durability: paper\ncatalog: c.yaml\nday: {starts: noon}\n")
	write("c.yaml", "catch_all: {member: -1}\n")
	_, err := readToServe(file, getenv, time.Now())
	var problems yamldoc.Problems
	if !errors.As(err, &problems) || len(problems) != 3 || problems[2].File != filepath.Join(folder, "c.yaml") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(folder, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err = readToServe(file, getenv, time.Now())
	problems = nil
	if !errors.As(err, &problems) || len(problems) != 3 || problems[1].File != file || problems[1].Line != 2 || problems[1].Column != 10 ||
		!strings.HasSuffix(problems[1].Text, "c.yaml does not exist: write it, or leave catalog out") {
		t.Errorf("got %v", err)
	}
	write("perdiem.yaml", strings.Repeat("#", yamldoc.MaxSize+1))
	if _, err := readToServe(file, getenv, time.Now()); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
}

// FuzzConfig checks that no text makes the reader panic, that problems have places, and that what is read without problems can be used.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "listen: {gateway: \":0\"}\nupstream: http://x\n", "identity: [{headers: {application: A, member: B, from: [\"::1\"]}}]",
		"day: {zone: Europe/Berlin, starts: \"06:00\"}", "tls: {gateway: {cert: a, key: b}}\nhosts: [a, \"*.b:1\"]\ncors: {origins: [\"*\"], max_age: 1s}\ntrusted_proxies: [\"::1\"]", "data: ${EMPTY}${", "a: &a [*a]", "? x\n: y", "identity:\n- tokens: {}\n- tokens",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig("p.yaml", []byte(text), getenv)
		if problems, ok := errors.AsType[yamldoc.Problems](err); ok {
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Text == "" || strings.ContainsRune(p.String(), '\n') {
					t.Errorf("%q: problem %q", text, p)
				}
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Data == "" || c.Admin == "" || c.Ops == "" || c.RetentionDays < 1 || c.HistoryDays < 1 || c.UpstreamTimeout <= 0 || c.Day == (quota.DayRule{}) ||
			c.Protection.Least < 1 || c.Protection.Most < c.Protection.Least || c.Protection.Tolerance <= 0 ||
			len(c.Identity.Sources) == 0 || c.Gateway != "" && c.Upstream == nil {
			t.Errorf("%q is read as %+v", text, c)
		}
		for _, s := range c.Identity.Sources {
			if s.Headers != nil {
				if _, err := identity.NewHeaders(*s.Headers); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
			if s.JWT != nil {
				if _, err := identity.NewJWT(*s.JWT); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
			if s.Introspection != nil {
				if _, err := identity.NewIntrospection(*s.Introspection); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
		}
	})
}

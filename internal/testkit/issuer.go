package testkit

import (
	"bufio"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// Issuer is a real issuer of tokens, npm's oidc-provider, on a free port of this machine. Its client is the application app-1; gw, with
// [IntrospectionSecret], may ask about tokens.
type Issuer struct {
	URL string // the address, and what iss holds
}

// IntrospectionSecret is the secret of the client gw.
const IntrospectionSecret = "gw secret/+"

//go:embed oidc/package.json oidc/package-lock.json oidc/issuer.mjs
var issuerFiles embed.FS

// StartIssuer starts an issuer, which ends with the test. It needs node and npm. What npm installs is kept in the user's cache for
// the next time.
func StartIssuer(t testing.TB) *Issuer {
	t.Helper()
	folder, err := installNode("oidc", issuerFiles)
	if err != nil {
		t.Fatalf("the issuer that tests run against cannot be installed (it needs node and npm: on Debian, apt-get install nodejs npm): %v", err)
	}
	command := exec.Command("node", "issuer.mjs")
	command.Dir = folder
	command.Stderr = io.Discard // it warns that it is not fit for production
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_, _ = io.Copy(io.Discard, out)
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the issuer did not start: run `node issuer.mjs` in %s to see why: %v", folder, err)
	}
	return &Issuer{URL: strings.TrimSpace(line)}
}

// Token returns a token of app-1's: its own, or where member is not empty one of a member's. The format is "opaque", or "jwt/" and an
// algorithm such as ES256.
func (i *Issuer) Token(t testing.TB, format, member string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example/" + format}}
	if member != "" {
		form.Set("grant_type", "urn:perdiem:member")
		form.Set("member", member)
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	i.post(t, "/token", form, &answer)
	if answer.Token == "" {
		t.Fatal("the issuer gave no token")
	}
	return answer.Token
}

// Revoke revokes an opaque token.
func (i *Issuer) Revoke(t testing.TB, token string) {
	t.Helper()
	i.post(t, "/token/revocation", url.Values{"token": {token}}, nil)
}

// Rotate has the issuer sign with new keys. Where keep is true, the old ones stay in its JWKS.
func (i *Issuer) Rotate(t testing.TB, keep bool) {
	t.Helper()
	query := ""
	if keep {
		query = "?keep=1"
	}
	i.post(t, "/control/rotate"+query, nil, nil)
}

// PortalSecret is the secret of the client portal, by which people sign in.
const PortalSecret = "portal secret/+"

// Portal registers where people are sent back to who sign in. Their claims are in the userinfo alone, unless inToken says that the id_token has them as well.
func (i *Issuer) Portal(t testing.TB, redirect string, inToken bool) {
	t.Helper()
	query := url.Values{"redirect": {redirect}}
	if inToken {
		query.Set("claims", "id_token")
	}
	i.post(t, "/control/portal?"+query.Encode(), nil, nil)
}

// Person has whoever signs in from now on be the one with these claims, of which sub is one; without any they decline.
func (i *Issuer) Person(t testing.TB, claims map[string]any) {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	i.post(t, "/control/person?"+url.Values{"claims": {string(text)}}.Encode(), nil, nil)
}

// Break has the issuer break every connection until [Issuer.Mend].
func (i *Issuer) Break(t testing.TB) { t.Helper(); i.post(t, "/control/down", nil, nil) }

// Mend undoes [Issuer.Break].
func (i *Issuer) Mend(t testing.TB) { t.Helper(); i.post(t, "/control/up", nil, nil) }

// Asked returns how often a path of the issuer's was asked for.
func (i *Issuer) Asked(t testing.TB, path string) int {
	t.Helper()
	asked := map[string]int{}
	i.post(t, "/control/asked", nil, &asked)
	return asked[path]
}

func (i *Issuer) post(t testing.TB, path string, form url.Values, into any) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, i.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app-1", "app-secret")
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("POST %s: %v: %s", path, err, body)
	}
}

package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
	"unique"

	"github.com/golang-jwt/jwt/v5"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// leeway is how far the clocks of perdiem and of an issuer may be apart.
const leeway = 30 * time.Second

// claims are the members of a JSON object that says who calls, by their names. Names are told apart to the letter, and none is there twice: of
// two, the issuer's signature would not say which is meant.
type claims map[string]json.RawMessage

// parseClaims reads an object. Its texts are valid UTF-8, so that no two ids become one when they are decoded.
func parseClaims(data []byte) (claims, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	c := claims{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("not an object")
		}
		if _, twice := c[name]; twice {
			return nil, fmt.Errorf("%.64q is there twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		c[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if d.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, errors.New("something follows the object")
	}
	return c, nil
}

// has reports whether a claim is there. One of null is not.
func (c claims) has(name string) bool {
	value, ok := c[name]
	return ok && string(value) != "null"
}

// text returns a claim that holds a text, and "" where it is not there.
func (c claims) text(name string) (text string, err error) {
	if !c.has(name) {
		return "", nil
	}
	if c[name][0] != '"' || json.Unmarshal(c[name], &text) != nil {
		return "", fmt.Errorf("%.64q is no text", name)
	}
	return text, nil
}

// texts returns a claim that holds a text or a list of them.
func (c claims) texts(name string) (texts []string, err error) {
	if !c.has(name) {
		return nil, nil
	}
	if c[name][0] == '"' {
		text, err := c.text(name)
		return []string{text}, err
	}
	if json.Unmarshal(c[name], &texts) != nil {
		return nil, fmt.Errorf("%.64q is neither a text nor a list of texts", name)
	}
	return texts, nil
}

// maxDate is the end of the year 9999, in Unix seconds.
const maxDate = 253402300799

// date returns a claim that holds a time as RFC 7519, section 2, has it: seconds since 1970, perhaps with a fraction; nil where it
// is not there.
func (c claims) date(name string) (*jwt.NumericDate, error) {
	if !c.has(name) {
		return nil, nil
	}
	var seconds float64
	if json.Unmarshal(c[name], &seconds) != nil || seconds < 0 || seconds > maxDate {
		return nil, fmt.Errorf("%.64q is no time in seconds since 1970", name)
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(seconds * 1000))}, nil
}

// The claims that [jwt.Validator] asks for (RFC 7519, section 4.1).

func (c claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.date("exp") }
func (c claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.date("iat") }
func (c claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.date("nbf") }
func (c claims) GetIssuer() (string, error)                   { return c.text("iss") }
func (c claims) GetSubject() (string, error)                  { return c.text("sub") }

func (c claims) GetAudience() (jwt.ClaimStrings, error) {
	texts, err := c.texts("aud")
	return jwt.ClaimStrings(texts), err
}

// names say which claims hold the two ids.
type names struct {
	application string
	member      string // empty: nobody has a member
}

func (n names) check() error {
	var problems []error
	for _, claim := range []struct{ option, name string }{{"application", n.application}, {"member", n.member}} {
		if claim.name == "" && claim.option == "member" {
			continue
		}
		if !registry.ValidID(claim.name) {
			problems = append(problems, fmt.Errorf("%s: must be the name of a claim, 1 to 256 bytes", claim.option))
		}
	}
	if n.application == n.member {
		problems = append(problems, errors.New("member: must be another claim than application"))
	}
	return errors.Join(problems...)
}

// caller returns whom the claims name. The error is [fault.Unauthorized] where they name no application, or something that is no id.
func (n names) caller(c claims) (voucher, error) {
	application, err := c.text(n.application)
	if err != nil || !registry.ValidID(application) {
		return voucher{}, fault.New(fault.Unauthorized, "The claim %s of the token must name the application, in 1 to 256 bytes of UTF-8 without control characters.", n.application)
	}
	v := voucher{application: unique.Make(application)}
	if n.member == "" || !c.has(n.member) {
		return v, nil
	}
	member, err := c.text(n.member)
	if err != nil || !registry.ValidID(member) {
		return voucher{}, fault.New(fault.Unauthorized, "The claim %s of the token must name the member, in 1 to 256 bytes of UTF-8 without control characters.", n.member)
	}
	if member != application {
		v.member = member
	}
	return v, nil
}

// voucher is what an issuer says of a token: whom it names, packed, applications being shared.
type voucher struct {
	application unique.Handle[string]
	member      string // empty: none
	expires     int64  // Unix milliseconds: from then on the token does not hold
	until       int64  // Unix milliseconds: from then on it is not remembered
}

func (v *voucher) caller() Caller {
	return Caller{Application: v.application.Value(), Member: v.member, Vouched: true}
}

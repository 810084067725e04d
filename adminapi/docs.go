package adminapi

import (
	"bytes"
	_ "embed" // for the page and its style
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const (
	docsPath      = "/docs"
	docsStylePath = "/docs.css"
)

var (
	//go:embed docs.html
	docsPage string
	//go:embed docs.css
	docsStyle []byte
)

// registerDocs serves the API's description as a page that people can read. It is made once, has no script, and loads nothing but its style.
func (a *API) registerDocs(o *huma.OpenAPI) error {
	page, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, newDocs(o)); err != nil {
		return err
	}
	serve := func(path, contentType string, body []byte) {
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", contentType)
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			h.Set("Referrer-Policy", "no-referrer")
			_, _ = w.Write(body) // an error means that whoever asked is gone
		})
	}
	serve(docsPath, "text/html; charset=utf-8", html.Bytes())
	serve(docsStylePath, "text/css; charset=utf-8", docsStyle)
	return nil
}

// docs is what the page shows.
type docs struct {
	Title, Description string
	Groups             []docsGroup // by path
	Schemas            []docsSchema
}

type docsGroup struct {
	Path       string
	Operations []docsOperation
}

type docsOperation struct {
	ID, Method, Summary, Description string
	Parameters                       []docsField
	Bodies                           []docsBody // of the request
	Answers                          []docsAnswer
}

type docsBody struct {
	ContentType string
	Type        docsType
}

type docsAnswer struct {
	Status, Description string
	Bodies              []docsBody
}

type docsSchema struct {
	Name   string
	Fields []docsField
}

type docsField struct {
	Name, Description string
	Required          bool
	Type              docsType
}

// docsType is a type as it is shown: words, with a link to the schema that they end in.
type docsType struct{ Words, Schema string }

func newDocs(o *huma.OpenAPI) docs {
	d := docs{Title: o.Info.Title, Description: o.Info.Description}
	for _, path := range slices.Sorted(maps.Keys(o.Paths)) {
		group := docsGroup{Path: path}
		item := o.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op != nil {
				group.Operations = append(group.Operations, newDocsOperation(op))
			}
		}
		d.Groups = append(d.Groups, group)
	}
	schemas := o.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		d.Schemas = append(d.Schemas, docsSchema{Name: name, Fields: fieldsOf(schemas[name])})
	}
	return d
}

func newDocsOperation(op *huma.Operation) docsOperation {
	d := docsOperation{ID: op.OperationID, Method: op.Method, Summary: op.Summary, Description: op.Description}
	for _, p := range op.Parameters {
		d.Parameters = append(d.Parameters, docsField{Name: p.Name, Description: p.Description, Required: p.Required, Type: typeOf(p.Schema)})
	}
	if op.RequestBody != nil {
		d.Bodies = bodiesOf(op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		d.Answers = append(d.Answers, docsAnswer{Status: status, Description: r.Description, Bodies: bodiesOf(r.Content)})
	}
	return d
}

func bodiesOf(content map[string]*huma.MediaType) (bodies []docsBody) {
	for _, contentType := range slices.Sorted(maps.Keys(content)) {
		bodies = append(bodies, docsBody{ContentType: contentType, Type: typeOf(content[contentType].Schema)})
	}
	return bodies
}

func fieldsOf(s *huma.Schema) (fields []docsField) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		fields = append(fields, docsField{Name: name, Description: p.Description, Required: slices.Contains(s.Required, name), Type: typeOf(p)})
	}
	return fields
}

// typeOf says in words what a value may be.
func typeOf(s *huma.Schema) docsType {
	switch {
	case s == nil:
		return docsType{Words: "anything"}
	case s.Ref != "":
		return docsType{Schema: s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]}
	case s.Type == huma.TypeArray:
		of := typeOf(s.Items)
		return docsType{"list of " + of.Words, of.Schema}
	case len(s.OneOf) > 0:
		var words []string
		for _, one := range s.OneOf {
			words = append(words, typeOf(one).Words)
		}
		return docsType{Words: strings.Join(words, " or ")}
	case len(s.Enum) > 0:
		var words []string
		for _, one := range s.Enum {
			words = append(words, fmt.Sprint(one))
		}
		return docsType{Words: strings.Join(words, ", ")}
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		of := typeOf(values)
		return docsType{"object of " + of.Words, of.Schema}
	}
	words := []string{s.Type}
	if s.Format != "" {
		words[0] += ", " + s.Format
	}
	for _, bound := range []struct {
		name  string
		value *float64
	}{{"from", s.Minimum}, {"to", s.Maximum}} {
		if bound.value != nil {
			words[0] += fmt.Sprintf(" %s %.0f", bound.name, *bound.value)
		}
	}
	if s.MaxLength != nil {
		words = append(words, fmt.Sprintf("at most %d characters", *s.MaxLength))
	}
	if s.Default != nil {
		words = append(words, fmt.Sprintf("else %v", s.Default))
	}
	return docsType{Words: strings.Join(words, ", ")}
}

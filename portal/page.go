package portal

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/catalog"
)

//go:embed pages
var embedded embed.FS

// pages are the templates of the pages, each with the frame around it, by their folder's name.
type pages map[string]*template.Template

// page is what the frame is told.
type page struct {
	Title   string
	Account string // empty: nobody is signed in
	Operate bool   // the account is an operator's
	Script  string // the file of a script; empty: the page has none
	Body    any    // what the page itself is told
}

// readPages reads all templates. Those that several pages need are in pages/frame.
func (p *Portal) readPages() (pages, error) {
	funcs := template.FuncMap{
		"path":    p.path,
		"file":    func(name string) string { return p.path(p.files.path(name)) },
		"group":   group,
		"calls":   newCalls,
		"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"until":   func(t time.Time) string { return t.UTC().Format("15:04") },
		"date":    date,
		"instant": func(t time.Time) string { return t.UTC().Format(instantLayout) },
		"exact":   func(t time.Time) string { return t.UTC().Format(exactLayout) },
		"grouped": grouped,
		"setting": settingWords,
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
	frame, err := template.New("").Funcs(funcs).ParseFS(embedded, "pages/frame/*.html")
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(embedded, "pages")
	if err != nil {
		return nil, err
	}
	all := pages{}
	for _, entry := range entries {
		if entry.Name() == "frame" {
			continue
		}
		whole, err := frame.Clone()
		if err != nil {
			return nil, err
		}
		if all[entry.Name()], err = whole.ParseFS(embedded, path.Join("pages", entry.Name(), "*.html")); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// show answers with a page.
func (v *visit) show(status int, name string, of page) error {
	if v.account != nil {
		of.Account, of.Operate = v.account.Email, v.account.Operator
	}
	var b bytes.Buffer
	if err := v.portal.pages[name].ExecuteTemplate(&b, "frame", of); err != nil {
		return fmt.Errorf("the page %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.send(status, b.Bytes())
	return nil
}

// part returns a part of the Analytics tab as the page itself has it.
func (p *Portal) part(name string, of any) (string, error) {
	var b strings.Builder
	err := p.pages["analytics"].ExecuteTemplate(&b, name, of)
	return strings.TrimSpace(b.String()), err
}

// send answers with a body, compressed where the browser likes that and it is worth it.
func (v *visit) send(status int, body []byte) {
	h := v.w.Header()
	h.Add("Vary", "Accept-Encoding")
	if len(body) > 1024 && takesGzip(v.r) {
		h.Set("Content-Encoding", "gzip")
		body = compress(body)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(body) // an error means that whoever asked is gone
}

// application is what is told above the tabs.
type application struct {
	ID, Name, Tier    string
	Suspended, Shadow bool
	Tabs              []tab
	path              func(page string) string
}

// Path returns the path of one of its pages.
func (a application) Path(page string) string { return a.path(page) }

type tab struct {
	Name, Path string
	Current    bool
}

// tabs are those of an application, in order.
var tabs = []struct{ name, page string }{
	{"Analytics", "analytics"},
	{"Credentials", "credentials"},
	{"Alerts", "alerts"},
	{"Team", "team"},
	{"Settings", "settings"},
}

// application returns what stands above a tab.
func (v *visit) application(current string) application {
	a := application{ID: v.app.ID, Name: displayName(v.app), Tier: v.app.Tier, Suspended: v.app.Suspended, Shadow: v.app.Shadow}
	a.path = func(page string) string { return v.portal.applicationPath(v.app.ID, page) }
	for _, t := range tabs {
		a.Tabs = append(a.Tabs, tab{Name: t.name, Path: v.portal.applicationPath(v.app.ID, t.page), Current: t.page == current})
	}
	return a
}

// conditions returns what a request must bring to be an endpoint's besides method and path; empty: nothing.
func conditions(snapshot *catalog.Snapshot, endpoint string) string {
	e, known := snapshot.Endpoint(endpoint)
	if !known || e.When.IsZero() {
		return ""
	}
	return e.When.String()
}

// root sends the browser to the list of applications.
func (p *Portal) root(v *visit) error {
	v.redirect("/apps")
	return nil
}

// app sends the browser to an application's first tab.
func (p *Portal) app(v *visit) error {
	http.Redirect(v.w, v.r, p.applicationPath(v.app.ID, tabs[0].page), http.StatusSeeOther)
	return nil
}

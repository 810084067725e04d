package portal

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// operatorEndpointsBody is what the list of endpoints is told.
type operatorEndpointsBody struct {
	operating
	Query string
	Total string
	Rows  []endpointRow
	Pages *pager
	Add   form
}

type endpointRow struct {
	ID, Match, When, Path string
	Application, Member   string
	Cost                  int64
	Shadow                bool
	Origin                origin
}

func (p *Portal) newEndpointRow(e *catalog.Endpoint, o origin) endpointRow {
	row := endpointRow{
		ID: e.ID, Match: e.Match(), Path: p.itemPath("endpoints", e.ID), Application: limitWords(e.Limits.Application), Member: limitWords(e.Limits.Member),
		Cost: e.Cost, Shadow: e.Shadow, Origin: o,
	}
	if !e.When.IsZero() {
		row.When = e.When.String()
	}
	return row
}

// operatorEndpoints lists the endpoints.
func (p *Portal) operatorEndpoints(v *visit) error { return p.showOperatorEndpoints(v, nil) }

func (p *Portal) showOperatorEndpoints(v *visit, s *sent) error {
	query := v.r.URL.Query()
	e := catalog.NewEndpoint("")
	fields := append([]field{{Name: "id", Label: "Id", Help: "Such as posts.create. It cannot be changed.", Required: true, Most: 256}}, matchFields(&e)...)
	body := operatorEndpointsBody{Query: query.Get("q"), Add: s.form(form{Do: "add", Button: "Preview", Fields: append(fields, endpointFields(&e)...)})}
	all := search(p.Catalog().Endpoints(), body.Query, endpointNames)
	body.Total = count(int64(len(all)), "endpoint", "endpoints")
	all, body.Pages = paged(all, query, p.operatorPath("endpoints"))
	ids := make([]string, len(all))
	for i, e := range all {
		ids[i] = e.ID
	}
	origins, err := p.origins(v.r.Context(), registry.Endpoint, ids)
	if err != nil {
		return err
	}
	for i, e := range all {
		body.Rows = append(body.Rows, p.newEndpointRow(e, origins[i]))
	}
	body.operating = v.operating("endpoints", "Endpoints", s)
	return v.show(s.status(), "operator-endpoints", page{Title: "Endpoints · operators", Body: body})
}

// addOperatorEndpoint adds an endpoint.
func (p *Portal) addOperatorEndpoint(v *visit) error {
	return p.change(v, "endpoints", p.showOperatorEndpoints, func(do string, form url.Values) (plan, error) {
		id := form.Get("id")
		if do != "add" {
			return plan{}, errNotOffered
		}
		if !registry.ValidID(id) {
			return plan{}, misfilled("id", "Must be 1 to 256 bytes of UTF-8 without control characters.")
		}
		if strings.TrimSpace(form.Get("match")) == "" {
			return plan{}, misfilled("match", "Say which requests are this endpoint's.")
		}
		e := catalog.NewEndpoint(id)
		asked := plan{next: p.itemPath("endpoints", id)}
		if holds, known := p.Catalog().Endpoint(id); known {
			e, asked.same = *holds, fieldErrors{"id": fault.New(fault.Conflict, "There is an endpoint of this id already.")}
		}
		var err error
		asked.edit, err = readEndpoint(form, &e)
		return asked, err
	})
}

// matchFields are the fields of what requests are an endpoint's.
func matchFields(e *catalog.Endpoint) []field {
	match := ""
	if e.Path != "" {
		match = e.Match()
	}
	return []field{
		{Name: "match", Label: "Match", Help: "Method and path, such as GET /rest/posts/{id}.", Value: match, Required: true, Most: 4200},
		{Name: "when", Label: "Conditions", Help: "One a line, such as header X-RestLi-Method: FINDER, or query q: author. * is any value. What begins or ends with a blank stands in \"quotes\". May be left out.", Value: conditionLines(e.When), Lines: true, Most: 8000},
	}
}

// endpointFields are the fields of what holds for an endpoint.
func endpointFields(e *catalog.Endpoint) []field {
	return []field{
		{Name: "application", Label: "Application limit", Help: limitHelp, Value: e.Limits.Application.String(), Required: true},
		{Name: "member", Label: "Member limit", Help: "The same, for each member.", Value: e.Limits.Member.String(), Required: true},
		{Name: "cost", Label: "Cost", Help: "Calls that one request is charged: 1 to " + group(quota.MaxCost) + ".", Value: strconv.FormatInt(e.Cost, 10), Required: true},
		{
			Name: "shadow", Label: "Shadow mode", Help: "On: nobody is refused, and what a limit would refuse is counted as refused.", Value: strconv.FormatBool(e.Shadow),
			Options: choices(strconv.FormatBool(e.Shadow), [2]string{"false", "Off"}, [2]string{"true", "On"}),
		},
	}
}

// readEndpoint returns what a form sets of an endpoint: what differs from what holds.
func readEndpoint(form url.Values, holds *catalog.Endpoint) (put registry.PutEndpoint, err error) {
	put.ID = holds.ID
	limits, err := readLimits(form)
	if err != nil {
		return put, err
	}
	if limits.Application != nil {
		put.Limits.Application = ifOther(*limits.Application, holds.Limits.Application)
	}
	if limits.Member != nil {
		put.Limits.Member = ifOther(*limits.Member, holds.Limits.Member)
	}
	cost, err := strconv.ParseInt(strings.TrimSpace(form.Get("cost")), 10, 64)
	if err != nil || cost < 1 || cost > quota.MaxCost {
		return put, misfilled("cost", "Must be a whole number from 1 to %s.", group(quota.MaxCost))
	}
	put.Cost = ifOther(cost, holds.Cost)
	put.Shadow = ifOther(form.Get("shadow") == "true", holds.Shadow)
	if !form.Has("match") {
		return put, nil
	}
	if match := strings.TrimSpace(form.Get("match")); match != holds.Match() {
		put.Match = match
	}
	when, err := readConditions(form.Get("when"))
	if err != nil {
		return put, err
	}
	if conditionLines(when) != conditionLines(holds.When) {
		put.When = &when
	}
	return put, nil
}

// conditionLines writes conditions as a form has them: one a line.
func conditionLines(c catalog.Conditions) string {
	var b strings.Builder
	write := func(kind string, conditions map[string]string) {
		for _, name := range sortedKeys(conditions) {
			b.WriteString(kind + " " + conditionWord(name, ":") + ": " + conditionWord(conditions[name], "") + "\n")
		}
	}
	write("header", c.Header)
	write("query", c.Query)
	return b.String()
}

// conditionWord writes a name or a value as a form has it: as it is, and in Go's quotes where it could else be read as something else. odd are the characters
// that it may not have without them.
func conditionWord(word, odd string) string {
	quoted := strconv.Quote(word)
	if word == "" || strings.TrimSpace(word) != word || strings.ContainsAny(word, odd) || quoted != `"`+word+`"` {
		return quoted
	}
	return word
}

// readConditionWord reads what conditionWord writes at the beginning of a line without outer blanks, and returns what comes after it and until; where until is
// empty, a word without quotes goes to the line's end.
func readConditionWord(line, until string) (word, rest string, ok bool) {
	if strings.HasPrefix(line, `"`) {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return "", line, false
		}
		word, err = strconv.Unquote(quoted)
		rest, ok = strings.CutPrefix(strings.TrimSpace(line[len(quoted):]), until)
		return word, strings.TrimSpace(rest), ok && err == nil
	}
	if word, ok = line, true; until != "" {
		word, rest, ok = strings.Cut(line, until)
	}
	word = strings.TrimSpace(word)
	return word, strings.TrimSpace(rest), ok && word != ""
}

// readConditions reads what conditionLines writes. Whether they make sense is left to the catalog.
func readConditions(text string) (c catalog.Conditions, err error) {
	c = catalog.Conditions{Header: map[string]string{}, Query: map[string]string{}}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		name, rest, isNamed := readConditionWord(strings.TrimSpace(rest), ":")
		value, rest, isValued := readConditionWord(rest, "")
		to, known := map[string]map[string]string{"header": c.Header, "query": c.Query}[kind]
		if !known || !isNamed || !isValued || rest != "" {
			return c, misfilled("when", "%.64q is no condition: write it as header NAME: VALUE, or query NAME: VALUE.", line)
		}
		if _, twice := to[name]; twice {
			return c, misfilled("when", "%s %.64s is named twice.", kind, name)
		}
		to[name] = value
	}
	return c, nil
}

// operatorEndpointBody is what the page of one endpoint is told.
type operatorEndpointBody struct {
	operating
	endpointRow
	Settings form
}

// operatorEndpoint shows one endpoint.
func (p *Portal) operatorEndpoint(v *visit) error { return p.showOperatorEndpoint(v, nil) }

func (p *Portal) showOperatorEndpoint(v *visit, s *sent) error {
	e, known := p.Catalog().Endpoint(v.r.PathValue("id"))
	if !known {
		return errNotFound
	}
	o, err := p.origin(v.r.Context(), registry.Endpoint, e.ID)
	if err != nil {
		return err
	}
	fields := endpointFields(e)
	if o.Own {
		fields = append(matchFields(e), fields...)
	}
	body := operatorEndpointBody{endpointRow: p.newEndpointRow(e, o), Settings: s.form(form{Do: "set", Button: "Preview", Fields: fields})}
	body.operating = v.operating("endpoints", e.ID, s)
	return v.show(s.status(), "operator-endpoint", page{Title: e.ID + " · operators", Body: body})
}

// changeOperatorEndpoint changes one endpoint.
func (p *Portal) changeOperatorEndpoint(v *visit) error {
	e, known := p.Catalog().Endpoint(v.r.PathValue("id"))
	if !known {
		return p.gone(v, "endpoints")
	}
	return p.change(v, "endpoints", p.showOperatorEndpoint, func(do string, form url.Values) (plan, error) {
		if do != "set" {
			return p.readCommon("endpoints", registry.Endpoint, e.ID, do, form)
		}
		put, err := readEndpoint(form, e)
		asked := plan{edit: put, next: p.itemPath("endpoints", e.ID)}
		if put.Limits.IsZero() && put.Cost == nil && put.Shadow == nil && put.Match == "" && put.When == nil {
			asked.same = errSame
		}
		return asked, err
	})
}

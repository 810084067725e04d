package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/usage"
)

const (
	beatEvery  = 5 * time.Second  // a viewer that hears nothing for three of these says that its page is old
	checkEvery = 10 * time.Second // how often it is asked whether a viewer may still look
	writeWait  = 10 * time.Second // a viewer that takes nothing for so long is let go
	chartEvery = 10 * time.Second // how often a chart that has changed is drawn again
)

// sight is what is to be seen of an application at a moment, as events. Either there is a report, or what was used cannot be read.
type sight struct {
	number int64         // rises by one with each sight of an application
	report *usage.Report // nil: it cannot be read
	hours  string        // the chart of the day's hours; empty: nothing was called
	near   string        // the members near their limits
	drawn  time.Time     // when the chart was; look's own, as is what follows
	behind bool          // something was called since
	change []byte        // turns the sight before into this one; nil: only whole does
	whole  func() []byte // turns any sight into this one
}

// event returns the event that turns a page that shows another sight into this one.
func (s *sight) event(shown *sight) []byte {
	if shown != nil && s.number == shown.number+1 && s.change != nil {
		return s.change
	}
	return s.whole()
}

// update is what a page is told.
type update struct {
	Whole    bool              `json:"whole"` // endpoints that are not among the rows are to go
	ResetsAt time.Time         `json:"resetsAt"`
	Now      time.Time         `json:"now"`
	Parts    map[string]string `json:"parts"` // what replaces an element's content, by the element's id
	Rows     []liveRow         `json:"rows"`
}

type liveRow struct {
	ID   outsideText `json:"id"`
	HTML string      `json:"html"` // a tr
}

// outsideText is what somebody else wrote: no tag of it is in an event.
type outsideText string

// MarshalJSON escapes HTML, whether the encoder does or not.
func (t outsideText) MarshalJSON() ([]byte, error) { return json.Marshal(string(t)) }

// look is what [hub] looks with.
func (p *Portal) look(ctx context.Context, application string, before *sight) *sight {
	number := int64(1)
	if before != nil {
		number = before.number + 1
	}
	report, err := p.Usage.Today(ctx, application, "")
	switch {
	case ctx.Err() != nil:
		return before
	case fault.KindOf(err) == fault.NotFound:
		return nil
	case err != nil:
		if before != nil && before.report == nil {
			return before
		}
		p.Log.Warn("what live pages show cannot be read; they say so", "err", err)
		return &sight{number: number, whole: func() []byte { return []byte("event: trouble\ndata:\n\n") }}
	}
	s := &sight{number: number, report: report}
	s.whole = sync.OnceValue(func() []byte { return p.usageEvent(nil, s) })
	p.drawNear(ctx, s, before)
	if before == nil || before.report == nil || before.report.Day != report.Day {
		p.drawHours(ctx, s)
		return s
	}
	s.hours, s.drawn, s.behind = before.hours, before.drawn, before.behind || !sameUsage(before.report, report)
	if s.behind && p.Now().Sub(s.drawn) >= chartEvery {
		p.drawHours(ctx, s)
	}
	if s.hours == before.hours && s.near == before.near && sameUsage(before.report, report) {
		before.drawn, before.behind = s.drawn, s.behind
		return before
	}
	s.change = p.usageEvent(before, s)
	return s
}

// drawHours draws the chart of a sight's day.
func (p *Portal) drawHours(ctx context.Context, s *sight) {
	s.drawn, s.behind = p.Now(), false
	c, err := p.hoursChart(ctx, s.report, "")
	if err == nil && c != nil {
		s.hours, err = p.part("chart", c)
	}
	if err != nil && ctx.Err() == nil {
		p.Log.Warn("the chart of live pages cannot be drawn; it stays as it is", "err", err)
	}
}

// drawNear draws the list of the members near their limits, which are read once in a while; where they cannot be, it stays as it was before.
func (p *Portal) drawNear(ctx context.Context, s, before *sight) {
	near, err := p.readNear(ctx, s.report.Application, "", s.report.ResetsAt)
	if err == nil {
		s.near, err = p.part("near", near)
	}
	if err != nil && before != nil {
		s.near = before.near
	}
}

// sameUsage reports whether two reports of an application look the same.
func sameUsage(a, b *usage.Report) bool {
	if a.Day != b.Day || !a.ResetsAt.Equal(b.ResetsAt) || len(a.Endpoints) != len(b.Endpoints) {
		return false
	}
	for i := range a.Endpoints {
		if !sameEndpoint(&a.Endpoints[i], &b.Endpoints[i]) {
			return false
		}
	}
	return true
}

func sameEndpoint(a, b *usage.Endpoint) bool {
	same := func(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.ID == b.ID && a.Match == b.Match && a.LastCall.Equal(b.LastCall) &&
		a.Application.Used == b.Application.Used && same(a.Application.Limit, b.Application.Limit) && same(a.Application.Remaining, b.Application.Remaining) &&
		a.Application.Refused == b.Application.Refused && a.Application.RefusedForMember == b.Application.RefusedForMember && same(a.Member.Limit, b.Member.Limit)
}

// usageEvent returns the event that turns a page that shows one sight into one that shows another; nil for the first: whatever it shows.
func (p *Portal) usageEvent(from, to *sight) []byte {
	now, shown := to.report, map[string]*usage.Endpoint{}
	var before *usage.Report
	if from != nil {
		before = from.report
	}
	u := update{Whole: before == nil, ResetsAt: now.ResetsAt, Now: p.Now().UTC(), Parts: map[string]string{}, Rows: []liveRow{}}
	if before != nil {
		for i := range before.Endpoints {
			shown[before.Endpoints[i].ID] = &before.Endpoints[i]
		}
	}
	snapshot := p.Catalog()
	staying := 0
	for i := range now.Endpoints {
		e := &now.Endpoints[i]
		if old := shown[e.ID]; old != nil {
			staying++
			if sameEndpoint(old, e) {
				continue
			}
		}
		html, err := p.part("row", newRow(snapshot, *e, now.ResetsAt))
		if err != nil {
			p.Log.Error("a row of a live page could not be made", "err", err)
			continue
		}
		u.Rows = append(u.Rows, liveRow{outsideText(e.ID), html})
	}
	if staying < len(shown) { // an endpoint is gone, which only the whole tells
		return p.usageEvent(nil, to)
	}
	for id, of := range map[string]any{"facts": newFacts(now), "day": newDay(now, u.Now), "reset": newDay(now, u.Now)} {
		html, err := p.part(id, of)
		if err != nil {
			p.Log.Error("a part of a live page could not be made", "err", err)
			continue
		}
		u.Parts[id] = html
	}
	if from == nil || from.hours != to.hours {
		u.Parts["hours"] = to.hours
	}
	if from == nil || from.near != to.near {
		u.Parts["near"] = to.near
	}
	event := bytes.NewBufferString("event: usage\ndata: ")
	data := json.NewEncoder(event) // which ends with a line break
	data.SetEscapeHTML(false)      // all but an id is HTML that a template made, and a fifth shorter as it is
	if err := data.Encode(u); err != nil {
		p.Log.Error("a live page could not be told", "err", err)
		return nil
	}
	event.WriteByte('\n')
	return event.Bytes()
}

// live sends what changes on an application's Analytics tab as server-sent events (WHATWG HTML, section 9.2), until the session ends or
// the account may no longer see the application.
func (p *Portal) live(v *visit) error {
	ctx := v.r.Context()
	me, err := p.hub.join(viewerOf{session: *v.session, account: v.account.Email, application: v.app.ID})
	if err != nil {
		return err
	}
	defer p.hub.leave(me)
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	if v.r.Method == http.MethodHead {
		return nil
	}
	if v.r.ProtoMajor == 1 { // not in chunks: each event is one write to the connection instead of three, and the connection's end is the answer's
		h.Set("Transfer-Encoding", "identity")
	}
	control := http.NewResponseController(v.w)
	// The server's own deadlines are for answers that end. Where a connection has none, that it cannot be set is no harm.
	_ = control.SetReadDeadline(time.Time{})
	send := func(event []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeWait))
		_, err := v.w.Write(event)
		return err == nil && control.Flush() == nil
	}
	if !send([]byte(": hello\n\n")) {
		return nil
	}
	beat, check := time.NewTicker(beatEvery), time.NewTicker(checkEvery)
	defer beat.Stop()
	defer check.Stop()
	var shown *sight
	for going := true; going; {
		select {
		case <-ctx.Done():
			return nil
		case <-me.ended:
			if me.crowded { // the page asks for room again
				return nil
			}
			going = false
		case <-check.C:
			going = p.maySee(ctx, me.session, me.application)
		case <-beat.C:
			if !send([]byte("event: beat\ndata:\n\n")) {
				return nil
			}
		case <-me.woken:
			if now := p.hub.sight(me); now != nil && now != shown {
				if !send(now.event(shown)) {
					return nil
				}
				shown = now
			}
		}
	}
	if p.hub.isClosed() { // the node stops: the page looks for it again
		return nil
	}
	send([]byte("event: end\ndata:\n\n"))
	return nil
}

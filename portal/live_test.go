package portal

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// stream is a live page's events.
type stream struct {
	*testing.T
	lines *bufio.Scanner
	close func()
}

// live opens a live page of acme.
func (b *browser) live() *stream {
	b.site.Helper()
	ctx, cancel := context.WithTimeout(b.site.Context(), 20*time.Second)
	r := b.request("GET", b.site.portal.applicationPath("acme", "live"), nil).WithContext(ctx)
	res, err := b.client.Do(r)
	if err != nil {
		b.site.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b.site.Fatalf("%s %v", res.Status, res.Header)
	}
	s := &stream{b.site.T, bufio.NewScanner(res.Body), func() { cancel(); res.Body.Close() }}
	s.lines.Buffer(nil, 1<<20)
	b.site.Cleanup(s.close)
	return s
}

// next returns the next event but beats; "" where the stream has ended.
func (s *stream) next() (name, data string) {
	s.Helper()
	for s.lines.Scan() {
		switch key, value, _ := strings.Cut(s.lines.Text(), ":"); key {
		case "event":
			name = strings.TrimSpace(value)
		case "data":
			data = strings.TrimSpace(value)
		case "":
			if name != "" && name != "beat" {
				return name, data
			}
		}
	}
	return "", ""
}

func (s *stream) update() update {
	s.Helper()
	name, data := s.next()
	var u update
	if err := json.Unmarshal([]byte(data), &u); err != nil || name != "usage" {
		s.Fatalf("event %q %s: %v", name, data, err)
	}
	return u
}

func endpointsOf(u update) (ids []string) {
	for _, r := range u.Rows {
		ids = append(ids, string(r.ID))
	}
	return ids
}

func TestLive(t *testing.T) {
	s := openSite(t, sample)
	live := s.browser("viewer@acme.example").live()
	if u := live.update(); !u.Whole || len(u.Rows) != 0 || !u.ResetsAt.Equal(s.counts.Day().End) {
		t.Errorf("at first %+v", u)
	}
	s.counts.set("acme", called()...)
	began := time.Now()
	u := live.update()
	if took := time.Since(began); took > 2*time.Second || !slices.Equal(endpointsOf(u), []string{"*", "posts.create", "posts.find"}) {
		t.Errorf("after %v: %+v", took, u)
	}
	if !strings.Contains(u.Rows[2].HTML, `data-field="application-used" data-value="8120">8,120</td>`) || !strings.Contains(u.Parts["facts"], "8,521") {
		t.Errorf("%+v", u)
	}
	more := called()
	more[0].Used++
	s.counts.set("acme", more...)
	if u := live.update(); u.Whole || !slices.Equal(endpointsOf(u), []string{"posts.find"}) || !strings.Contains(u.Rows[0].HTML, "8,121") {
		t.Errorf("one more call: %+v", u)
	}
	s.counts.fail(fault.New(fault.Unavailable, "The ledger is down."))
	if name, _ := live.next(); name != "trouble" {
		t.Errorf("while the ledger is down: %s", name)
	}
	s.counts.fail(nil)
	if u := live.update(); !u.Whole || len(u.Rows) != 3 {
		t.Errorf("when it is back: %+v", u)
	}
	s.counts.set("acme")
	if u := live.update(); !u.Whole || len(u.Rows) != 0 {
		t.Errorf("a day without a call: %+v", u)
	}
}

// Signing out ends what is live in the session, and nothing else; a stop ends all, and lets the page look for the node again.
func TestLiveEnds(t *testing.T) {
	s := openSite(t, sample)
	leaving, staying := s.browser("viewer@acme.example"), s.browser("viewer@acme.example")
	gone, stays := leaving.live(), staying.live()
	gone.update()
	stays.update()
	leaving.post("/signout", nil)
	if name, _ := gone.next(); name != "end" {
		t.Errorf("after signing out: %q", name)
	}
	s.counts.set("acme", called()...)
	if u := stays.update(); len(u.Rows) != 3 {
		t.Errorf("another session: %+v", u)
	}
	s.portal.Close()
	if name, _ := stays.next(); name != "" {
		t.Errorf("after the stop: %q", name)
	}
	if got := staying.get("/apps/acme/live"); got.status != 503 {
		t.Errorf("after the stop: %d", got.status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.server.Config.Shutdown(ctx); err != nil {
		t.Errorf("the server waits for live pages: %v", err)
	}
}

// A page that goes so that others have room is not told that it is over: it asks again.
func TestLiveMakesRoom(t *testing.T) {
	s := openSite(t, sample)
	live := s.browser("viewer@acme.example").live()
	live.update()
	s.portal.hub.mu.Lock()
	for v := range s.portal.hub.viewers {
		s.portal.hub.crowdOutLocked(v)
	}
	s.portal.hub.mu.Unlock()
	if name, _ := live.next(); name != "" {
		t.Errorf("it is told %q", name)
	}
}

// What ends the right to look is noticed.
func TestMaySee(t *testing.T) {
	s := openSite(t, sample)
	a, err := s.registry.Account(t.Context(), "viewer@acme.example")
	if err != nil {
		t.Fatal(err)
	}
	session := registry.Session{Hash: registry.Hash{1}, Email: a.Email, Stamp: a.Stamp, Expires: time.Now().Add(time.Hour)}
	if err := s.registry.KeepSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	if !s.portal.maySee(t.Context(), session.Hash, "acme") || s.portal.maySee(t.Context(), session.Hash, "beta") || s.portal.maySee(t.Context(), registry.Hash{2}, "acme") {
		t.Error("who may look is not told apart")
	}
	if err := s.registry.Withdraw(t.Context(), a.Email, "acme", ""); err != nil {
		t.Fatal(err)
	}
	if s.portal.maySee(t.Context(), session.Hash, "acme") {
		t.Error("the grant is gone, and it may go on looking")
	}
}

// A thousand viewers cost one reading a second, and none when they are gone.
func TestHubReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		h := newHub(func(_ context.Context, _ string, before *sight) *sight {
			looks.Add(1)
			next := &sight{number: 1, whole: func() []byte { return nil }}
			if before != nil {
				next.number = before.number + 1
			}
			return next
		})
		var viewers []*viewer
		for i := range 1000 {
			v, err := h.join(viewerOf{account: fmt.Sprint(i % 2), application: "acme"})
			if err != nil {
				t.Fatal(err)
			}
			viewers = append(viewers, v)
		}
		time.Sleep(10*time.Second + 500*time.Millisecond)
		synctest.Wait()
		if n := looks.Load(); n != 11 {
			t.Errorf("%d readings in ten seconds and a half", n)
		}
		for _, v := range viewers {
			<-v.woken
			if h.sight(v).number != 11 { // a slow viewer gets what is newest, once
				t.Fatalf("a viewer sees %d", h.sight(v).number)
			}
			h.leave(v)
			h.leave(v)
		}
		time.Sleep(5 * time.Second)
		if n := looks.Load(); n != 11 {
			t.Errorf("%d readings after everybody left", n-11)
		}
		h.close()
	})
}

func TestHubIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(func(context.Context, string, *sight) *sight { return &sight{} })
		join := func(account string) error {
			_, err := h.join(viewerOf{account: account, application: "acme"})
			return err
		}
		each := func() map[string]int {
			n := map[string]int{}
			for v := range h.viewers {
				n[v.account]++
			}
			return n
		}
		for range maxViewers {
			if err := join("a"); err != nil {
				t.Fatal(err)
			}
		}
		if err := join("a"); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("one more of an account that has all: %v", err)
		}
		// Others get their share of those, and no more than that.
		for _, account := range []string{"b", "c", "d"} {
			for range maxViewers / 4 {
				if err := join(account); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, account := range []string{"a", "b", "c", "d"} {
			if n := each()[account]; n != maxViewers/4 {
				t.Errorf("%s has %d of %d viewers", account, n, maxViewers)
			}
			if err := join(account); fault.KindOf(err) != fault.Exhausted {
				t.Errorf("one more than its share: %v", err)
			}
		}
		if err := join("e"); err != nil || len(h.viewers) != maxViewers {
			t.Errorf("one that has none: %v, of %d viewers", err, len(h.viewers))
		}
		h.close()
		if err := join("c"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("after the end: %v", err)
		}
		if len(h.viewers) != 0 || len(h.watched) != 0 {
			t.Errorf("%d viewers and %d applications are left", len(h.viewers), len(h.watched))
		}
	})
}

// An application that is removed sends its viewers away.
func TestHubOfAnApplicationThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		h := newHub(func(context.Context, string, *sight) *sight {
			if gone.Load() {
				return nil
			}
			return &sight{}
		})
		v, err := h.join(viewerOf{application: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		gone.Store(true)
		<-v.ended
		synctest.Wait()
		if len(h.viewers) != 0 {
			t.Error("the viewer is still counted")
		}
		h.close()
	})
}

// Viewers that missed a state, or saw trouble, are told the whole.
func TestSightEvents(t *testing.T) {
	whole := func() []byte { return []byte("whole") }
	first, second := &sight{number: 1, whole: whole}, &sight{number: 2, change: []byte("change"), whole: whole}
	third := &sight{number: 3, change: []byte("change"), whole: whole}
	for _, c := range []struct {
		shown, now *sight
		want       string
	}{{nil, first, "whole"}, {first, second, "change"}, {first, third, "whole"}, {nil, second, "whole"}} {
		if got := string(c.now.event(c.shown)); got != c.want {
			t.Errorf("%v to %v: %s", c.shown, c.now, got)
		}
	}
}

func TestSameUsage(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	a, b := s.report("acme"), s.report("acme")
	if !sameUsage(a, b) {
		t.Error("two reports of the same differ")
	}
	for i, change := range []func(*usage.Endpoint){
		func(e *usage.Endpoint) { e.Application.Used++ }, func(e *usage.Endpoint) { e.Application.Refused++ }, func(e *usage.Endpoint) { e.Application.RefusedForMember++ },
		func(e *usage.Endpoint) { e.Application.Limit = nil }, func(e *usage.Endpoint) { e.Member.Limit = new(int64(7)) }, func(e *usage.Endpoint) { e.LastCall = at },
		func(e *usage.Endpoint) { e.Application.Remaining = new(int64(1)) }, func(e *usage.Endpoint) { e.Match = "x" },
	} {
		b = s.report("acme")
		change(&b.Endpoints[0])
		if sameUsage(a, b) {
			t.Errorf("change %d is not seen", i)
		}
	}
}

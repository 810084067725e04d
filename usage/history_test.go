package usage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry/sqlregistry"
	"github.com/perdiem/perdiem/usage"
)

// calling is an application that calls, and what the leases would tell of it.
type calling struct {
	rule    quota.DayRule
	mu      sync.Mutex
	day     quota.Day                // guarded by mu
	decided map[string]usage.Decided // guarded by mu: by day and endpoint
}

func newCalling(t *testing.T, zone, starts string) *calling {
	t.Helper()
	rule, err := quota.NewDayRule(zone, starts)
	if err != nil {
		t.Fatal(err)
	}
	return &calling{rule: rule, day: rule.At(time.Now()), decided: map[string]usage.Decided{}}
}

// today returns the day that is running.
func (c *calling) today() quota.Day {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !time.Now().Before(c.day.End) {
		c.day = c.rule.After(c.day)
	}
	return c.day
}

// call has the application acme call.
func (c *calling) call(endpoint string, calls usage.Calls) { c.callOn(c.today(), endpoint, calls) }

func (c *calling) callOn(day quota.Day, endpoint string, calls usage.Calls) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.decided[day.Date.String()+endpoint]
	d.Day, d.Application, d.Endpoint = day, "acme", endpoint
	d.Admitted += calls.Admitted
	d.Refused += calls.Refused
	d.RefusedForMember += calls.RefusedForMember
	c.decided[day.Date.String()+endpoint] = d
}

func (c *calling) tell(tell func(usage.Decided) bool) (all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.decided)) {
		d := c.decided[key]
		delete(c.decided, key)
		if !tell(d) {
			return false
		}
	}
	return true
}

func (c *calling) tellOf(application string, tell func(usage.Decided)) {
	if application == "acme" {
		c.tell(func(d usage.Decided) bool { tell(d); return true })
	}
}

// unreliable is a store that fails when it is told to: before it adds, or after.
type unreliable struct {
	usage.HistoryStore
	mu            sync.Mutex
	before, after bool                          // guarded by mu
	added         int                           // guarded by mu: batches that came, failed or not
	released      atomic.Pointer[chan struct{}] // nil: nothing hangs
}

// hang has what is added wait until it is released.
func (u *unreliable) hang() (release func()) {
	released := make(chan struct{})
	u.released.Store(&released)
	return func() { close(released) }
}

var errStore = fault.New(fault.Unavailable, "The store is down.")

func (u *unreliable) AddHistory(ctx context.Context, b usage.HistoryBatch) error {
	if released := u.released.Load(); released != nil {
		<-*released
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.added++
	if u.before {
		return errStore
	}
	err := u.HistoryStore.AddHistory(ctx, b)
	if u.after {
		return errors.Join(err, errStore)
	}
	return err
}

func (u *unreliable) fail(before, after bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.before, u.after = before, after
}

func (u *unreliable) batches() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.added
}

func openStore(t *testing.T) *unreliable {
	t.Helper()
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "registry.db"), sqlregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &unreliable{HistoryStore: r}
}

func history(t *testing.T, store usage.HistoryStore, c *calling) *usage.History {
	t.Helper()
	h, err := usage.NewHistory(usage.HistoryOptions{
		Store: store, Day: c.today, Decided: c.tell, DecidedOf: c.tellOf, Days: 400, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// recording runs f while a history of its own follows the calls, on a faked clock that begins at 2000-01-01T00:00:00Z.
func recording(t *testing.T, f func(c *calling, store *unreliable, h *usage.History)) {
	store := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		c := newCalling(t, "UTC", "00:00")
		h := history(t, store, c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.Follow(ctx); close(done) }()
		f(c, store, h)
		cancel()
		<-done
	})
}

// shown returns the buckets with anything in them, by their start or day.
func shown(t *testing.T, buckets []usage.Bucket, err error) map[string]usage.Calls {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]usage.Calls{}
	for _, b := range buckets {
		key := b.Day.String()
		if !b.Start.IsZero() {
			key = b.Start.Format(time.RFC3339)
		}
		if b.Calls != (usage.Calls{}) {
			got[key] = b.Calls
		}
	}
	return got
}

func wantShown(t *testing.T, what string, got, want map[string]usage.Calls) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestHistoryByHour(t *testing.T) {
	recording(t, func(c *calling, _ *unreliable, h *usage.History) {
		time.Sleep(90 * time.Minute)
		c.call("posts.create", usage.Calls{Admitted: 3, Refused: 2, RefusedForMember: 1})
		c.call("posts.find", usage.Calls{Admitted: 4})
		for range 2 { // what was not written, and the same when it was
			got, err := h.Hours(t.Context(), "acme", "posts.create")
			wantShown(t, "an endpoint", shown(t, got, err), map[string]usage.Calls{"2000-01-01T01:00:00Z": {Admitted: 3, Refused: 2, RefusedForMember: 1}})
			if len(got) != 2 {
				t.Errorf("%d hours have begun, want 2", len(got))
			}
			got, err = h.Hours(t.Context(), "acme", "")
			wantShown(t, "all of them", shown(t, got, err), map[string]usage.Calls{"2000-01-01T01:00:00Z": {Admitted: 7, Refused: 2, RefusedForMember: 1}})
			got, err = h.Hours(t.Context(), "beta", "")
			wantShown(t, "another application", shown(t, got, err), map[string]usage.Calls{})
			time.Sleep(10 * time.Second)
		}
		// The last call of an hour, and the first of the next.
		time.Sleep(time.Until(c.today().Start.Add(2*time.Hour)) - time.Millisecond)
		c.call("posts.find", usage.Calls{Admitted: 10})
		time.Sleep(2 * time.Millisecond)
		c.call("posts.find", usage.Calls{Admitted: 20})
		got, err := h.Hours(t.Context(), "acme", "posts.find")
		wantShown(t, "over the hour", shown(t, got, err), map[string]usage.Calls{"2000-01-01T01:00:00Z": {Admitted: 14}, "2000-01-01T02:00:00Z": {Admitted: 20}})
	})
}

// A day's hours begin with the day, in whichever zone; daylight saving makes one shorter and one longer.
func TestHistoryHoursOfADay(t *testing.T) {
	for _, test := range []struct {
		zone, starts string
		sleep        time.Duration
		first, last  string
		hours        int
	}{
		{"UTC", "00:00", 0, "2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z", 1},
		{"UTC", "23:30", 0, "1999-12-31T23:30:00Z", "1999-12-31T23:30:00Z", 1},
		{"Asia/Kolkata", "00:00", time.Hour, "1999-12-31T18:30:00Z", "2000-01-01T00:30:00Z", 7},
		{"Europe/Berlin", "00:00", 86*24*time.Hour - 2*time.Hour - time.Minute, "2000-03-25T23:00:00Z", "2000-03-26T21:00:00Z", 23},
		{"Europe/Berlin", "00:00", 303*24*time.Hour - time.Hour - time.Minute, "2000-10-28T22:00:00Z", "2000-10-29T22:00:00Z", 25},
	} {
		t.Run(test.zone+" "+test.starts, func(t *testing.T) {
			store := openStore(t)
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(test.sleep)
				c := newCalling(t, test.zone, test.starts)
				h := history(t, store, c)
				c.call("*", usage.Calls{Admitted: 1})
				if err := h.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				got, err := h.Hours(t.Context(), "acme", "*")
				wantShown(t, "hours", shown(t, got, err), map[string]usage.Calls{test.last: {Admitted: 1}})
				if len(got) != test.hours || got[0].Start.Format(time.RFC3339) != test.first || got[0].Day != c.today().Date {
					t.Errorf("%d hours from %v", len(got), got[0])
				}
			})
		})
	}
}

func TestHistoryOverTheReset(t *testing.T) {
	recording(t, func(c *calling, _ *unreliable, h *usage.History) {
		first := c.today()
		time.Sleep(time.Until(first.End) - 10*time.Millisecond)
		c.call("*", usage.Calls{Admitted: 1})
		time.Sleep(20 * time.Millisecond)
		c.call("*", usage.Calls{Admitted: 2})
		c.callOn(first, "*", usage.Calls{Admitted: 4}) // decided before the reset, told after it
		time.Sleep(3 * time.Second)
		c.callOn(first, "*", usage.Calls{Admitted: -1}) // overtaken by the reset
		got, err := h.Hours(t.Context(), "acme", "*")
		wantShown(t, "today", shown(t, got, err), map[string]usage.Calls{"2000-01-02T00:00:00Z": {Admitted: 2}})
		for range 2 {
			got, err = h.Days(t.Context(), "acme", "", 30)
			wantShown(t, "by day", shown(t, got, err), map[string]usage.Calls{"2000-01-01": {Admitted: 4}, "2000-01-02": {Admitted: 2}})
			if len(got) != 30 || got[0].Day != first.Date-28 || got[29].Day != first.Date+1 {
				t.Errorf("%d days: %v", len(got), got)
			}
			time.Sleep(10 * time.Second)
		}
	})
	store := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		h := history(t, store, newCalling(t, "UTC", "00:00"))
		for _, days := range []int{0, -1, usage.MaxHistoryDays + 1} {
			if _, err := h.Days(t.Context(), "acme", "", days); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%d days: %v", days, err)
			}
		}
	})
}

// A crash loses the last seconds and counts nothing twice; a stop loses nothing.
func TestHistoryAfterARestart(t *testing.T) {
	store := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		c := newCalling(t, "UTC", "00:00")
		for range 3 { // crashes
			h := history(t, store, c)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { h.Follow(ctx); close(done) }()
			c.call("*", usage.Calls{Admitted: 1})
			time.Sleep(10*time.Second + 500*time.Millisecond)
			c.call("*", usage.Calls{Admitted: 100})
			time.Sleep(time.Second)
			synctest.Wait()
			cancel()
			<-done
		}
		h := history(t, store, c)
		c.call("*", usage.Calls{Admitted: 1000})
		if err := h.Close(t.Context()); err != nil { // a stop
			t.Fatal(err)
		}
		got, err := history(t, store, c).Hours(t.Context(), "acme", "")
		wantShown(t, "after all", shown(t, got, err), map[string]usage.Calls{"2000-01-01T00:00:00Z": {Admitted: 1003}})
	})
}

func TestHistoryWhileTheStoreFails(t *testing.T) {
	recording(t, func(c *calling, store *unreliable, h *usage.History) {
		want := func(what string, admitted int64) {
			t.Helper()
			got, err := h.Hours(t.Context(), "acme", "*")
			wantShown(t, what, shown(t, got, err), map[string]usage.Calls{"2000-01-01T00:00:00Z": {Admitted: admitted}})
		}
		store.fail(true, false)
		for range 10 {
			c.call("*", usage.Calls{Admitted: 1})
			time.Sleep(10 * time.Second)
		}
		want("while nothing is added", 10)
		store.fail(false, false)
		time.Sleep(10 * time.Second)
		want("when it is added", 10)
		store.fail(false, true)
		c.call("*", usage.Calls{Admitted: 1})
		time.Sleep(10 * time.Second)
		want("while it is added, and is said not to be", 11)
		c.call("*", usage.Calls{Admitted: 1})
		store.fail(false, false)
		time.Sleep(20 * time.Second)
		want("when it was added, and said that it was not", 12)
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.fail(true, false)
		c.call("*", usage.Calls{Admitted: 1})
		if err := h.Close(t.Context()); !errors.Is(err, errStore) {
			t.Errorf("Close: %v", err)
		}
	})
}

// Who does nothing costs the store nothing.
func TestHistoryOfNothing(t *testing.T) {
	recording(t, func(_ *calling, store *unreliable, _ *usage.History) {
		time.Sleep(time.Hour)
		if n := store.batches(); n > 0 {
			t.Errorf("%d batches of nothing were added", n)
		}
	})
}

func TestOldHistoryIsForgotten(t *testing.T) {
	recording(t, func(c *calling, store *unreliable, h *usage.History) {
		old := c.today().Date - 401
		b := usage.HistoryBatch{Writer: "w"}
		for range 3 {
			b.Number++
			b.Rows = nil
			for range usage.MaxHistoryRows {
				b.Rows = append(b.Rows, usage.HistoryRow{Application: "acme", Bucket: usage.Bucket{
					Day: old - quota.Date(len(b.Rows)/24) + quota.Date(b.Number) - 1, Start: time.Now().Add(time.Duration(len(b.Rows)) * time.Hour), Calls: usage.Calls{Admitted: 1},
				}})
			}
			if err := store.AddHistory(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		if more, err := store.ForgetHistory(t.Context(), old+1); more || err != nil {
			t.Errorf("more is %t, %v", more, err)
		}
		kept, _, err := store.HistoryByDay(t.Context(), "acme", "", old-100, old+10, "w")
		if err != nil || len(kept) != 2 || kept[0].Day != old+1 {
			t.Errorf("kept %v, %v", kept, err)
		}
	})
}

// Many call and read at once, while the history is written: each reading finds every call that came before it, once.
func TestHistoryIsReadWhileItIsWritten(t *testing.T) {
	recording(t, func(c *calling, _ *unreliable, h *usage.History) {
		for i := range int64(200) {
			c.call("*", usage.Calls{Admitted: 1})
			if i%3 == 0 {
				go func() { _ = h.Close(t.Context()) }()
			}
			got, err := h.Hours(t.Context(), "acme", "")
			wantShown(t, "hours", shown(t, got, err), map[string]usage.Calls{"2000-01-01T00:00:00Z": {Admitted: i + 1}})
		}
	})
}

// Who reads waits for no write.
func TestHistoryIsReadWhileAWriteHangs(t *testing.T) {
	recording(t, func(c *calling, store *unreliable, h *usage.History) {
		c.call("*", usage.Calls{Admitted: 1})
		time.Sleep(10 * time.Second)
		release := store.hang()
		defer release()
		c.call("*", usage.Calls{Admitted: 1})
		time.Sleep(10 * time.Second)
		c.call("*", usage.Calls{Admitted: 1})
		began := time.Now()
		for _, endpoint := range []string{"", "*"} {
			got, err := h.Hours(t.Context(), "acme", endpoint)
			wantShown(t, "hours", shown(t, got, err), map[string]usage.Calls{"2000-01-01T00:00:00Z": {Admitted: 3}})
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a reading waited %v for a write", waited)
		}
	})
}

// counted is a store that counts what is added, and fails when it is told to.
type counted struct {
	usage.HistoryStore
	mu      sync.Mutex
	err     error // guarded by mu
	of, all int64 // guarded by mu: calls by endpoints, and those to all endpoints together
	last    int64 // guarded by mu: batch
}

func (s *counted) AddHistory(_ context.Context, b usage.HistoryBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.last = b.Number
	for _, row := range b.Rows {
		if row.Endpoint == "" {
			s.all += row.Admitted
		} else {
			s.of += row.Admitted
		}
	}
	return nil
}

func (s *counted) HistoryByHour(context.Context, string, string, quota.Date, string) ([]usage.Bucket, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil, s.last, nil
}

func (s *counted) ForgetHistory(context.Context, quota.Date) (more bool, err error) {
	return false, nil
}

func (s *counted) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// crowded are many applications that each call two endpoints, in turn.
type crowded struct {
	mu   sync.Mutex
	day  quota.Day
	left []int64 // guarded by mu: calls that were not told, by application and endpoint
	next int     // guarded by mu: whose are told next
}

func (c *crowded) call() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.left {
		c.left[i]++
	}
}

func (c *crowded) today() quota.Day { return c.day }

func (c *crowded) tell(tell func(usage.Decided) bool) (all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next < len(c.left) {
		d, ok := c.takeLocked(c.next)
		c.next++
		if ok && !tell(d) {
			return false
		}
	}
	c.next = 0
	return true
}

func (c *crowded) takeLocked(i int) (d usage.Decided, ok bool) {
	calls := c.left[i]
	c.left[i] = 0
	return usage.Decided{Day: c.day, Application: fmt.Sprint("app-", i/2), Endpoint: fmt.Sprint("e", i%2), Calls: usage.Calls{Admitted: calls}}, calls > 0
}

func (c *crowded) tellOf(application string, tell func(usage.Decided)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int
	if _, err := fmt.Sscanf(application, "app-%d", &n); err != nil || n < 0 || 2*n >= len(c.left) {
		return
	}
	for i := 2 * n; i < 2*n+2; i++ {
		if d, ok := c.takeLocked(i); ok {
			tell(d)
		}
	}
}

// More applications call than history can wait in memory: nothing is lost, though the store fails for a while.
func TestHistoryOfACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const applications = 150_000
		rule, err := quota.NewDayRule("UTC", "00:00")
		if err != nil {
			t.Fatal(err)
		}
		c, store := &crowded{day: rule.At(time.Now()), left: make([]int64, 2*applications)}, &counted{}
		h, err := usage.NewHistory(usage.HistoryOptions{
			Store: store, Day: c.today, Decided: c.tell, DecidedOf: c.tellOf, Days: 400, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.Follow(ctx); close(done) }()
		store.fail(errStore)
		for range 3 {
			c.call()
			time.Sleep(6 * time.Second)
		}
		got, err := h.Hours(t.Context(), fmt.Sprint("app-", applications-1), "")
		wantShown(t, "while the store fails", shown(t, got, err), map[string]usage.Calls{"2000-01-01T00:00:00Z": {Admitted: 6}})
		store.fail(nil)
		time.Sleep(time.Minute)
		cancel()
		<-done
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if store.of != 6*applications || store.all != 6*applications {
			t.Errorf("%d calls by endpoints and %d in all were added, want %d", store.of, store.all, 6*applications)
		}
	})
}

// BenchmarkHours reads the history of one of 150,000 applications that call, two endpoints each, of which two thirds wait to be written.
func BenchmarkHours(b *testing.B) {
	c, store := &crowded{day: day("2026-11-23"), left: make([]int64, 300_000)}, &counted{err: errStore}
	c.call()
	h, err := usage.NewHistory(usage.HistoryOptions{
		Store: store, Day: c.today, Decided: c.tell, DecidedOf: c.tellOf, Days: 400, Now: func() time.Time { return c.day.Start }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Close(b.Context()); err == nil {
		b.Fatal("nothing waits")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hours(b.Context(), "app-7", ""); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHistoryOptions(t *testing.T) {
	if _, err := usage.NewHistory(usage.HistoryOptions{}); err == nil {
		t.Error("no options are taken")
	}
}

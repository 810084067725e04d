package protect_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/protect"
)

func open(t testing.TB, o protect.Options) *protect.Limiter {
	t.Helper()
	l, err := protect.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOptions(t *testing.T) {
	for _, o := range []protect.Options{{Least: -1}, {Least: 3, Most: 2}, {Most: -1}, {Tolerance: -1}} {
		if _, err := protect.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if s := open(t, protect.Options{Least: 20_000}).State(); s.Limit != 20_000 {
		t.Errorf("%+v", s)
	}
	if s := open(t, protect.Options{}).State(); s != (protect.State{Limit: protect.DefaultMost}) {
		t.Errorf("%+v", s)
	}
}

func TestPermit(t *testing.T) {
	l := open(t, protect.Options{Most: 2})
	waiting := func(n int) {
		t.Helper()
		if s := l.State(); s.Waiting != n {
			t.Errorf("%d wait, want %d", s.Waiting, n)
		}
	}
	var none protect.Permit
	none.Pause()
	none.Resume()
	none.Answered(true)
	none.Unreached()
	none.Release()

	var a, b, c protect.Permit
	enter := func(p *protect.Permit) {
		t.Helper()
		if err := l.Enter("e", p); err != nil {
			t.Fatal(err)
		}
	}
	enter(&a)
	enter(&b)
	if err := l.Enter("e", &c); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("the third: %v", err)
	}
	c.Release()
	waiting(2)
	a.Pause()
	a.Pause()
	waiting(1)
	enter(&c)
	a.Resume() // it needs no room
	a.Resume()
	waiting(3)
	a.Answered(false)
	a.Answered(false)
	a.Release()
	waiting(2)
	b.Release()
	b.Release()
	b.Answered(true)
	c.Pause()
	c.Answered(false)
	waiting(0)
	enter(&c)
	c.Unreached()
	c.Unreached()
	waiting(0)
	if s := l.State(); s.Admitted != 4 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

// A limiter that many use at once protects an upstream that works on eight calls at a time, and lets go when that is well again.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder // what is read when nothing else runs
		l := open(t, protect.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		workers := make(chan struct{}, 8)
		var slow atomic.Bool
		var all sync.WaitGroup
		load := func(perSecond int, seconds int) {
			for range perSecond * seconds {
				all.Go(func() {
					var p protect.Permit
					defer p.Release()
					if l.Enter("e", &p) != nil {
						return
					}
					workers <- struct{}{}
					defer func() { <-workers }()
					if slow.Load() {
						time.Sleep(500 * time.Millisecond)
					} else {
						time.Sleep(5 * time.Millisecond)
					}
					p.Answered(false)
				})
				time.Sleep(time.Second / time.Duration(perSecond))
			}
		}
		load(64, 5)
		if s := l.State(); s.Limiting || s.Refused > 0 || s.Latency != 5*time.Millisecond || s.UsualLatency == 0 {
			t.Errorf("well: %+v", s)
		}
		slow.Store(true)
		load(64, 8)
		if s := l.State(); !s.Limiting || s.Refused == 0 || s.Limit < 8 || s.Limit > 24 || s.Waiting > s.Limit {
			t.Errorf("slow: %+v", s)
		}
		slow.Store(false)
		load(64, 10)
		refused := l.State().Refused
		load(64, 5)
		all.Wait()
		if s := l.State(); s.Limiting || s.Waiting != 0 || s.Refused != refused {
			t.Errorf("recovered: %+v, %d refused before", s, refused)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], " latency=5ms ") ||
			!strings.Contains(lines[1], "level=INFO") || !strings.HasSuffix(lines[1], fmt.Sprint(" refused=", refused)) {
			t.Errorf("logged:\n%s", log.String())
		}
	})
}

// The clock may be set back.
func TestClock(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := open(t, protect.Options{Now: func() time.Time { return now }})
	var p protect.Permit
	if err := l.Enter("e", &p); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	p.Answered(false)
	if s := l.State(); s.Waiting != 0 || s.Latency < 0 {
		t.Errorf("%+v", s)
	}
}

func TestTogether(t *testing.T) {
	l := open(t, protect.Options{Most: 50})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for i := range 200 {
				var p protect.Permit
				if l.Enter("e", &p) != nil {
					continue
				}
				var body sync.WaitGroup
				body.Go(func() { p.Pause(); p.Resume() })
				body.Wait()
				if i%3 == 0 {
					p.Release()
				} else {
					p.Answered(i%5 == 0)
				}
			}
		})
	}
	all.Wait()
	if s := l.State(); s.Waiting != 0 || s.Admitted+s.Refused != 100*200 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkPermit(b *testing.B) {
	l := open(b, protect.Options{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var p protect.Permit
			if err := l.Enter("posts.create", &p); err != nil {
				b.Error(err)
				return
			}
			p.Answered(false)
			p.Release()
		}
	})
}

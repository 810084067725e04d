package protect

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// slowdown is an upstream whose answers take 5 ms, and from 20 s to 40 s half a second.
func slowdown(spread func(time.Duration) time.Duration) func(time.Duration, string) (time.Duration, bool) {
	return func(now time.Duration, _ string) (time.Duration, bool) {
		if now >= 20*s && now < 40*s {
			return spread(500 * ms), false
		}
		return spread(5 * ms), false
	}
}

// An upstream slows down a hundredfold and recovers, under four times what it can do: slow or well.
func TestOverload(t *testing.T) {
	even := func(d time.Duration) time.Duration { return d }
	random := rand.New(rand.NewPCG(3, 4))
	for _, workers := range []int{4, 8, 10, 32, 64} {
		for _, spread := range []struct {
			name string
			of   func(time.Duration) time.Duration
			p99  float64 // of one call by itself, in units of the mean
			good float64 // what is wanted of what the slow upstream can do; less where a few answers say little of the mean
		}{
			{"even", even, 1, 0.8},
			{"uneven", func(d time.Duration) time.Duration { return d/2 + time.Duration(random.Float64()*float64(d)) }, 1.49, 0.8},
			{"exponential", func(d time.Duration) time.Duration { return time.Duration(random.ExpFloat64() * float64(d)) }, 4.6, 0.65},
		} {
			for _, load := range []float64{4 * float64(workers) / 0.5, 4 * float64(workers) / 0.005} {
				if load > 7000 {
					continue // it would take long, and tell no more
				}
				t.Run(fmt.Sprintf("%d workers, %s, %.0f calls a second", workers, spread.name, load), func(t *testing.T) {
					x := simulate(workers, slowdown(spread.of))
					x.load(load, 60*s, only("e"))
					x.run(120 * s)
					can := float64(workers) / 0.5
					slow := x.figures(20*s, 40*s)
					settled := x.figures(25*s, 40*s)
					t.Logf("slow: %.2f of what it can do; from 5 s on p50 %v, p99 %v, %.2f", float64(slow.good)/(20*can), settled.p50, settled.p99, float64(settled.good)/(15*can))
					if got := float64(slow.good) / (20 * can); got < spread.good {
						t.Errorf("goodput %.2f of what the slow upstream can do, want %.2f", got, spread.good)
					}
					if most := time.Duration(3 * spread.p99 * float64(500*ms)); settled.p99 > most {
						t.Errorf("p99 %v from 5 s on, want at most %v", settled.p99, most)
					}
					after := x.figures(50*s, 60*s)
					if can := min(load, float64(workers)/0.005) * 10; float64(after.good) < 0.9*can {
						t.Errorf("10 s after the recovery %d calls are answered in 10 s, want %.0f", after.good, 0.9*can)
					}
					if load < float64(workers)/0.005 && after.refused > 0 {
						t.Errorf("10 s after the recovery %d calls are refused", after.refused)
					}
				})
			}
		}
	}
}

// An upstream that has too much to do from the first call on is not taken for a slow one: it is noticed within two seconds, and what was let in
// until then is worked off in three times that.
func TestOverloadFromTheStart(t *testing.T) {
	for _, workers := range []int{4, 8} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			x := simulate(workers, func(time.Duration, string) (time.Duration, bool) { return 5 * ms, false })
			can := float64(workers) / 0.005
			x.load(4*can, 15*s, only("e"))
			x.run(30 * s)
			if most := int(2 * 3 * can); x.most > most {
				t.Errorf("%d calls waited at a time, want at most %d", x.most, most)
			}
			f := x.figures(8*s, 15*s)
			if f.p99 == 0 || f.p99 > 50*ms {
				t.Errorf("p99 %v from 8 s on", f.p99)
			}
			if got := float64(f.good) / (7 * can); got < 0.8 {
				t.Errorf("goodput %.2f from 8 s on", got)
			}
		})
	}
}

// Calls that all have a body, as POSTs do, teach the guard as much as others: after a hiccup it lets all in again.
func TestBodies(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for _, c := range []struct {
		name  string
		sends func() time.Duration
	}{
		{"at once", func() time.Duration { return 0 }},
		{"over a network", func() time.Duration { return time.Duration(random.ExpFloat64() * float64(20*ms)) }},
		{"slowly", func() time.Duration { return s/2 + time.Duration(random.Float64()*float64(2*s)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			const workers, hiccup, over = 10, 20 * s, 24 * s
			x := simulate(workers, func(now time.Duration, _ string) (time.Duration, bool) {
				if now >= hiccup && now < over {
					return 500 * ms, false
				}
				return 5 * ms, false
			})
			x.sends = c.sends
			x.load(500, 60*s, only("e"))
			x.run(90 * s)
			if f := x.figures(hiccup, over); f.refused == 0 {
				t.Fatal("the hiccup was none")
			}
			if f := x.figures(over+10*s, 60*s); f.refused > 0 || f.good == 0 {
				t.Errorf("10 s after the hiccup %d calls are refused, %d answered; limit %d, mode %d", f.refused, f.good, x.guard.limit, x.guard.mode)
			}
		})
	}
}

// An upstream that stays slow is kept at what it can do by calls with bodies, too.
func TestOverloadOfBodies(t *testing.T) {
	const workers = 10
	x := simulate(workers, slowdown(func(d time.Duration) time.Duration { return d }))
	x.sends = func() time.Duration { return time.Duration(x.rng.ExpFloat64() * float64(20*ms)) }
	x.load(1000, 60*s, only("e"))
	x.run(120 * s)
	const can = workers / 0.5
	if f := x.figures(20*s, 40*s); float64(f.good) < 0.8*20*can {
		t.Errorf("%d calls are answered in 20 s, want 0.8 of %.0f", f.good, 20*can)
	}
	if f := x.figures(25*s, 40*s); f.p99 > 1500*ms {
		t.Errorf("p99 %v from 5 s on", f.p99)
	}
	if f := x.figures(50*s, 60*s); f.refused > 0 {
		t.Errorf("10 s after the recovery %d calls are refused", f.refused)
	}
}

// Nobody is refused by an upstream that is well.
func TestHealthy(t *testing.T) {
	fixed := func(d time.Duration) func(time.Duration, string) (time.Duration, bool) {
		return func(time.Duration, string) (time.Duration, bool) { return d, false }
	}
	random := rand.New(rand.NewPCG(5, 6))
	mixed := func() string {
		if random.IntN(4) == 0 {
			return "slow"
		}
		return "quick"
	}
	for _, c := range []struct {
		name string
		x    *simulation
		load func(*simulation)
	}{
		{"64 callers", simulate(1000, fixed(5*ms)), func(x *simulation) { x.callers(64, 30*s, only("e")) }},
		{"1,000 callers of an upstream that takes 2 s", simulate(10_000, fixed(2*s)), func(x *simulation) { x.callers(1000, 60*s, only("e")) }},
		{"1,000 callers of a machine with two processors", simulate(2, fixed(200*time.Microsecond)), func(x *simulation) { x.callers(1000, 20*s, only("e")) }},
		{"one caller, then 1,000 of a machine with two processors", simulate(2, fixed(300*time.Microsecond)), func(x *simulation) {
			x.callers(1, 20*s, only("e"))
			x.at(10*s, func() { x.callers(999, 20*s, only("e")) })
		}},
		{"answers whose time is drawn anew for each", simulate(10_000, func(time.Duration, string) (time.Duration, bool) {
			return time.Duration(random.ExpFloat64() * float64(s)), false
		}), func(x *simulation) { x.load(300, 60*s, only("e")) }},
		{"half of the answers from a cache", simulate(10_000, func(time.Duration, string) (time.Duration, bool) {
			return []time.Duration{ms, 1500 * ms}[random.IntN(2)], false
		}), func(x *simulation) { x.load(300, 60*s, only("e")) }},
		{"quick and slow endpoints", simulate(10_000, func(_ time.Duration, e string) (time.Duration, bool) {
			return map[string]time.Duration{"quick": 2 * ms, "slow": 5 * s}[e], false
		}), func(x *simulation) { x.load(200, 60*s, mixed) }},
		{"a slow endpoint that is called of a sudden", simulate(10_000, func(_ time.Duration, e string) (time.Duration, bool) {
			return map[string]time.Duration{"quick": 2 * ms, "slow": 5 * s}[e], false
		}), func(x *simulation) {
			x.load(50, 60*s, only("quick"))
			x.at(20*s, func() { x.load(500, 60*s, only("slow")) })
		}},
		{"64 callers of an upstream that stands still for a second now and then", simulate(1000, func(now time.Duration, _ string) (time.Duration, bool) {
			if now%(7*s) < 50*ms && now > 7*s {
				return s, false
			}
			return 5 * ms, false
		}), func(x *simulation) { x.callers(64, 60*s, only("e")) }},
		{
			"an endpoint that always fails", simulate(1000, func(_ time.Duration, e string) (time.Duration, bool) { return ms, e == "slow" }),
			func(x *simulation) { x.load(1000, 60*s, only("slow")) },
		},
		{
			"a quarter fails", simulate(1000, func(_ time.Duration, e string) (time.Duration, bool) { return ms, e == "slow" }),
			func(x *simulation) { x.load(1000, 60*s, mixed) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.load(c.x)
			c.x.run(90 * s)
			if f := c.x.figures(0, 90*s); f.refused > 0 || f.good+f.failed == 0 {
				t.Errorf("%+v; usual %+v", f, c.x.guard.endpoints["e"])
			}
		})
	}
}

// What is late because the node has no time for it is not the upstream's doing.
func TestBusy(t *testing.T) {
	for _, lag := range []time.Duration{10 * ms, 200 * ms} {
		x := simulate(100_000, func(now time.Duration, _ string) (time.Duration, bool) {
			if now > 10*s && now < 15*s {
				return 3 * s, false
			}
			return 5 * ms, false
		})
		x.load(200, 20*s, only("e"))
		for at := 10 * s; at < 20*s; at += tick {
			x.at(at, func() { x.guard.beat(x.now, lag) })
		}
		x.run(40 * s)
		if f := x.figures(0, 40*s); (f.refused > 0) != (lag < busy) {
			t.Errorf("%d calls are refused when a timer is %v late", f.refused, lag)
		}
	}
}

// An upstream that only became slower, and can work on as many calls as before, is soon limited no longer: slow is what is usual then.
func TestSlowerForGood(t *testing.T) {
	x := simulate(100_000, func(now time.Duration, _ string) (time.Duration, bool) {
		if now > 20*s {
			return 2 * s, false
		}
		return 5 * ms, false
	})
	x.load(500, 120*s, only("e"))
	x.run(150 * s)
	if f := x.figures(80*s, 120*s); f.refused > 0 {
		t.Errorf("%d of %d calls are refused a minute later", f.refused, f.refused+f.good)
	}
	if x.guard.mode != open {
		t.Errorf("mode %v", x.guard.mode)
	}
}

// An upstream that answers nothing is noticed though there is no answer that is slow, and does not have to answer what it has
// forgotten to be taken for well again.
func TestHang(t *testing.T) {
	x := simulate(100_000, func(now time.Duration, _ string) (time.Duration, bool) {
		if now > 20*s && now < 40*s {
			return 60 * s, true
		}
		return 5 * ms, false
	})
	x.load(500, 120*s, only("e"))
	x.run(200 * s)
	if f := x.figures(20*s, 40*s); f.failed > 450 {
		t.Errorf("%d calls were let in to hang", f.failed)
	}
	if f := x.figures(50*s, 120*s); f.refused > 0 {
		t.Errorf("%d calls are refused from 10 s after the recovery on", f.refused)
	}
}

// An upstream that is down gets a few calls a second, by which its return is noticed.
func TestDown(t *testing.T) {
	x := simulate(100_000, func(now time.Duration, _ string) (time.Duration, bool) { return ms, now > 20*s && now < 40*s })
	x.load(500, 60*s, only("e"))
	x.run(90 * s)
	if f := x.figures(25*s, 40*s); f.failed > 15*50 || f.failed < 15 {
		t.Errorf("%d calls went to an upstream that was down for 15 s", f.failed)
	}
	if f := x.figures(45*s, 60*s); f.refused > 0 || f.failed > 0 {
		t.Errorf("%+v from 5 s after its return on", f)
	}
}

// An upstream that was never there is noticed, too, and when it comes it is taken for well.
func TestNeverThere(t *testing.T) {
	x := simulate(100_000, func(now time.Duration, _ string) (time.Duration, bool) { return ms, now < 40*s })
	x.how = unreached
	x.load(500, 60*s, only("e"))
	x.run(90 * s)
	if f := x.figures(0, 5*s); f.failed > 5*250 {
		t.Errorf("in the first 5 s %d calls went to an upstream that was not there", f.failed)
	}
	if f := x.figures(5*s, 40*s); f.failed > 35*50 || f.failed < 35 {
		t.Errorf("then %d calls in 35 s", f.failed)
	}
	if f := x.figures(45*s, 60*s); f.refused > 0 || f.failed > 0 || f.good == 0 {
		t.Errorf("%+v from 5 s after its coming on", f)
	}
	if f := x.guard.endpoints["e"].failing; f > 0 {
		t.Errorf("%.2f of the failures are taken for usual", f)
	}
}

// A call now and then that finds no connection, as while an upstream is replaced, is no trouble.
func TestUnreachedNowAndThen(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	x := simulate(100_000, func(time.Duration, string) (time.Duration, bool) { return ms, random.IntN(2) == 0 })
	x.how = unreached
	x.load(500, 60*s, only("e"))
	x.run(90 * s)
	if f := x.figures(0, 60*s); f.refused > 0 || f.good == 0 {
		t.Errorf("where half find one: %+v", f)
	}
}

// An upstream that fails what is too much for it gets less.
func TestSheds(t *testing.T) {
	var x *simulation
	x = simulate(100_000, func(now time.Duration, _ string) (time.Duration, bool) {
		if now > 20*s && x.busy > 20 {
			return 20 * ms, true
		}
		return 50 * ms, false
	})
	x.load(2000, 60*s, only("e"))
	x.run(90 * s)
	if f := x.figures(30*s, 60*s); float64(f.good) < 0.7*30*20/0.05 || f.failed > f.good/3 {
		t.Errorf("of an upstream that can answer 12,000 calls: %+v", f)
	}
}

// Whatever happens, the guard's books are right, and its limit is within its bounds.
func TestBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(1, 10).Draw(t, "least")
		most := least + rapid.IntRange(0, 60).Draw(t, "room")
		g := newGuard(least, most, 20*ms)
		var now time.Duration
		var open []*ticket
		var in, out int64
		check := func() {
			waiting, judged := 0, int32(0)
			sampled, since := 0, time.Duration(0)
			for _, t := range open {
				if t.stage == waits {
					waiting++
					if t.sampled && t.round == g.round {
						sampled++
						since += t.since
					}
					if t.due != 0 && t.due >= g.lateness.now {
						judged++
					}
				}
			}
			for _, n := range g.due {
				if n < 0 {
					t.Fatalf("%d calls are due at a time", n)
				}
				judged -= n
			}
			if g.waiting != waiting || judged != 0 {
				t.Fatalf("waiting %d, want %d; %d too few are judged", g.waiting, waiting, judged)
			}
			if w := &g.window; w.entered-w.calls-w.failed != sampled || w.since != since {
				t.Fatalf("the window waits for %d of %d calls, since %v; want %d, %v", w.entered-w.calls-w.failed, w.entered, w.since, sampled, since)
			}
			if g.limit < least || g.limit > most || g.admitted != in || g.refused != out {
				t.Fatalf("limit %d of %d to %d; admitted %d of %d, refused %d of %d", g.limit, least, most, g.admitted, in, g.refused, out)
			}
		}
		pick := func(do func(*ticket)) {
			if len(open) > 0 {
				do(open[rapid.IntRange(0, len(open)-1).Draw(t, "call")])
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				endpoint := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "endpoint")
				for range rapid.IntRange(1, 20).Draw(t, "calls") {
					if c, ok := g.enter(now, endpoint); ok {
						in++
						open = append(open, &c)
					} else {
						out++
					}
				}
				if g.waiting > most+len(open) {
					t.Fatal("more than the most")
				}
			},
			"pass":   func(t *rapid.T) { now += time.Duration(rapid.IntRange(0, int(300*ms)).Draw(t, "time")) },
			"jump":   func(t *rapid.T) { now += time.Duration(rapid.IntRange(0, int(300*s)).Draw(t, "time")) },
			"pause":  func(*rapid.T) { pick(func(c *ticket) { g.pause(now, c) }) },
			"resume": func(*rapid.T) { pick(func(c *ticket) { g.resume(now, c) }) },
			"leave": func(t *rapid.T) {
				how := outcome(rapid.IntRange(int(well), int(unreached)).Draw(t, "how"))
				pick(func(c *ticket) { g.leave(now, c, how) })
			},
			"leave many": func(t *rapid.T) {
				for _, c := range open {
					g.leave(now, c, well)
				}
				open = nil
			},
			"release": func(*rapid.T) { pick(func(c *ticket) { g.release(now, c) }) },
			"":        func(*rapid.T) { check() },
		})
	})
}

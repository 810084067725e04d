package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/quota"
)

var quiet = slog.New(slog.DiscardHandler)

// open returns a book over l whose day is the one that is running. The test closes it.
func open(t testing.TB, l Ledger, change ...func(*Options)) *Book {
	t.Helper()
	rule, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Ledger: l, Rule: rule, Day: rule.At(time.Now()), Logger: quiet}
	for _, f := range change {
		f(&o)
	}
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bubble runs f with a faked clock, a ledger and a book, which it closes.
func bubble(t *testing.T, f func(t *testing.T, l *modelLedger, b *Book), change ...func(*Options)) {
	synctest.Test(t, func(t *testing.T) {
		l := newModelLedger()
		b := open(t, l, change...)
		defer func() {
			if err := b.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}()
		f(t, l, b)
	})
}

// nearReset lets the running day end forty seconds after the test's clock starts.
func nearReset(o *Options) {
	o.Day.Date--
	o.Day.Start, o.Day.End = o.Day.Start.Add(40*time.Second-24*time.Hour), o.Day.Start.Add(40*time.Second)
}

func post(member string, application, perMember quota.Limit) Call {
	return Call{Application: "acme", Endpoint: "posts.create", Member: member, Limits: quota.Limits{Application: application, Member: perMember}, Cost: 1}
}

func take(t testing.TB, b *Book, c Call) quota.Decision {
	t.Helper()
	d, err := b.Take(context.Background(), c)
	if err != nil {
		t.Fatalf("Take: %v", err)
	}
	return d
}

// takeAll makes the call until it is refused and returns how often it was admitted.
func takeAll(t testing.TB, b *Book, c Call) (admitted int64) {
	t.Helper()
	for take(t, b, c).Admitted() {
		admitted += c.Cost
	}
	return admitted
}

var application = Counter{Application: "acme", Endpoint: "posts.create"}

func memberCounter(b *Book, member string) Counter {
	return Counter{Member: NewMemberKey(b.secret, "acme", "posts.create", member)}
}

func TestTakeVectors(t *testing.T) {
	for _, v := range testkit.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
				limits := v.Limits
				for i, c := range v.Calls {
					if c.Limits != nil {
						limits = *c.Limits
					}
					d := take(t, b, Call{Application: "acme", Endpoint: "posts.create", Member: c.Member, Limits: quota.Limits(limits), Cost: c.Cost})
					if d.Refused != c.Refused || d.Application.Used != c.Application {
						t.Fatalf("call %d: %+v, want %+v", i, d, c)
					}
					if c.Member != "" && !d.MemberUnknown && d.Member.Used != c.MemberUsed {
						t.Fatalf("call %d: member used %d, want %d", i, d.Member.Used, c.MemberUsed)
					}
				}
			})
		})
	}
}

// Many at once never get more than the limits allow, and always all of it.
func TestTakeIsExactUnderConcurrency(t *testing.T) {
	for _, cost := range []int64{1, 2} {
		t.Run(fmt.Sprint("cost ", cost), func(t *testing.T) {
			const members, limit, perMember = 40, 1000, 37
			l := newModelLedger()
			b := open(t, l)
			defer b.Close(context.Background())
			var application atomic.Int64
			var byMember [members]atomic.Int64
			var wg sync.WaitGroup
			for g := range 32 {
				wg.Go(func() {
					for i := range 200 {
						m := (g*7 + i) % members
						c := post(fmt.Sprint("m-", m), limit, perMember)
						c.Cost = cost
						d, err := b.Take(context.Background(), c)
						if err != nil {
							t.Error(err)
							return
						}
						if d.Admitted() {
							application.Add(cost)
							byMember[m].Add(cost)
						}
					}
				})
			}
			wg.Wait()
			if n := application.Load(); n != limit {
				t.Errorf("admitted %d calls of %d", n, limit)
			}
			for m := range byMember {
				if n := byMember[m].Load(); n > perMember {
					t.Errorf("member %d was admitted %d calls of %d", m, n, perMember)
				}
			}
		})
	}
}

func TestIdleLeasesGoBack(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for range 500 {
			take(t, b, post("m-1", 100_000, 10_000))
		}
		today := b.Day().Date
		if l.granted(today, application) <= 500 {
			t.Errorf("a busy counter holds no block: %d granted", l.granted(today, application))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := l.granted(today, application); got != 500 {
			t.Errorf("application: %d granted after two idle seconds, want 500", got)
		}
		if got := l.granted(today, memberCounter(b, "m-1")); got != 500 {
			t.Errorf("member: %d granted after two idle seconds, want 500", got)
		}
		if d := take(t, b, post("m-1", 100_000, 10_000)); d.Application.Used != 501 || d.Member.Used != 501 {
			t.Errorf("used %d and %d, want 501", d.Application.Used, d.Member.Used)
		}
	})
}

// A counter in steady use is refilled before it is empty, so that its calls need not wait for the ledger.
func TestSteadyUseIsToppedUp(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		waited := 0
		call := func() {
			asks := l.asked()
			take(t, b, post("m-1", 1_000_000, 10_000))
			if l.asked() != asks {
				waited++
			}
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
		}
		for range 60 {
			call()
		}
		waited = 0
		for range 600 { // half a minute
			call()
		}
		if waited > 0 {
			t.Errorf("%d of 600 calls in steady use waited for the ledger", waited)
		}
		if perSecond := float64(l.asked()) / 33; perSecond > 2*2 {
			t.Errorf("the ledger was asked %.1f times a second for two counters", perSecond)
		}
	})
}

// gatedLedger answers nobody while its gate is shut.
type gatedLedger struct {
	*modelLedger
	gate  atomic.Pointer[chan struct{}]
	asked atomic.Bool // a question waits at the gate
}

func (l *gatedLedger) Borrow(ctx context.Context, day quota.Day, asks []Ask, grants []Grant) error {
	if gate := l.gate.Load(); gate != nil {
		l.asked.Store(true)
		<-*gate
	}
	return l.modelLedger.Borrow(ctx, day, asks, grants)
}

// A ledger that does not answer while a counter is topped up holds up no call that can be paid from what is in hand, and what it
// grants in the end is not lost.
func TestTopUpHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &gatedLedger{modelLedger: newModelLedger()}
		b := open(t, l)
		defer b.Close(context.Background())
		call := post("m-1", 1_000_000, 10_000)
		taken := int64(0)
		steadily := func() {
			take(t, b, call)
			taken++
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
		}
		for range 100 {
			steadily()
		}
		gate := make(chan struct{})
		l.gate.Store(&gate)
		for i := 0; !l.asked.Load(); i++ {
			if i == 100 {
				t.Fatal("the account was not topped up")
			}
			steadily()
		}
		for range 5 {
			began := time.Now()
			take(t, b, call)
			taken++
			if waited := time.Since(began); waited > 0 {
				t.Errorf("a call that was in hand waited %v", waited)
			}
		}
		l.gate.Store(nil)
		close(gate)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		today := b.Day().Date
		if got := l.granted(today, memberCounter(b, "m-1")); got != taken {
			t.Errorf("member: %d granted when all is back, of %d calls taken", got, taken)
		}
		if got := l.granted(today, application); got != taken {
			t.Errorf("application: %d granted when all is back, of %d calls taken", got, taken)
		}
	})
}

// A counter whose use has stopped, or whose day has begun with leases borrowed ahead, forfeits no more in a crash than any other.
func TestForfeitBoundAfterSteadyUse(t *testing.T) {
	for _, test := range []struct {
		name   string
		cost   int64
		change []func(*Options)
	}{{"stop", 1, nil}, {"stop, cost 3", 3, nil}, {"reset", 1, []func(*Options){nearReset}}} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
				const limit = 10_000
				call := post("m-1", quota.Unlimited, limit)
				call.Cost = test.cost
				var uses []time.Time
				day, used := b.Day().Date, int64(0)
				look := func() {
					t.Helper()
					synctest.Wait()
					if today := b.Day().Date; today != day {
						day, used = today, 0
					}
					recent := int64(0)
					for j := len(uses) - 1; j >= 0 && time.Since(uses[j]) <= 2*time.Second; j-- {
						recent += test.cost
					}
					held := l.granted(day, memberCounter(b, "m-1")) - used
					if bound := max(test.cost, min(2*recent, limit/100)); used > 0 && held > bound {
						t.Fatalf("a crash would forfeit %d calls, more than %d (%d used in two seconds)", held, bound, recent)
					}
				}
				for range 45 * 20 { // over the reset, where there is one
					look()
					if d := take(t, b, call); !d.Admitted() {
						t.Fatal("refused")
					} else if d.Day.Date != day {
						day, used = d.Day.Date, 0
						uses = nil
					}
					used += test.cost
					uses = append(uses, time.Now())
					time.Sleep(50 * time.Millisecond)
				}
				for range 100 {
					look()
					time.Sleep(50 * time.Millisecond)
				}
			}, test.change...)
		})
	}
}

// What a crash at any moment would forfeit stays within the promise of the package comment.
func TestForfeitBound(t *testing.T) {
	for _, limit := range []quota.Limit{15, 31, 37, 150, 800, 10_000, quota.Unlimited} {
		t.Run(limit.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
				type use struct {
					at time.Time
				}
				var uses []use
				var used int64
				pause := []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 700 * time.Millisecond, 0, 0, 2 * time.Second, 100 * time.Millisecond}
				for i := range 2000 {
					if d := take(t, b, post("m-1", quota.Unlimited, limit)); d.Admitted() {
						used++
						uses = append(uses, use{time.Now()})
					}
					time.Sleep(pause[(i/50)%len(pause)])
					synctest.Wait()
					var recent int64
					for j := len(uses) - 1; j >= 0 && time.Since(uses[j].at) <= 2*time.Second; j-- {
						recent++
					}
					held := l.granted(b.Day().Date, memberCounter(b, "m-1")) - used
					if bound := max(1, min(2*recent, max(int64(limit)/100, min(8, int64(limit)/16)))); held > bound {
						t.Fatalf("call %d: a crash would forfeit %d calls, more than %d (%d used in two seconds)", i, held, bound, recent)
					}
				}
			})
		})
	}
}

func TestANewMemberCostsOneQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for i := range 1000 {
			take(t, b, post(fmt.Sprint("m-", i), quota.Unlimited, 150))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if perMember := float64(l.asks) / 1000; perMember > 1.1 {
			t.Errorf("%.2f asks a new member", perMember)
		}
	})
}

func TestARememberedRefusalAsksNobody(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		takeAll(t, b, post("m-1", 100, 7))
		asks := l.asks
		for range 1000 {
			if d := take(t, b, post("m-1", 100, 7)); d.Refused != quota.Member {
				t.Fatalf("refused by %v", d.Refused)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		take(t, b, post("m-1", 100, 7))
		if l.asks != asks {
			t.Errorf("%d more asks", l.asks-asks)
		}
		u, err := b.Usage(context.Background(), "acme")
		if err != nil || len(u) != 1 || u[0].Used != 7 || u[0].Refused != 1002 || u[0].RefusedForMember != 1002 {
			t.Errorf("usage %+v, %v", u, err)
		}
		m, err := b.MemberUsage(context.Background(), "acme", "m-1", []string{"posts.create", "posts.find"})
		if err != nil || m[0] != (MemberUsage{Used: 7, Refused: 1002}) || m[1] != (MemberUsage{}) {
			t.Errorf("member usage %+v, %v", m, err)
		}
	})
}

// An application that is used up is refused without its account's lock: what it is told, and what is counted, stay the same.
func TestAUsedUpApplication(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		take(t, b, post("m-1", 3, 5))
		take(t, b, post("m-2", 3, 5))
		take(t, b, post("", 3, 5))
		for range 10 {
			d := take(t, b, post("m-1", 3, 5))
			if d.Refused != quota.Application || d.Application.Used != 3 || d.MemberUnknown || d.Member.Used != 1 {
				t.Fatalf("used up: %+v", d)
			}
		}
		if d := take(t, b, post("m-3", 3, 5)); d.Refused != quota.Application || !d.MemberUnknown {
			t.Fatalf("a member never seen: %+v", d)
		}
		if n := takeAll(t, b, post("m-1", 5, 5)); n != 2 {
			t.Fatalf("%d calls were admitted when the limit rose by 2", n)
		}
		for _, limit := range []quota.Limit{2, 5} {
			if d := take(t, b, post("m-1", limit, 5)); d.Refused != quota.Application || d.Application.Remaining() != 0 {
				t.Fatalf("limit %d, 5 used: %+v", limit, d)
			}
		}
		const refused = 10 + 1 + 1 + 2
		counted := func(when string) {
			t.Helper()
			usage, err := b.Usage(t.Context(), "acme")
			if err != nil || len(usage) != 1 || usage[0].Used != 5 || usage[0].Refused != refused || usage[0].RefusedForMember != 0 {
				t.Fatalf("%s: usage is %+v, %v; want 5 used, %d refused", when, usage, err, refused)
			}
		}
		counted("at once")
		time.Sleep(2 * time.Second) // of the faked clock: the sweeper notes what was refused
		counted("after a sweep")
		for range 2 {
			take(t, b, post("m-1", 5, 5))
		}
		b.Decided(func(d Decided) bool {
			if d.Admitted != 5 || d.Refused != refused+2 || d.RefusedForMember != 0 {
				t.Errorf("decided: %+v", d)
			}
			return true
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		if r := l.counter(b.Day().Date, application); r.Refused != refused { // the last two are noted at the next sweep
			t.Errorf("the ledger counts %d refusals, want %d", r.Refused, refused)
		}
	})
}

// forgetfulLedger takes leases back, but says that it failed, while it loses its answers.
type forgetfulLedger struct {
	*modelLedger
	loses atomic.Bool
}

func (l *forgetfulLedger) Return(ctx context.Context, day quota.Day, returns []Return) error {
	if err := l.modelLedger.Return(ctx, day, returns); err != nil || !l.loses.Load() {
		return err
	}
	return errors.New("the answer was lost")
}

// What a node believes to be used while it cannot ask the ledger is forgotten once it can: nothing is refused for it then.
func TestARefusalOnCreditIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &forgetfulLedger{modelLedger: newModelLedger()}
		b := open(t, l, func(o *Options) { o.AdmitWhenDown = true })
		defer b.Close(context.Background())
		const used = 500
		for range used {
			take(t, b, post("", 10_000, 0))
		}
		limit := quota.Limit(l.granted(b.Day().Date, application)) // with the block in hand
		if limit == used {
			t.Fatal("no block is held")
		}
		l.loses.Store(true)
		time.Sleep(2 * time.Second) // the sweep gives the block back, and does not know whether it is
		synctest.Wait()
		l.loses.Store(false)
		l.set(errors.New("boom"))
		if d := take(t, b, post("", limit, 0)); d.Refused != quota.Application || d.Application.Remaining() != 0 {
			t.Fatalf("on credit, when all may be used: %+v", d)
		}
		l.set(nil)
		for n := int64(used + 1); n <= int64(limit); n++ {
			if d := take(t, b, post("", limit, 0)); !d.Admitted() || d.Application.Used != n {
				t.Fatalf("the ledger is back, and %d of %v calls are used: %+v", n-1, limit, d)
			}
		}
		if d := take(t, b, post("", limit, 0)); d.Refused != quota.Application {
			t.Fatalf("all is used: %+v", d)
		}
	})
}

// A call that is decided again in the same day, which a changed rule has made longer, finds the place that it had taken, though another call was
// refused for it meanwhile.
func TestAnUndoneCallIsNotRefusedForItself(t *testing.T) {
	var meanwhile atomic.Pointer[func()] // what happens before the clock is next read
	var ahead atomic.Int64
	bubble(t, func(t *testing.T, _ *modelLedger, b *Book) {
		const used = 500
		for range used {
			take(t, b, post("m-1", 10_000, quota.Unlimited))
		}
		synctest.Wait()
		today := b.Day()
		last := post("m-1", used+1, quota.Unlimited) // it is in hand
		contend := func() {
			if d := take(t, b, last); d.Refused != quota.Application || d.Application.Remaining() != 0 || d.Day != today {
				t.Errorf("a second call for the last place: %+v", d)
			}
			ahead.Store(int64(time.Until(today.End)))
		}
		meanwhile.Store(&contend)
		d := take(t, b, last)
		if d.Day.Date != today.Date || !d.Day.End.After(today.End) {
			t.Fatalf("the call was decided in %+v, which is not %+v made longer", d.Day, today)
		}
		if !d.Admitted() || d.Application.Used != used+1 || d.Member.Used != used+1 {
			t.Errorf("the call that had the last place: %+v", d)
		}
		if d := take(t, b, last); d.Refused != quota.Application {
			t.Errorf("all is used: %+v", d)
		}
	}, func(o *Options) {
		o.Day.End = o.Day.Start.Add(time.Hour) // by the rule that held before
		o.Now = func() time.Time {
			if do := meanwhile.Swap(nil); do != nil {
				(*do)()
			}
			return time.Now().Add(time.Duration(ahead.Load()))
		}
	})
}

func TestUsageIsExactWhileLeasesAreHeld(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for i := range 300 {
			take(t, b, post("m-1", 10_000, 10_000))
			u, err := b.Usage(context.Background(), "acme")
			if err != nil || len(u) != 1 || u[0].Used != int64(i+1) || u[0].LastCall.Unix() != time.Now().Unix() {
				t.Fatalf("after %d calls: %+v, %v", i+1, u, err)
			}
			m, err := b.MemberUsage(context.Background(), "acme", "m-1", []string{"posts.create"})
			if err != nil || m[0].Used != int64(i+1) {
				t.Fatalf("after %d calls: %+v, %v", i+1, m, err)
			}
		}
	})
}

func TestReset(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		c := post("m-1", 50, 20)
		for reset := range 2 {
			today := b.Day()
			if n := takeAll(t, b, c); n != 20 {
				t.Fatalf("day %d: admitted %d", reset, n)
			}
			time.Sleep(time.Until(today.End) - 1)
			if d := take(t, b, c); d.Admitted() || d.Day != today {
				t.Fatalf("day %d, its last instant: %+v", reset, d)
			}
			time.Sleep(time.Nanosecond)
			d := take(t, b, c)
			if !d.Admitted() || d.Day.Date != today.Date+1 || d.Day.Start != today.End || d.Application.Used != 1 || d.Member.Used != 1 {
				t.Fatalf("day %d, first instant of the next: %+v", reset, d)
			}
			if l.opened.Date != today.Date+1 {
				t.Fatalf("the ledger's last day is %v", l.opened.Date)
			}
			c.Member = "m-2" // with nothing used yet in the day that has begun
		}
	}, nearReset)
}

func TestLeasesAreBorrowedAhead(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		today := b.Day()
		time.Sleep(time.Until(today.End) - 12*time.Second)
		for time.Until(today.End) > 20*time.Millisecond {
			take(t, b, post("m-1", 1_000_000, 1_000_000))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if got := l.granted(today.Date+1, memberCounter(b, "m-1")); got == 0 {
			t.Error("nothing was borrowed ahead for a busy member")
		}
		time.Sleep(time.Until(today.End))
		asks := l.asks
		if d := take(t, b, post("m-1", 1_000_000, 1_000_000)); d.Day.Date != today.Date+1 || d.Application.Used != 1 {
			t.Errorf("the first call of the day: %+v", d)
		}
		if l.asks != asks {
			t.Error("the day's first call had to wait for the ledger")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := l.granted(today.Date+1, application); got != 1 {
			t.Errorf("%d granted, want the one used", got)
		}
	}, nearReset)
}

func TestAnEndpointBorrowedAheadIsNotUsage(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		today := b.Day()
		time.Sleep(time.Until(today.End) - time.Second)
		for time.Until(today.End) > 10*time.Millisecond {
			take(t, b, post("", 100_000, 0))
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Until(today.End))
		synctest.Wait()
		if l.granted(today.Date+1, application) == 0 {
			t.Fatal("nothing was borrowed ahead")
		}
		if u, err := b.Usage(context.Background(), "acme"); err != nil || len(u) != 0 {
			t.Errorf("usage before any call: %+v, %v", u, err)
		}
	}, nearReset)
}

func TestYesterdaysLeasesGoBack(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		today := b.Day()
		time.Sleep(time.Until(today.End) - 100*time.Millisecond)
		for range 300 {
			take(t, b, post("m-1", 1_000_000, 1_000_000))
		}
		if l.granted(today.Date, application) == 300 {
			t.Fatal("no block is held")
		}
		time.Sleep(33 * time.Second)
		synctest.Wait()
		for _, c := range []Counter{application, memberCounter(b, "m-1")} {
			if got := l.granted(today.Date, c); got != 300 {
				t.Errorf("%v: %d granted, want 300", c, got)
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.over) != 0 {
			t.Error("the day is still in memory")
		}
	}, nearReset)
}

func TestAClockSetBackOpensNoDayTwice(t *testing.T) {
	var back atomic.Int64
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		first := b.Day()
		time.Sleep(time.Until(first.End))
		second := take(t, b, post("m-1", 50, 20)).Day
		back.Store(int64(time.Hour))
		if d := take(t, b, post("m-1", 50, 20)); d.Day != second || d.Member.Used != 2 {
			t.Errorf("after the clock was set back an hour: %+v", d)
		}
		if err := b.Ready(); err == nil {
			t.Error("ready with a clock before its day")
		}
		back.Store(0)
		time.Sleep(time.Second)
		if err := b.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
	}, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	}, nearReset)
}

// A clock that is set forward over a reset while the process runs.
func TestAClockSetForwardIsNoticed(t *testing.T) {
	var forward atomic.Int64
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		take(t, b, post("m-1", 50, 20))
		time.Sleep(time.Second)
		forward.Store(int64(25 * time.Hour))
		time.Sleep(time.Second)
		synctest.Wait()
		if err := b.Ready(); err == nil {
			t.Error("ready right after the clock was set over a reset")
		}
		time.Sleep(2 * time.Minute)
		if err := b.Ready(); err != nil {
			t.Errorf("not ready later: %v", err)
		}
	}, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(forward.Load())) }
	})
}

func TestLedgerDown(t *testing.T) {
	boom := errors.New("boom")
	t.Run("refuse", func(t *testing.T) {
		bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
			for range 200 {
				take(t, b, post("m-1", 10_000, 10_000))
			}
			l.set(boom)
			var spent int
			for {
				d, err := b.Take(context.Background(), post("m-1", 10_000, 10_000))
				if err != nil {
					if fault.KindOf(err) != fault.Unavailable {
						t.Errorf("kind of %v", err)
					}
					break
				}
				if d.Application.Used != int64(201+spent) {
					t.Fatalf("used %d", d.Application.Used)
				}
				spent++
			}
			if spent == 0 {
				t.Error("leases in hand were not spent")
			}
			if b.Ready() == nil {
				t.Error("ready without a ledger")
			}
			l.set(nil)
			time.Sleep(time.Second)
			synctest.Wait()
			if err := b.Ready(); err != nil {
				t.Errorf("not ready again: %v", err)
			}
			if d := take(t, b, post("m-1", 10_000, 10_000)); d.Application.Used != int64(201+spent) {
				t.Errorf("used %d, want %d", d.Application.Used, 201+spent)
			}
		})
	})
	t.Run("admit", func(t *testing.T) {
		bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
			take(t, b, post("m-1", 30, 10))
			l.set(boom)
			if n := takeAll(t, b, post("m-1", 30, 10)); n != 9 {
				t.Errorf("admitted %d of the member's 9 left", n)
			}
			if n := takeAll(t, b, post("m-2", 30, 10)); n != 10 {
				t.Errorf("admitted %d of an unknown member's 10", n)
			}
			if b.Stats().Unbacked == 0 || b.Ready() == nil {
				t.Errorf("stats %+v", b.Stats())
			}
			l.set(nil)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			today := b.Day().Date
			for c, want := range map[Counter]int64{application: 20, memberCounter(b, "m-1"): 10, memberCounter(b, "m-2"): 10} {
				if got := l.granted(today, c); got != want {
					t.Errorf("%v: %d charged, want %d", c, got, want)
				}
			}
			if n := takeAll(t, b, post("m-3", 30, 100)); n != 10 {
				t.Errorf("admitted %d of the application's 10 left", n)
			}
		}, func(o *Options) { o.AdmitWhenDown = true })
	})
}

func (l *modelLedger) set(err error) {
	l.mu.Lock()
	l.fail = err
	l.mu.Unlock()
}

// slowLedger answers a borrow only when it is let.
type slowLedger struct {
	*modelLedger
	gate chan struct{}
}

func (l *slowLedger) Borrow(ctx context.Context, day quota.Day, asks []Ask, grants []Grant) error {
	<-l.gate
	return l.modelLedger.Borrow(ctx, day, asks, grants)
}

func TestACallThatGivesUpIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLedger{newModelLedger(), make(chan struct{})}
		b := open(t, l)
		_, err := b.Take(context.Background(), post("m-1", 100, 100))
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a call that waited too long: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := b.Take(ctx, post("m-2", 100, 100)); !errors.Is(err, context.Canceled) {
			t.Errorf("a call whose caller left: %v", err)
		}
		close(l.gate) // the late answer is credited
		synctest.Wait()
		if d := take(t, b, post("m-1", 100, 100)); d.Application.Used != 1 || d.Member.Used != 1 {
			t.Errorf("used %+v", d)
		}
		if got := l.granted(b.Day().Date, memberCounter(b, "m-2")); got != 0 {
			t.Errorf("m-2 was granted %d", got)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Calls that wait over the reset are decided in the new day.
func TestACallThatWaitsOverTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLedger{newModelLedger(), make(chan struct{})}
		b := open(t, l, nearReset)
		today := b.Day()
		time.Sleep(time.Until(today.End) - time.Second)
		answers := make(chan quota.Decision, 2)
		for _, m := range []string{"m-1", "m-2"} {
			go func() {
				d, err := b.Take(context.Background(), post(m, 1, 100))
				if err != nil {
					t.Error(err)
				}
				answers <- d
			}()
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		close(l.gate)
		var admitted int
		for range 2 {
			d := <-answers
			if d.Day.Date != today.Date+1 {
				t.Errorf("decided in %v", d.Day.Date)
			}
			if d.Admitted() {
				admitted++
			}
		}
		if admitted != 1 {
			t.Errorf("%d admitted of a limit of 1", admitted)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := l.granted(today.Date, application); got != 0 {
			t.Errorf("the old day was charged %d", got)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseReturnsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newModelLedger()
		b := open(t, l)
		for i := range 500 {
			take(t, b, post(fmt.Sprint("m-", i%3), 100_000, 100_000))
		}
		today := b.Day().Date
		if err := b.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := l.granted(today, application); got != 500 {
			t.Errorf("%d granted, want 500", got)
		}
		if _, err := b.Take(context.Background(), post("m-9", 100_000, 100_000)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a call after Close: %v", err)
		}
		if b.Ready() == nil {
			t.Error("ready after Close")
		}
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	})
}

func TestIdleAccountsLeaveMemory(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		const members = 2 * shardCount * keptIdle
		for i := range members {
			take(t, b, post(fmt.Sprint("m-", i), quota.Unlimited, 150))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := b.Stats().Accounts; n > shardCount*keptIdle || n == 0 {
			t.Errorf("%d accounts in memory", n)
		}
	})
}

// A ledger that answers again after a lost return is asked what it knows, and nothing that it would refuse.
func TestALostReturnDisturbsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for range 400 {
			take(t, b, post("m-1", 10_000, 10_000))
		}
		l.set(errors.New("boom"))
		time.Sleep(1200 * time.Millisecond) // the sweep gives part of the lease back, in vain
		l.set(nil)
		take(t, b, post("m-1", 10_000, 10_000))
		time.Sleep(600 * time.Millisecond)
		other := Call{Application: "beta", Endpoint: "posts.find", Limits: quota.Limits{Application: 50, Member: 50}, Cost: 1}
		for range 10 {
			take(t, b, post("m-1", 100, 100)) // lowered below what is used
			if d := take(t, b, other); !d.Admitted() {
				t.Fatalf("another application was refused: %+v", d)
			}
		}
		if err := b.Ready(); err != nil {
			t.Error(err)
		}
	})
}

func TestAClockSetForwardIsNoticedUnderLoad(t *testing.T) {
	var forward atomic.Int64
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		take(t, b, post("m-1", 50, 20))
		time.Sleep(time.Second)
		forward.Store(int64(25 * time.Hour))
		take(t, b, post("m-1", 50, 20)) // opens the new day before the sweep can look
		time.Sleep(time.Second)
		if err := b.Ready(); err == nil {
			t.Error("ready right after the clock was set over a reset")
		}
	}, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(forward.Load())) }
	})
}

func TestCloseChargesWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newModelLedger()
		b := open(t, l, func(o *Options) { o.AdmitWhenDown = true })
		take(t, b, post("m-1", 30, 30))
		l.set(errors.New("boom"))
		for range 9 {
			take(t, b, post("m-1", 30, 30))
		}
		l.set(nil)
		today := b.Day().Date
		if err := b.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []Counter{application, memberCounter(b, "m-1")} {
			if got := l.granted(today, c); got != 10 {
				t.Errorf("%v: %d charged, want 10", c, got)
			}
		}
	})
}

// A ledger that hangs is a ledger that is down.
func TestAHangingLedger(t *testing.T) {
	for _, admits := range []bool{false, true} {
		t.Run(fmt.Sprint("admit ", admits), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &slowLedger{newModelLedger(), make(chan struct{})}
				b := open(t, l, func(o *Options) { o.AdmitWhenDown = admits })
				for i := range 3 {
					began := time.Now()
					d, err := b.Take(context.Background(), post("m-1", 30, 30))
					if admits && (err != nil || d.Member.Used != int64(i+1)) || !admits && fault.KindOf(err) != fault.Unavailable {
						t.Errorf("call %d: %+v, %v", i, d, err)
					}
					if waited := time.Since(began); i == 2 && waited > 0 {
						t.Errorf("a call waited %v for a ledger that is known to hang", waited)
					}
					time.Sleep(200 * time.Millisecond)
				}
				if b.Ready() == nil {
					t.Error("ready with a ledger that hangs")
				}
				close(l.gate)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if err := b.Ready(); err != nil {
					t.Errorf("not ready again: %v", err)
				}
				want := int64(0)
				if admits {
					want = 3
				}
				for _, c := range []Counter{application, memberCounter(b, "m-1")} {
					if got := l.granted(b.Day().Date, c); got != want {
						t.Errorf("%v: %d charged, want %d", c, got, want)
					}
				}
				if err := b.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

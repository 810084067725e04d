package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/quota"
)

// told is what a book has told of its decisions, by day.
type told map[quota.Date]outcomes

func (s told) listen(b *Book) {
	b.Decided(func(d Decided) bool { s.add(d); return true })
}

func (s told) add(d Decided) {
	o := s[d.Day.Date]
	o.admitted += d.Admitted
	o.refused += d.Refused
	o.refusedForMember += d.RefusedForMember
	s[d.Day.Date] = o
}

func (s told) check(t *testing.T, want told) {
	t.Helper()
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(outcomes{})); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestDecidedTellsEachDecisionOnce(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		today := b.Day().Date
		got := told{}
		got.listen(b)
		got.check(t, told{})
		for range 4 {
			c := post("m-1", 9, 5)
			c.Cost = 2
			take(t, b, c) // 2, 4, and two refusals for the member
		}
		for range 6 {
			take(t, b, post("", 9, 5)) // 5 to 9, and a refusal for the application
		}
		got.listen(b)
		want := told{today: {admitted: 9, refused: 3, refusedForMember: 2}}
		got.check(t, want)
		got.listen(b)
		got.check(t, want)
		var all []Decided
		take(t, b, Call{Application: "beta", Endpoint: "posts.find", Limits: quota.Limits{Application: 100, Member: 1}, Cost: 60})
		b.Decided(func(d Decided) bool { all = append(all, d); return true })
		if diff := cmp.Diff([]Decided{{Day: b.Day(), Application: "beta", Endpoint: "posts.find", Admitted: 60, Used: 60, Limit: 100}}, all); diff != "" {
			t.Errorf("all of it (-want +got):\n%s", diff)
		}
		l.set(errors.New("boom"))
		if _, err := b.Take(context.Background(), Call{Application: "beta", Endpoint: "posts.find", Limits: quota.Limits{Application: 100, Member: 1}, Cost: 10}); err == nil {
			t.Error("decided without a ledger")
		}
		l.set(nil)
	})
}

// Who can take no more leaves the rest where it is, and hears of it in turn: nobody's is always the last.
func TestDecidedIsToldInTurn(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		const endpoints = 5
		call := func() {
			for i := range endpoints {
				take(t, b, Call{Application: "acme", Endpoint: fmt.Sprint("e", i), Limits: quota.Limits{Application: 100}, Cost: 1})
			}
		}
		heard := map[string]int64{}
		some := func(n int) bool {
			return b.Decided(func(d Decided) bool {
				heard[d.Endpoint] += d.Admitted
				n--
				return n > 0
			})
		}
		for i := range 10 {
			call()
			if some(2) != (i%3 == 2) {
				t.Errorf("round %d: the accounts were told of to the end: %t", i, i%3 != 2)
			}
		}
		for !some(endpoints) {
		}
		want := map[string]int64{}
		for i := range endpoints {
			want[fmt.Sprint("e", i)] = 10
		}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}

// One application is told of alone; nothing that was told so is told again.
func TestDecidedOf(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for _, application := range []string{"acme", "beta"} {
			for _, endpoint := range []string{"a", "b"} {
				take(t, b, Call{Application: application, Endpoint: endpoint, Limits: quota.Limits{Application: 100}, Cost: 1})
			}
		}
		of, rest := told{}, told{}
		b.DecidedOf("acme", of.add)
		b.DecidedOf("acme", of.add)
		b.DecidedOf("nobody", of.add)
		of.check(t, told{b.Day().Date: {admitted: 2}})
		rest.listen(b)
		rest.check(t, told{b.Day().Date: {admitted: 2}})
	})
}

// What nobody asked for before its day was let go is counted.
func TestUntoldIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		take(t, b, post("m-1", 100, 1))
		take(t, b, post("m-1", 100, 1)) // refused
		told{}.listen(b)
		for range 3 {
			take(t, b, post("m-2", 100, 1)) // two of them refused
		}
		time.Sleep(time.Until(b.Day().End) + 2*Returned)
		synctest.Wait()
		if got := b.Stats().Untold; got != 3 {
			t.Errorf("%d calls are counted, want 3", got)
		}
	}, nearReset)
}

// What a crash forfeited was charged, and is no call.
func TestDecidedTellsNothingOfForfeits(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		first := open(t, l)
		for range 500 {
			take(t, first, post("m-1", 100_000, 10_000))
		}
		first.Kill()
		if granted := l.granted(b.Day().Date, application); granted <= 500 {
			t.Fatalf("nothing is forfeited: %d granted", granted)
		}
		take(t, b, post("m-1", 100_000, 10_000))
		got := told{}
		got.listen(b)
		got.check(t, told{b.Day().Date: {admitted: 1}})
	})
}

// A decision that the reset overtook counts in the new day alone, also when it was told before.
func TestDecidedOverTheReset(t *testing.T) {
	var ahead atomic.Int64
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		today := b.Day()
		got := told{}
		take(t, b, post("m-1", 100, 2))
		ahead.Store(int64(time.Until(today.End)))
		for i := range 3 {
			if d := take(t, b, post("m-1", 100, 2)); d.Day.Date == today.Date {
				t.Errorf("call %d was decided in the day that is over", i)
			}
			got.listen(b)
		}
		got.check(t, told{today.Date: {admitted: 1}, today.Date + 1: {admitted: 2, refused: 1, refusedForMember: 1}})

		// A decision is told while it is being overtaken.
		k := call{Call: post("m-1", 100, 2), epoch: b.current.Load()}
		k.app = k.epoch.application(name{"acme", "posts.create"})
		k.key = k.app.hasher.key("m-1")
		d, v := k.take()
		if v == short {
			t.Fatal("the refusal is not remembered")
		}
		got.listen(b)
		k.undo(d)
		got.listen(b)
		got.check(t, told{today.Date: {admitted: 1}, today.Date + 1: {admitted: 2, refused: 1, refusedForMember: 1}})

		// It is overtaken before anybody was told of it, and before the ledger was.
		refusals := func() [2]uint32 {
			k.app.mu.Lock()
			defer k.app.mu.Unlock()
			k.app.bookRefused()
			return [2]uint32{k.app.account.refused, k.app.refusedForMember}
		}
		refusals()
		k.app.account.refused, k.app.refusedForMember = 0, 0 // those of before were noted in the ledger
		d, _ = k.take()
		k.undo(d)
		if got := refusals(); got != [2]uint32{} {
			t.Errorf("an undone refusal leaves %v refusals, and for a member's limit", got)
		}
	}, nearReset, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
}

// What was refused reaches the ledger though nobody asked for it meanwhile.
func TestRefusalsAreNotedAtTheEnd(t *testing.T) {
	l := newModelLedger()
	b := open(t, l)
	for range 3 {
		take(t, b, post("m-1", 100, 1)) // one is admitted
	}
	for range 4 {
		take(t, b, Call{Application: "acme", Endpoint: "used-up", Limits: quota.Limits{Application: 1, Member: quota.Unlimited}, Cost: 1})
	}
	day := b.Day().Date
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, err := l.Read(t.Context(), day, "acme")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]int64{}
	for _, r := range records {
		got[r.Endpoint] = [2]int64{r.Refused, r.RefusedForMember}
	}
	if diff := cmp.Diff(map[string][2]int64{"posts.create": {2, 2}, "used-up": {3, 0}}, got); diff != "" {
		t.Errorf("refusals, and for a member's limit (-want +got):\n%s", diff)
	}
}

// While many call, and the ledger fails now and then, what is told is what the callers were told.
func TestDecidedUnderConcurrency(t *testing.T) {
	l := newModelLedger()
	b := open(t, l, func(o *Options) { o.AdmitWhenDown = true })
	defer b.Close(context.Background())
	var admitted, refused, refusedForMember atomic.Int64
	got := told{}
	var listening, calling sync.WaitGroup
	done := make(chan struct{})
	listening.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			l.set(nil)
			if i%8 == 0 {
				l.set(errors.New("boom"))
			}
			got.listen(b)
		}
	})
	for g := range 16 {
		calling.Go(func() {
			for i := range 300 {
				d, err := b.Take(context.Background(), post(fmt.Sprint("m-", (g*7+i)%40), 2000, 60))
				switch {
				case err != nil:
				case d.Admitted():
					admitted.Add(d.Cost)
				default:
					refused.Add(1)
					if d.Refused == quota.Member {
						refusedForMember.Add(1)
					}
				}
			}
		})
	}
	calling.Wait()
	close(done)
	listening.Wait()
	l.set(nil)
	got.listen(b)
	got.check(t, told{b.Day().Date: {admitted: admitted.Load(), refused: refused.Load(), refusedForMember: refusedForMember.Load()}})
}

package lease

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/quota"
)

// hearing hears of members near their limits.
type hearing struct {
	mu    sync.Mutex
	heard []string // guarded by mu
}

func (h *hearing) hear(n Near) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, fmt.Sprintf("%s %s %s %s %d", n.Day, n.Application, n.Endpoint, n.Member, n.Percent))
}

func (h *hearing) listen(o *Options) { o.Near = h.hear }

// want checks what was heard since it was last asked.
func (h *hearing) want(t *testing.T, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, w := range want {
		want[i] = "2000-01-01 acme posts.create " + w
	}
	if diff := cmp.Diff(want, h.heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	h.heard = nil
}

func TestNear(t *testing.T) {
	var h hearing
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for range 9 {
			take(t, b, post("m-1", 1000, 20))
		}
		h.want(t)
		for range 4 {
			take(t, b, post("m-1", 1000, 20))
		}
		h.want(t, "m-1 50", "m-1 55", "m-1 60", "m-1 65")
		for range 9 { // two of them are refused, and tell nothing new
			take(t, b, post("m-1", 1000, 20))
		}
		h.want(t, "m-1 70", "m-1 75", "m-1 80", "m-1 85", "m-1 90", "m-1 95", "m-1 100")
		take(t, b, post("m-1", 1000, 40)) // the limit was raised
		h.want(t, "m-1 52")
		take(t, b, post("m-1", 1000, 10)) // and lowered below what is used
		h.want(t, "m-1 100")
		take(t, b, post("", 10, 10)) // no member
		take(t, b, post("m-2", 1000, quota.Unlimited))
		take(t, b, post("m-3", 0, 0))  // no access
		take(t, b, post("m-4", 10, 1)) // refused for the application, and nothing is known of the member
		h.want(t)
	}, h.listen)
}

// A call that is refused is told of as the whole limit, though what is left of it would pay for a cheaper one; once.
func TestNearAtAWallBelowTheLimit(t *testing.T) {
	var h hearing
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		call := func(cost int64, limit quota.Limit) {
			c := post("m-1", 1000, limit)
			c.Cost = cost
			take(t, b, c)
		}
		for range 5 {
			call(2, 9)
		}
		h.want(t, "m-1 66", "m-1 88", "m-1 100")
		call(1, 9)  // admitted: 9 of 9
		call(2, 9)  // refused
		call(1, 11) // the limit was raised: 10 of 11
		call(2, 11)
		h.want(t, "m-1 90", "m-1 100")
		call(30, 36)
		call(1, 36)
		h.want(t, "m-1 100") // refused at 27 %, and then at 30 %: not told as less
		call(1, 24)
		h.want(t, "m-1 50")
	}, h.listen)
}

// Nobody passes a percentage unseen, though the sweep tops the account up and its calls never wait.
func TestNearInSteadyUse(t *testing.T) {
	var h hearing
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		for range 2000 {
			take(t, b, post("m-1", 1_000_000, 2000))
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
		}
		want := []string{}
		for percent := 50; percent <= 100; percent++ {
			want = append(want, fmt.Sprint("m-1 ", percent))
		}
		h.want(t, want...)
	}, h.listen)
}

// Many calls at once tell of each percentage once.
func TestNearUnderConcurrency(t *testing.T) {
	var h hearing
	l := newModelLedger()
	b := open(t, l, h.listen)
	defer b.Close(t.Context())
	var calling sync.WaitGroup
	for range 16 {
		calling.Go(func() {
			for range 100 {
				take(t, b, post("m-1", quota.Unlimited, 1000))
			}
		})
	}
	calling.Wait()
	if len(h.heard) != 51 {
		t.Errorf("heard %d times, want 51: %v", len(h.heard), h.heard)
	}
}

// A node that starts again, or whose account left memory, hears of the member at its next call, admitted or not.
func TestNearAfterARestart(t *testing.T) {
	var h hearing
	synctest.Test(t, func(t *testing.T) {
		l := newModelLedger()
		for _, c := range []struct {
			calls int
			heard []string
		}{{8, []string{"m-1 50", "m-1 60", "m-1 70", "m-1 80"}}, {1, []string{"m-1 90"}}, {1, []string{"m-1 100"}}, {2, []string{"m-1 100"}}} {
			b := open(t, l, h.listen)
			for range c.calls {
				take(t, b, post("m-1", 1000, 10))
			}
			h.want(t, c.heard...)
			b.Kill()
		}
	})
}

// What the node admits without the ledger is told of, too.
func TestNearWhileTheLedgerIsDown(t *testing.T) {
	var h hearing
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		take(t, b, post("m-1", 1000, 4))
		l.set(errors.New("boom"))
		for range 2 {
			take(t, b, post("m-1", 1000, 4))
		}
		h.want(t, "m-1 50", "m-1 75")
		l.set(nil)
	}, h.listen, func(o *Options) { o.AdmitWhenDown = true })
}

// What the reset overtook is told of in the new day alone.
func TestNearOverTheReset(t *testing.T) {
	var h hearing
	var ahead time.Duration
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		b.sweeper.halt()
		for range 3 {
			take(t, b, post("m-1", quota.Unlimited, 4))
		}
		h.heard = nil
		ahead = time.Until(b.Day().End)
		take(t, b, post("m-1", quota.Unlimited, 4))
		take(t, b, post("m-1", quota.Unlimited, 4))
		h.want(t, "m-1 50")
	}, h.listen, nearReset, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
}

// A million members' accounts are in memory: one more byte in each would be eight.
func TestAnAccountFillsItsWords(t *testing.T) {
	if size := unsafe.Sizeof(account{}); size != 64 {
		t.Errorf("an account has %d bytes, want 64", size)
	}
}

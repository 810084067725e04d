package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/bench/internal/disk"
	"github.com/perdiem/perdiem/bench/internal/node"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
)

// What follows is done in the node's process. It prints what it measured as one line of JSON.

// filled is what filling a ledger took.
type filled struct {
	Took time.Duration
	P99  time.Duration // of a decision
	Asks int64         // counters that the ledger was asked for
}

// restarted is what became of a ledger whose process was killed.
type restarted struct {
	Opened       time.Duration
	Looked, Lost int // members whose count was looked at, and those of them whose call was not found
}

// dropped is what dropping a day did.
type dropped struct {
	Steady, Hurt  time.Duration // p99 of a decision before, and in the 5 s after
	Before, After int64         // bytes on disk
	Back          time.Duration // until the tables that held the day were gone
}

func read(line string, measured any) error {
	if err := json.Unmarshal([]byte(line), measured); err != nil {
		return fmt.Errorf("the node's process said %q: %w", line, err)
	}
	return nil
}

func tell(measured any) error { return json.NewEncoder(os.Stdout).Encode(measured) }

// noon is when the trial's day is half over. It does not follow the calendar, so that no reset comes in between.
var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// clockFrom returns a clock that is started at t.
func clockFrom(t time.Time) func() time.Time {
	started := time.Now()
	return func() time.Time { return t.Add(time.Since(started)) }
}

const (
	application = "acme"
	endpoint    = "posts.create"
	callers     = 64  // calls under way at a time
	looked      = 512 // members whose counts are looked at after a kill
)

// memberID returns the id of the n-th member, of 36 bytes.
func memberID(n int) string { return fmt.Sprintf("urn:li:person:%022d", n) }

// take makes a call of the n-th member.
func take(ctx context.Context, b *lease.Book, n int) error {
	d, err := b.Take(ctx, lease.Call{
		Application: application, Endpoint: endpoint, Member: memberID(n), Cost: 1,
		Limits: quota.Limits{Application: quota.MaxLimit, Member: 150},
	})
	if err == nil && !d.Admitted() {
		err = fmt.Errorf("member %d is refused for %v", n, d.Refused)
	}
	return err
}

// fill calls each member once, tells what that took, and calls on until it is killed.
func fill(ctx context.Context, dir string, durability embedledger.Durability, members int) error {
	n, err := node.Open(dir, durability, clockFrom(noon))
	if err != nil {
		return err
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	samples := make([][]time.Duration, callers)
	begun := time.Now()
	for c := range callers {
		all.Go(func() {
			for ctx.Err() == nil && failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= members {
					return
				}
				asked := time.Now()
				if err := take(ctx, n.Book, i); err != nil {
					failed.Store(&err)
					return
				}
				if i%64 == 0 { // a sample will do
					samples[c] = append(samples[c], time.Since(asked))
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	f := filled{Took: time.Since(begun), P99: percentile99(slices.Concat(samples...)), Asks: n.Stats().Asks}
	if err := tell(f); err != nil {
		return err
	}
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := take(ctx, n.Book, rand.IntN(members)); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// restart answers a call, tells so, and looks then whether the ledger knows what was admitted before the kill.
func restart(ctx context.Context, dir string, durability embedledger.Durability, members int) error {
	begun := time.Now()
	n, err := node.Open(dir, durability, clockFrom(noon.Add(time.Hour)))
	if err != nil {
		return err
	}
	r := restarted{Opened: time.Since(begun)}
	if err := take(ctx, n.Book, members); err != nil {
		return err
	}
	for range looked {
		used, err := n.MemberUsage(ctx, application, memberID(rand.IntN(members)), []string{endpoint})
		if err != nil {
			return err
		}
		r.Looked++
		if used[0].Used < 1 {
			r.Lost++
		}
	}
	if err := tell(r); err != nil {
		return err
	}
	<-ctx.Done()
	return n.Close()
}

// load is how many calls a second come while a day is dropped.
const load = 5000

// drop makes calls of the next day's and drops the day before.
func drop(ctx context.Context, dir string, durability embedledger.Durability, members int) error {
	n, err := node.Open(dir, durability, clockFrom(noon.AddDate(0, 0, 1)))
	if err != nil {
		return err
	}
	l := startLoad(ctx, n.Book, members)
	defer l.stop()
	wait := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	wait(3 * time.Second)
	_, _ = l.take99() // what came before all was warm does not count
	wait(10 * time.Second)
	var d dropped
	if d.Steady, err = l.take99(); err != nil {
		return err
	}
	if d.Before, err = disk.Usage(dir); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	whole, err := taken(old)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := n.Ledger.Drop(n.Day().Date); err != nil {
		return err
	}
	const hurt = 5 * time.Second
	for d.Back == 0 && time.Since(begun) < time.Minute && ctx.Err() == nil {
		wait(20 * time.Millisecond)
		if left, err := taken(old); err != nil {
			return err
		} else if left <= whole/10 { // one may hold counters of the next day too
			d.Back = time.Since(begun)
		}
		if since := time.Since(begun); d.Hurt == 0 && since >= hurt {
			if d.Hurt, err = l.take99(); err != nil {
				return err
			}
		}
	}
	if d.Back == 0 {
		return errors.New("the disk did not get its space back within a minute")
	}
	if d.Hurt == 0 {
		wait(hurt - time.Since(begun))
		if d.Hurt, err = l.take99(); err != nil {
			return err
		}
	}
	if d.After, err = disk.Usage(dir); err != nil {
		return err
	}
	return errors.Join(tell(d), n.Close())
}

// taken returns the bytes on disk of those files that are still there.
func taken(files []string) (bytes int64, err error) {
	for _, file := range files {
		n, err := disk.Usage(file)
		if err != nil {
			return 0, err
		}
		bytes += n
	}
	return bytes, nil
}

package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
)

// This file holds the one promise against everything that can go wrong: for each day and counter, calls admitted never exceed the
// highest limit so far; and what was neither admitted nor forfeited can be spent to the last call. Where nothing is forfeited, no call is
// refused that had a place under both limits.

// operation is one step of a run.
type operation struct {
	kind     string
	counter  int   // which application, endpoint and member
	cost     int64 // calls
	times    int   // calls one after the other, or at once
	atOnce   bool
	member   bool // whose limit is changed
	limit    quota.Limit
	duration time.Duration
	seed     uint64
}

// GoString writes the operation so that a failing run can be read.
func (o operation) GoString() string {
	switch o.kind {
	case "call":
		return fmt.Sprintf("%d× call %d cost %d at once %v", o.times, o.counter, o.cost, o.atOnce)
	case "limit":
		return fmt.Sprintf("limit %d member's %v = %v", o.counter, o.member, o.limit)
	default:
		return fmt.Sprintf("%s %v", o.kind, o.duration)
	}
}

// The counters of a run: two applications at two endpoints, each by itself and for three members.
const (
	names   = 4
	callers = 4 // no member, and three
)

// The kinds of operations; in a calm run nothing is forfeited.
var (
	calm = []string{
		"call", "call", "call", "call", "call", "call", "call", "call", "call", "call", "call", "call",
		"limit", "wait", "wait", "restart", "reset", "clock", "pause", "borrow is slow",
	}
	rough = append([]string{"crash", "borrow fails", "borrow is lost", "return fails", "return is lost"}, calm...)
)

func operations(n int, kinds []string) *rapid.Generator[[]operation] {
	limits := rapid.OneOf(rapid.Int64Range(1, 40), rapid.Int64Range(100, 3000), rapid.Just(int64(quota.Unlimited)))
	one := rapid.Custom(func(t *rapid.T) operation {
		o := operation{
			kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
		}
		switch o.kind {
		case "call":
			o.counter = rapid.IntRange(0, names*callers-1).Draw(t, "counter")
			o.cost = rapid.Int64Range(1, 3).Draw(t, "cost")
			o.times = rapid.IntRange(1, 12).Draw(t, "times")
			o.atOnce = rapid.Bool().Draw(t, "at once")
		case "limit":
			o.counter = rapid.IntRange(0, names-1).Draw(t, "counter")
			o.member = rapid.Bool().Draw(t, "member's")
			o.limit = quota.Limit(limits.Draw(t, "limit"))
		case "wait":
			o.duration = time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond
		case "crash":
			o.seed = rapid.Uint64().Draw(t, "seed")
		case "reset":
			o.duration = time.Duration(rapid.IntRange(1, 15_000).Draw(t, "ms before")) * time.Millisecond
		case "clock":
			o.duration = time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "seconds")) * time.Second
		case "pause":
			o.duration = time.Duration(rapid.IntRange(1, 36).Draw(t, "hours")) * time.Hour
		}
		return o
	})
	return rapid.SliceOfN(one, n, n)
}

// counter names a counter in the accounts that the test keeps.
type counter struct {
	date   quota.Date
	name   int
	caller int // 0: the application's
}

// plant is a fault in the ledger that the test must find: one of the kinds for which there is this test.
type plant struct {
	disk func(vfs.FS) vfs.FS             // nil: the disk as it is
	wrap func(lease.Ledger) lease.Ledger // nil: the ledger as it is
}

// neverSyncs is a disk that says that logs are synced when they are not.
type neverSyncs struct{ vfs.FS }

func (d neverSyncs) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err == nil && strings.HasSuffix(name, ".log") {
		f = neverSynced{f}
	}
	return f, err
}

func (d neverSyncs) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.Create(newname, c)
}

type neverSynced struct{ vfs.File }

func (neverSynced) Sync() error                { return nil }
func (neverSynced) SyncData() error            { return nil }
func (neverSynced) SyncTo(int64) (bool, error) { return true, nil }

// returnsTwice applies each return twice.
type returnsTwice struct{ lease.Ledger }

func (l returnsTwice) Return(ctx context.Context, day quota.Day, returns []lease.Return) error {
	if err := l.Ledger.Return(ctx, day, returns); err != nil {
		return err
	}
	return l.Ledger.Return(ctx, day, returns)
}

// chargesRefusals raises a counter that has nothing left to grant.
type chargesRefusals struct{ lease.Ledger }

func (l chargesRefusals) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	err := l.Ledger.Borrow(ctx, day, asks, grants)
	for i, a := range asks {
		if err == nil && grants[i].Calls == 0 {
			err = l.Ledger.Borrow(ctx, day, []lease.Ask{{Counter: a.Counter, Limit: a.Limit, Least: 1, Owed: 1}}, grants[i:i+1])
		}
	}
	return err
}

// refusesEarly says of a counter that grants nothing any more that one call more of it is used than is.
type refusesEarly struct{ lease.Ledger }

func (l refusesEarly) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	err := l.Ledger.Borrow(ctx, day, asks, grants)
	for i := range grants {
		if err == nil && grants[i].Calls == 0 {
			grants[i].Granted++
		}
	}
	return err
}

// run is a node under test, and what it ought to have done.
type run struct {
	fs     *vfs.MemFS
	fault  plant
	admits bool // calls while the ledger is down; see lease.Options
	rule   quota.DayRule
	offset time.Duration // of the node's clock
	ledger *embedledger.Ledger
	faults *faulty
	book   *lease.Book
	limits [names]quota.Limits

	mu        sync.Mutex
	admitted  map[counter]int64
	highest   map[counter]quota.Limit
	refused   []refusal // of the operation under way
	unbacked  int64     // calls that nodes which have ended admitted while the ledger was down
	disturbed bool      // calls may have been forfeited
	calls     int
}

// refusal is a call that found no place under the limit of a counter.
type refusal struct {
	counter
	limit quota.Limit
	cost  int64
}

var errInjected = errors.New("injected")

// faulty fails the next calls of a ledger as it is told.
type faulty struct {
	lease.Ledger
	mu     sync.Mutex
	borrow string
	giving string
}

func (f *faulty) next(which *string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := *which
	*which = ""
	return s
}

func (f *faulty) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	switch f.next(&f.borrow) {
	case "fails":
		return errInjected
	case "is lost":
		if err := f.Ledger.Borrow(ctx, day, asks, grants); err != nil {
			return err
		}
		clear(grants)
		return errInjected
	case "is slow":
		time.Sleep(7 * time.Second)
	}
	return f.Ledger.Borrow(ctx, day, asks, grants)
}

func (f *faulty) Return(ctx context.Context, day quota.Day, returns []lease.Return) error {
	switch f.next(&f.giving) {
	case "fails":
		return errInjected
	case "is lost":
		if err := f.Ledger.Return(ctx, day, returns); err != nil {
			return err
		}
		return errInjected
	}
	return f.Ledger.Return(ctx, day, returns)
}

func (r *run) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.offset)
}

// start starts a node on the run's file system.
func (r *run) start() error {
	var disk vfs.FS = r.fs
	if r.fault.disk != nil {
		disk = r.fault.disk(disk)
	}
	ledger, err := embedledger.Open(embedledger.Options{Dir: "ledger", FS: disk, RetentionDays: 400, Free: func(string) (uint64, error) { return 1 << 40, nil }, Now: r.now})
	if err != nil {
		return err
	}
	r.ledger = ledger
	last, _ := r.ledger.LastDay()
	if ahead := last.Start.Sub(r.now()); ahead > 24*time.Hour {
		r.shift(ahead) // the node refuses to start until the clock is set right
	}
	day, err := r.rule.Resume(last, r.now())
	if err != nil {
		return err
	}
	r.faults = &faulty{Ledger: r.ledger}
	var l lease.Ledger = r.faults
	if r.fault.wrap != nil {
		l = r.fault.wrap(l)
	}
	r.book, err = lease.Open(lease.Options{Ledger: l, Rule: r.rule, Day: day, AdmitWhenDown: r.admits, Now: r.now, Logger: slog.New(slog.DiscardHandler)})
	return err
}

// crash ends the node as the loss of power does: what was not synced is lost, or some of it.
func (r *run) crash(seed uint64) error {
	after := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed % 101), RNG: rand.New(rand.NewPCG(seed, 1))})
	r.book.Kill()
	if err := r.ledger.Close(); err != nil {
		return err
	}
	r.fs = after
	return r.start()
}

func (r *run) restart() error {
	if err := r.book.Close(context.Background()); err != nil && !errors.Is(err, errInjected) {
		return err
	}
	r.unbacked += r.book.Stats().Unbacked
	if err := r.ledger.Close(); err != nil {
		return err
	}
	return r.start()
}

func (r *run) call(o operation) error {
	name, caller := o.counter%names, o.counter/names
	c := lease.Call{
		Application: "app" + strconv.Itoa(name%2),
		Endpoint:    "endpoint" + strconv.Itoa(name/2),
		Limits:      r.limits[name],
		Cost:        o.cost,
	}
	if caller > 0 {
		c.Member = "m-" + strconv.Itoa(caller)
	}
	one := func() error {
		before := r.book.Day()
		d, err := r.book.Take(context.Background(), c)
		if err != nil {
			return nil // nothing was charged; what may be forfeited was noted with the fault
		}
		if d.Day.Date < before.Date {
			return fmt.Errorf("a call that came on %v was charged to %v", before.Date, d.Day.Date)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls++
		if err := r.enter(counter{d.Day.Date, name, 0}, quota.Application, d, c.Limits.Application); err != nil || caller == 0 {
			return err
		}
		return r.enter(counter{d.Day.Date, name, caller}, quota.Member, d, c.Limits.Member)
	}
	errs := make([]error, o.times)
	var wg sync.WaitGroup
	for i := range errs {
		if o.atOnce {
			wg.Go(func() { errs[i] = one() })
		} else {
			errs[i] = one()
		}
	}
	wg.Wait()
	return errors.Join(append(errs, r.checkRefusals())...)
}

// enter enters a decision into the account of one of its counters, which of names it.
func (r *run) enter(k counter, of quota.Kind, d quota.Decision, limit quota.Limit) error {
	r.highest[k] = max(r.highest[k], limit)
	switch d.Refused {
	case quota.None:
		r.admitted[k] += d.Cost
	case of:
		r.refused = append(r.refused, refusal{k, limit, d.Cost})
	}
	// What is admitted on credit is charged whatever the limit.
	if n := r.admitted[k]; n > int64(r.highest[k])+r.unbacked+r.book.Stats().Unbacked {
		return fmt.Errorf("counter %+v: %d calls admitted, the highest limit was %v", k, n, r.highest[k])
	}
	return nil
}

// checkRefusals makes sure that the refusals of an operation, which has ended, were true: what is used only grows, so it is at least what it
// was when the call came. Where calls may have been forfeited they are used, too, and nobody knows how many they are.
func (r *run) checkRefusals() error {
	refused := r.refused
	r.refused = r.refused[:0]
	if r.disturbed {
		return nil
	}
	for _, f := range refused {
		if n := r.admitted[f.counter]; quota.Fits(f.limit, n, f.cost) {
			return fmt.Errorf("counter %+v: refused %d calls, although %d of %v were admitted", f.counter, f.cost, n, f.limit)
		}
	}
	return nil
}

func (r *run) do(o operation) error {
	switch o.kind {
	case "call":
		return r.call(o)
	case "limit":
		if o.member {
			r.limits[o.counter].Member = o.limit
		} else {
			r.limits[o.counter].Application = o.limit
		}
	case "wait":
		time.Sleep(o.duration)
	case "crash":
		r.disturbed = true
		return r.crash(o.seed)
	case "restart":
		return r.restart()
	case "reset":
		left := r.book.Day().End.Sub(r.now())
		r.shift(left - o.duration)
		time.Sleep(o.duration / 2)
	case "clock", "pause":
		r.shift(o.duration)
	case "borrow fails", "borrow is lost", "borrow is slow":
		r.disturbed = r.disturbed || o.kind != "borrow is slow"
		r.faults.mu.Lock()
		r.faults.borrow = o.kind[len("borrow "):]
		r.faults.mu.Unlock()
	case "return fails", "return is lost":
		r.disturbed = true
		r.faults.mu.Lock()
		r.faults.giving = o.kind[len("return "):]
		r.faults.mu.Unlock()
	}
	return nil
}

func (r *run) shift(d time.Duration) {
	r.mu.Lock()
	r.offset += d
	r.mu.Unlock()
}

// granted returns what the ledger says of a counter.
func (r *run) granted(l *embedledger.Ledger, k counter) (int64, error) {
	application, endpoint := "app"+strconv.Itoa(k.name%2), "endpoint"+strconv.Itoa(k.name/2)
	if k.caller > 0 {
		key := lease.NewMemberKey(l.HashKey(), application, endpoint, "m-"+strconv.Itoa(k.caller))
		records, err := l.ReadMembers(context.Background(), k.date, []lease.MemberKey{key})
		if err != nil {
			return 0, err
		}
		return records[0].Granted, nil
	}
	records, err := l.Read(context.Background(), k.date, application)
	for _, rec := range records {
		if rec.Endpoint == endpoint {
			return rec.Granted, err
		}
	}
	return 0, err
}

// check compares the ledger with what was admitted. It finds nothing admitted that was not granted; once the leases are back, nothing is
// granted that was not admitted, but where calls may have been forfeited.
func (r *run) check(l *embedledger.Ledger, idle bool) error {
	for k, admitted := range r.admitted {
		granted, err := r.granted(l, k)
		if err != nil {
			return err
		}
		if admitted > granted {
			return fmt.Errorf("counter %+v: %d admitted, only %d granted", k, admitted, granted)
		}
		if idle && !r.disturbed && admitted != granted {
			return fmt.Errorf("counter %+v: %d admitted, %d granted, and nothing was forfeited", k, admitted, granted)
		}
	}
	return nil
}

// spendAll raises each application's limit above what is granted and spends the rest, which must be all of it.
func (r *run) spendAll() error {
	today := r.book.Day().Date
	for name := range names {
		k := counter{today, name, 0}
		granted, err := r.granted(r.ledger, k)
		if err != nil {
			return err
		}
		r.limits[name] = quota.Limits{Application: quota.Limit(granted + 25), Member: quota.Unlimited}
		before := r.admitted[k]
		for i := range 40 {
			if err := r.call(operation{counter: name + names*(i%callers), cost: 1, times: 1}); err != nil {
				return err
			}
		}
		if got := r.admitted[k] - before; got != 25 {
			return fmt.Errorf("name %d: %d of the last 25 calls could be spent", name, got)
		}
	}
	return nil
}

// runAll runs the operations on a node of their own, which admits calls while the ledger is down where that is said. cloned, when set, is called
// after each with what a loss of power would leave.
func runAll(ops []operation, admits bool, fault plant, cloned func(*run, *vfs.MemFS) error) (calls int, err error) {
	rule, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		return 0, err
	}
	r := &run{
		fs: vfs.NewCrashableMem(), fault: fault, admits: admits, rule: rule,
		admitted: map[counter]int64{}, highest: map[counter]quota.Limit{},
	}
	for i := range r.limits {
		r.limits[i] = quota.Limits{Application: 60, Member: 37}
	}
	if err := r.start(); err != nil {
		return 0, err
	}
	defer func() {
		r.book.Kill()
		err = errors.Join(err, r.ledger.Close())
	}()
	for i, o := range ops {
		if err := r.do(o); err != nil {
			return r.calls, fmt.Errorf("operation %d, %#v: %w", i, o, err)
		}
		if cloned != nil {
			if err := cloned(r, r.fs.CrashClone(vfs.CrashCloneCfg{})); err != nil {
				return r.calls, fmt.Errorf("power lost after operation %d, %#v: %w", i, o, err)
			}
		}
	}
	// With everything idle and nothing failing, the leases go back.
	r.faults.mu.Lock()
	r.faults.borrow, r.faults.giving = "", ""
	r.faults.mu.Unlock()
	if left := r.book.Day().End.Sub(r.now()); left < 2*lease.Returned {
		r.shift(left) // no reset while the leases go back
	}
	time.Sleep(lease.Returned + 3*time.Second)
	synctest.Wait()
	if err := r.check(r.ledger, true); err != nil {
		return r.calls, err
	}
	return r.calls, r.spendAll()
}

// modelOperations is how many operations the test runs at least; PERDIEM_MODEL_OPERATIONS sets another number.
func modelOperations(t *testing.T) int {
	if s := os.Getenv("PERDIEM_MODEL_OPERATIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 100_000
}

func TestExactness(t *testing.T) {
	const length = 250
	var done, calls int
	for want := modelOperations(t); done < want; {
		rapid.Check(t, func(rt *rapid.T) {
			kinds, admits := rough, false
			if rapid.Bool().Draw(rt, "calm") {
				// Only here: a crash loses what is owed, and then more was admitted than the ledger knows.
				kinds, admits = calm, rapid.Bool().Draw(rt, "admits when down")
			}
			ops := operations(length, kinds).Draw(rt, "operations")
			var err error
			var n int
			synctest.Test(t, func(*testing.T) { n, err = runAll(ops, admits, plant{}, nil) })
			if err != nil {
				rt.Fatal(err)
			}
			done += length
			calls += n
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d operations, among them %d decisions", done, calls)
}

// The test above would be worth nothing if it did not find these.
func TestExactnessFindsPlantedFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []string
		plant plant
		says  string
	}{
		{"a return applied twice", calm, plant{wrap: func(l lease.Ledger) lease.Ledger { return returnsTwice{l} }}, "admitted"},
		{"a grant used before its sync", rough, plant{disk: func(d vfs.FS) vfs.FS { return neverSyncs{d} }}, "admitted"},
		{"a refusal that charges", calm, plant{wrap: func(l lease.Ledger) lease.Ledger { return chargesRefusals{l} }}, "admitted"},
		{"a refusal before the limit", calm, plant{wrap: func(l lease.Ledger) lease.Ledger { return refusesEarly{l} }}, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range 200 {
				ops := operations(150, c.kinds).Example(seed)
				var err error
				synctest.Test(t, func(*testing.T) { _, err = runAll(ops, false, c.plant, nil) })
				if err != nil && strings.Contains(err.Error(), c.says) {
					t.Logf("found by run %d: %v", seed, err)
					return
				}
			}
			t.Error("not found in 200 runs")
		})
	}
}

// Whenever the power goes, the ledger has granted all that was admitted.
func TestPowerLossAtEveryStep(t *testing.T) {
	var steps int
	for seed := range 8 {
		ops := operations(150, rough).Example(seed)
		var err error
		synctest.Test(t, func(*testing.T) {
			_, err = runAll(ops, false, plant{}, func(r *run, after *vfs.MemFS) error {
				steps++
				l, err := embedledger.Open(embedledger.Options{Dir: "ledger", FS: after, RetentionDays: 400, Free: func(string) (uint64, error) { return 1 << 40, nil }})
				if err != nil {
					return err
				}
				return errors.Join(r.check(l, false), l.Close())
			})
		})
		if err != nil {
			t.Fatalf("run %d: %v", seed, err)
		}
	}
	t.Logf("%d steps", steps)
}

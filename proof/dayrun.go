package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// dayRun is a node's life from its start, under load, to some time after its reset.
type dayRun struct {
	reset    reset
	began    time.Time // the load
	calls    []call
	arrivals []arrival // those of calls only
	found    *findings
	astray   int  // counters whose usage after the reset is not what was sent after it
	checked  int  // counters looked at for that
	busy     busy // once the load was steady
}

// The load is taken to be steady from settled after its beginning to settled before the reset.
const settled = time.Second

// beside is something that is done to a node while it is under load. It returns the calls that it made.
type beside func(context.Context, *node, reset) ([]call, error)

// runDay starts a fresh node whose day ends soon, loads it until some time after the reset, and reads its usage. It runs meanwhile
// beside the load, unless it is nil.
func runDay(ctx context.Context, b *lab, lead, after time.Duration, meanwhile beside) (_ *dayRun, err error) {
	up, err := startUpstream()
	if err != nil {
		return nil, err
	}
	defer up.close()
	r := &dayRun{reset: nextReset(time.Now(), lead)}
	site, err := newSite(b, settings{upstream: up.address, durability: b.load.durability, starts: r.reset.at, catalog: loadCatalog})
	if err != nil {
		return nil, err
	}
	n, err := site.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.kill()) }()
	l, err := connect(ctx, n.address, b.load.rate)
	if err != nil {
		return nil, err
	}
	defer l.close()

	warm := up.count()
	r.began = time.Now()
	done := make(chan error, 2)
	go func() {
		var err error
		r.busy, err = measureBusy(ctx, n, r.began.Add(settled), r.reset.at.Add(-settled))
		done <- err
	}()
	var more []call
	go func() {
		var err error
		if meanwhile != nil {
			more, err = meanwhile(ctx, n, r.reset)
		}
		done <- err
	}()
	r.calls, err = l.run(ctx, r.began, r.reset.at.Add(after))
	if err := errors.Join(err, <-done, <-done); err != nil {
		return nil, err
	}
	r.calls = append(r.calls, more...)
	r.arrivals = up.since(warm)
	r.found = examine(r.calls, r.reset)
	if err := r.readUsage(ctx, n.address); err != nil {
		return nil, err
	}
	return r, n.stop()
}

// readUsage compares what the node says of the new day with what was sent in it.
func (r *dayRun) readUsage(ctx context.Context, address string) error {
	for _, app := range []string{mainApplication, spentApplication} {
		var members []string
		if app == mainApplication {
			for i := range uint64(loadMembers) {
				members = append(members, loadMember(i))
			}
		}
		used, err := readUsed(ctx, address, app, "posts.create", members)
		if err != nil {
			return err
		}
		for member, n := range used {
			r.checked++
			if n != r.found.newUsed[counter{app, member}] {
				r.astray++
			}
		}
	}
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.close()
	report, err := c.usage(spentApplication, "")
	if err != nil {
		return err
	}
	r.checked++
	if refused := report.at("posts.create").refused; refused != r.found.newRefusedFor[counter{spentApplication, ""}] {
		r.astray++
	}
	if want := r.reset.at.Add(24 * time.Hour); !report.ResetsAt.Equal(want) {
		return fmt.Errorf("after the reset at %v the usage says that the next is at %v", r.reset.at, report.ResetsAt)
	}
	return nil
}

// dayPromises reports what holds for the calls of several runs.
func dayPromises(r *report, runs []*dayRun) {
	var f findings
	var j joined
	var adrift int64
	astray, checked, crossed, counters := 0, 0, 0, 0
	bad := ""
	for _, run := range runs {
		n := run.found
		f.oldAdmitted += n.oldAdmitted
		f.newAdmitted += n.newAdmitted
		f.oldRefused += n.oldRefused
		f.newRefused += n.newRefused
		f.lateCharged += n.lateCharged
		f.lateRefused += n.lateRefused
		f.early += n.early
		f.reopened += n.reopened
		f.shut += n.shut
		f.unreadable += n.unreadable
		f.example = max(f.example, n.example)
		f.crossedToOld += n.crossedToOld
		f.crossedToNew += n.crossedToNew
		crossed += n.crossedToOld + n.crossedToNew
		counters += len(n.refusedBefore)
		j.add(join(run.calls, run.arrivals))
		adrift = max(adrift, n.adrift())
		astray += run.astray
		checked += run.checked
		bad = max(bad, unexpected(run.calls))
	}
	r.note("calls: %d admitted and %d refused in the old day, %d and %d in the new one; %d under way at the reset (%d of them decided in the old day)",
		f.oldAdmitted, f.oldRefused, f.newAdmitted, f.newRefused, crossed, f.crossedToOld)
	r.promise(f.oldRefused > 0 && f.reopened > 0, "not in vain: %d counters were used up before the reset, and %d of them called again after it", counters, f.reopened+f.shut)
	r.promise(f.lateCharged == 0, "no call sent after the reset is charged to the old day (%d were)", f.lateCharged)
	r.promise(f.lateRefused == 0 && f.shut == 0, "none is refused for the old day (%d were; %d counters stayed shut)", f.lateRefused, f.shut)
	r.promise(f.early == 0, "no call answered before the reset is of the new day (%d were)", f.early)
	r.promise(astray == 0, "each counter restarts from 0: its usage is what was sent after the reset (%d of %d differ)", astray, checked)
	r.promise(adrift == 0, "what the old day's answers said was left fits what was admitted in it (off by %d)", adrift)
	r.promise(f.unreadable == 0 && bad == "", "each answer is a 200 or a 429 of one of the two days (%d are not) %s%s", f.unreadable, f.example, bad)
	j.promise(r)
}

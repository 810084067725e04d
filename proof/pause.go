package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"
)

const (
	pauseLead   = 6 * time.Second
	stopBefore  = 700 * time.Millisecond // before the reset the node is stopped,
	resumeAfter = 2 * time.Second        // and so long after it it goes on
	pauseAfter  = 4 * time.Second        // the load ends so long after the reset
	// witnesses are calls that are sent while the node is stopped, on connections of their own: however the load may be held up at that
	// moment, theirs are decided after the pause.
	witnesses     = 64
	witnessNumber = 1 << 48 // their ids begin here, beyond those of the load
)

// stoppage is the time for which a node was stopped.
type stoppage struct{ from, to time.Time }

// provePause stops nodes with SIGSTOP shortly before their reset and lets them go on after it.
func provePause(ctx context.Context, b *lab) error {
	b.title("pause: SIGSTOP %v before the reset, SIGCONT %v after it, %d times; %d connections, %d calls a second",
		stopBefore, resumeAfter, b.pauses, clientCount, b.load.rate)
	var runs []*dayRun
	var rows [][]string
	waiting, spentOld, usedUp, usedUpRefused := true, 0, 0, 0
	for i := range b.pauses {
		var s stoppage
		r, err := runDay(ctx, b, pauseLead, pauseAfter, func(ctx context.Context, n *node, r reset) (calls []call, err error) {
			s, calls, err = stopOver(ctx, n, r)
			return calls, err
		})
		if err != nil {
			return fmt.Errorf("pause %d: %w", i+1, err)
		}
		p := s.examine(r)
		waiting = waiting && p.during >= witnesses
		spentOld += p.old
		usedUp += p.usedUp
		usedUpRefused += p.usedUpRefused
		runs = append(runs, r)
		rows = append(rows, []string{
			strconv.Itoa(i + 1), strconv.Itoa(p.during), strconv.Itoa(p.old), strconv.Itoa(p.caught), strconv.Itoa(p.caughtOld),
			milliseconds(p.slowest),
		})
	}
	b.table([]string{"pause", "sent while stopped", "of the old day", "caught in flight", "of the old day", "all answered after SIGCONT, ms"}, rows)
	b.promise(waiting, "not in vain: at least %d calls were sent while the node was stopped", witnesses)
	b.promise(spentOld == 0, "a node that wakes in another day spends nothing of the old one (%d calls)", spentOld)
	b.promise(usedUp > 0 && usedUpRefused == 0, "of those calls, %d were for counters used up in the old day: all admitted (%d refused)", usedUp, usedUpRefused)
	dayPromises(b.report, runs)
	return nil
}

// stopOver stops a node over its reset. It returns the calls of the witnesses.
func stopOver(ctx context.Context, n *node, r reset) (stoppage, []call, error) {
	conns := make([]*conn, witnesses)
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	for i := range conns {
		var err error
		if conns[i], err = dial(n.address); err != nil {
			return stoppage{}, nil, err
		}
	}
	if err := sleep(ctx, time.Until(r.at.Add(-stopBefore))); err != nil {
		return stoppage{}, nil, err
	}
	if err := n.process.Signal(syscall.SIGSTOP); err != nil {
		return stoppage{}, nil, err
	}
	err := waitUntil(ctx, "the node to be stopped", n.frozen)
	s := stoppage{from: time.Now()}
	calls := make([]call, witnesses)
	testified := make(chan error, 1)
	go func() {
		testified <- each(ctx, witnesses, func(i int) error {
			k := &calls[i]
			k.id = witnessNumber + uint64(i)
			k.application, k.member = newPicker(k.id).next()
			err := conns[i].post(k, "/rest/posts")
			k.due = k.sent
			return err
		})
	}()
	if err == nil {
		err = sleep(ctx, time.Until(r.at.Add(resumeAfter)))
	}
	s.to = time.Now()
	woken := n.process.Signal(syscall.SIGCONT)
	return s, calls, errors.Join(err, woken, <-testified)
}

// paused is what the calls around a stoppage show.
type paused struct {
	during        int // sent while the node was stopped: decided after it, in the new day
	old           int // those of them that are of the old day
	usedUp        int // those of them for the application that had used up the old day's limit
	usedUpRefused int
	caught        int           // sent before and answered after: decided before or after it
	caughtOld     int           // those of them that are of the old day
	slowest       time.Duration // from the node's going on to the last answer of all these
}

func (s stoppage) examine(r *dayRun) paused {
	var p paused
	for i := range r.calls {
		c := &r.calls[i]
		if c.ended.Before(s.to) || !c.sent.Before(s.to) {
			continue
		}
		d, err := r.reset.dayOf(c)
		if err != nil {
			continue // reported with the other calls that cannot be read
		}
		p.slowest = max(p.slowest, c.ended.Sub(s.to))
		if c.sent.Before(s.from) {
			p.caught++
			if d == oldDay {
				p.caughtOld++
			}
			continue
		}
		p.during++
		if d == oldDay {
			p.old++
		}
		if c.application == spentApplication && r.found.refusedBefore[counter{spentApplication, ""}] {
			p.usedUp++
			if c.refused() {
				p.usedUpRefused++
			}
		}
	}
	return p
}

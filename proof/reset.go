package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	resetLead  = 12 * time.Second        // from a node's start to its reset, at least
	resetAfter = 2500 * time.Millisecond // the load ends so long after the reset
	// slowdown is how much slower the second after a reset may be than the first second after a start.
	slowdown = 1.5
	// mostBusy is the share of the processors beyond which the times would tell of the machine and not of perdiem.
	mostBusy = 0.60
)

// proveReset lets the day of fresh nodes end under load.
func proveReset(ctx context.Context, b *lab) error {
	b.title("reset: %d fresh starts, each with its own reset; %d connections, %d calls a second", b.resets, clientCount, b.load.rate)
	var runs []*dayRun
	var rows [][]string
	var ratios, firsts, steadies, afters []float64
	busiest := 0.0
	for i := range b.resets {
		r, err := runDay(ctx, b, resetLead, resetAfter, nil)
		if err != nil {
			return fmt.Errorf("start %d: %w", i+1, err)
		}
		first := percentile(waits(r.calls, r.began, r.began.Add(time.Second)), 99)
		steady := percentile(waits(r.calls, r.began.Add(settled), r.reset.at.Add(-settled)), 99)
		next := percentile(waits(r.calls, r.reset.at, r.reset.at.Add(time.Second)), 99)
		ratio := float64(next) / float64(first)
		runs, ratios = append(runs, r), append(ratios, ratio)
		firsts, steadies, afters = append(firsts, float64(first)), append(steadies, float64(steady)), append(afters, float64(next))
		busiest = max(busiest, r.busy.own)
		rows = append(rows, []string{
			strconv.Itoa(i + 1), milliseconds(first), milliseconds(steady), milliseconds(next), fmt.Sprintf("%.2f", ratio),
			strconv.Itoa(r.found.oldRefused), strconv.Itoa(r.found.crossedToOld + r.found.crossedToNew),
			milliseconds(r.found.lastOld), fmt.Sprintf("%.0f %%", 100*r.busy.own), fmt.Sprintf("%.0f %%", 100*r.busy.all),
		})
	}
	rows = append(rows, []string{
		"median", milliseconds(time.Duration(median(firsts))), milliseconds(time.Duration(median(steadies))),
		milliseconds(time.Duration(median(afters))), fmt.Sprintf("%.2f", median(ratios)), "", "", "", "", "",
	})
	b.table([]string{"start", "p99 of first second, ms", "steady, ms", "second after reset, ms", "ratio", "refused before", "under way at it", "last of the old day, ms", "busy", "machine"}, rows)
	dayPromises(b.report, runs)
	b.promise(busiest < mostBusy, "not in vain: the machine carries the load with less than %.0f %% of its processors (at most %.0f %%; else lower -rate)", 100*mostBusy, 100*busiest)
	b.note("machine: all that ran on it; times are perdiem's only where that is little more than busy")
	b.promise(median(ratios) <= slowdown, "p99 of the second after the reset <= %.1f x that of the first second after a start: %.2f x, median of %d", slowdown, median(ratios), len(ratios))
	return nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}

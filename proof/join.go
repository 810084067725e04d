package main

// joined says how calls and arrivals fit together.
type joined struct {
	refusedArrived  int // refused calls that reached the upstream all the same
	admittedMissing int // admitted calls that never reached it
	twice           int // calls that reached it more than once
	unknown         int // arrivals of no call
	mislabelled     int // arrivals whose X-Perdiem headers tell of another application or member than the call's
}

// join compares calls with arrivals. All the calls have ended.
func join(calls []call, arrivals []arrival) joined {
	var j joined
	byID := make(map[uint64]*call, len(calls))
	for i := range calls {
		byID[calls[i].id] = &calls[i]
	}
	times := byCall(arrivals)
	for i := range calls {
		switch n := times[calls[i].id]; {
		case n > 1:
			j.twice++
		case n == 1 && calls[i].refused():
			j.refusedArrived++
		case n == 0 && calls[i].admitted():
			j.admittedMissing++
		}
	}
	for _, a := range arrivals {
		k, known := byID[a.id]
		switch {
		case !known:
			j.unknown++
		case k.application != a.application || k.member != a.member:
			j.mislabelled++
		}
	}
	return j
}

// add adds another join's numbers.
func (j *joined) add(o joined) {
	j.refusedArrived += o.refusedArrived
	j.admittedMissing += o.admittedMissing
	j.twice += o.twice
	j.unknown += o.unknown
	j.mislabelled += o.mislabelled
}

// promise reports the join.
func (j joined) promise(r *report) {
	r.promise(j.refusedArrived == 0, "no refused call reached the upstream (%d did)", j.refusedArrived)
	r.promise(j.admittedMissing == 0 && j.twice == 0, "each call that was answered 200 reached the upstream exactly once (%d never, %d calls more than once)", j.admittedMissing, j.twice)
	r.promise(j.unknown == 0 && j.mislabelled == 0, "the upstream is told whose calls they are (%d of nobody, %d of another)", j.unknown, j.mislabelled)
}

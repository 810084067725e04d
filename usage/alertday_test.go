package usage

import (
	"fmt"
	"testing"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// BenchmarkNext takes the nearest out of all members who may wait, who are one application's: members' calls wait meanwhile. It has them wait again.
func BenchmarkNext(b *testing.B) {
	for _, over := range []bool{false, true} {
		b.Run(fmt.Sprintf("over=%t", over), func(b *testing.B) {
			d := newAlertDay(quota.Date(1))
			for i := range maxWaiting {
				to := standing{endpoint: fmt.Sprint("e-", i/MaxNear), member: fmt.Sprint("m-", i%MaxNear), percent: 75 + i*7919%25, limit: 100}
				d.come("acme", to, defaultThresholds)
			}
			thresholds := func(string) []int { return defaultThresholds }
			limit := func(string, string) (quota.Limit, bool) { return 100, true }
			for b.Loop() {
				w, tellings, more := d.next(thresholds, limit, time.Time{}, over)
				if len(tellings) != toldAtOnce || over != (more == maxWaiting-toldAtOnce) {
					b.Fatalf("%d are told of, %d are not", len(tellings), more)
				}
				d.takeBack(w, tellings)
			}
		})
	}
}

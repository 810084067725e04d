package lease

import (
	"slices"
	"testing"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// The table of README.md.
func TestReadme(t *testing.T) {
	bubble(t, func(t *testing.T, l *modelLedger, b *Book) {
		var granted []int64
		for range 10 {
			take(t, b, post("m-1", quota.Unlimited, 150))
			granted = append(granted, l.granted(b.Day().Date, memberCounter(b, "m-1")))
			time.Sleep(10 * time.Millisecond)
		}
		if want := []int64{1, 4, 4, 4, 9, 9, 9, 9, 9, 18}; !slices.Equal(granted, want) {
			t.Errorf("granted %v, the README says %v", granted, want)
		}
	})
}

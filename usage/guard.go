package usage

import (
	"hash/maphash"
	"sync"
	"time"
)

// perSecond is how often one credential may read its usage.
const perSecond = 10

// guard lets each credential read a number of times a second. Its memory is a table of fixed size: a credential's seat may be
// taken by another when very many ask at once, which errs on the side of letting a reading pass.
type guard struct {
	seed maphash.Seed
	mu   sync.Mutex
	rows *[1024][8]seat // guarded by mu
}

// seat counts one credential's readings since its second began. An empty seat's second began long ago.
type seat struct {
	key   uint64
	began int64 // nanoseconds of Unix time
	count int64
}

func newGuard() guard { return guard{seed: maphash.MakeSeed(), rows: new([1024][8]seat)} }

// allow reports whether the credential may read at now, and counts the reading when it may.
func (g *guard) allow(credential string, now time.Time) bool {
	key, t := maphash.String(g.seed, credential), now.UnixNano()
	g.mu.Lock()
	defer g.mu.Unlock()
	row := &g.rows[key%uint64(len(g.rows))]
	mine := &row[0]
	for i := range row {
		if row[i].key == key {
			mine = &row[i]
			break
		}
		if row[i].began < mine.began {
			mine = &row[i] // the oldest makes room
		}
	}
	// A clock that was set back ends the second too.
	if mine.key != key || t-mine.began >= int64(time.Second) || t < mine.began {
		*mine = seat{key: key, began: t}
	}
	if mine.count >= perSecond {
		return false
	}
	mine.count++
	return true
}

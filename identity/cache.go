package identity

import (
	"sync/atomic"
	"time"
	"unique"

	"github.com/perdiem/perdiem/registry"
)

// cache remembers the tokens that the registry knows, until they are revoked. Expired tokens stay, to be rejected from
// memory too.
//
// A token that is revoked while it is being looked up must not be remembered after the revocation was: the log's cursor is
// taken before the registry is asked, and [cache.put] drops the token when the cursor has moved on since. [cache.advance]
// moves it before it deletes, so whichever of the two comes second sees the other.
type cache struct {
	memory[entry]
	cursor atomic.Int64 // how far the log of revocations has been read; -1: not yet, and nothing is remembered
}

// entry is a token of the registry, packed: applications are shared, and the two ids are one string.
type entry struct {
	application unique.Handle[string]
	ids         string   // the token's id, then the member's
	member      uint16   // where the member's id begins in ids
	expires     int64    // Unix milliseconds; 0: never
	used        *lastUse // nil: a member's token, of which it is not noted
}

func newEntry(t registry.Token) entry {
	e := entry{application: unique.Make(t.Application), ids: t.ID + t.Member, member: uint16(len(t.ID))}
	if t.Member == "" {
		e.used = new(lastUse)
	}
	if !t.Expires.IsZero() {
		e.expires = t.Expires.UnixMilli()
	}
	return e
}

func (e entry) caller() Caller {
	return Caller{Application: e.application.Value(), Member: e.ids[e.member:], TokenID: e.ids[:e.member]}
}

func (e entry) expired(now time.Time) bool { return e.expires != 0 && now.UnixMilli() >= e.expires }

func newCache(size int) *cache {
	c := &cache{memory: newMemory[entry](size)}
	c.cursor.Store(-1)
	return c
}

// put remembers a token that was looked up after the cursor stood at cursor.
func (c *cache) put(hash *registry.Hash, e entry, cursor int64) {
	c.memory.put(hash, e, func() bool { return cursor >= 0 && c.cursor.Load() == cursor })
}

// advance forgets the revoked tokens and notes that the log has been read up to cursor.
func (c *cache) advance(revoked []registry.Revocation, cursor int64) {
	c.cursor.Store(cursor)
	for i := range revoked {
		c.delete(&revoked[i].Hash)
	}
}

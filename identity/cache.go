package identity

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/perdiem/perdiem/registry"
)

// cache remembers the tokens that the registry knows, until they are revoked. It is bounded: beyond its size, which
// token is forgotten is left to chance, so that no order of requests empties it. Expired tokens stay, to be rejected from
// memory too.
//
// A token that is revoked while it is being looked up must not be remembered after the revocation was: the log's cursor is
// taken before the registry is asked, and [cache.put] drops the token when the cursor has moved on since. [cache.advance]
// moves it before it deletes, so whichever of the two comes second sees the other.
type cache struct {
	perShard int          // tokens, at the most
	cursor   atomic.Int64 // how far the log of revocations has been read; -1: not yet, and nothing is remembered
	shards   [cacheShards]cacheShard
}

const cacheShards = 64

type cacheShard struct {
	mu     sync.RWMutex
	tokens map[registry.Hash]entry // guarded by mu
	_      [32]byte                // keeps two shards off one line of the processor's cache
}

// entry is a token of the registry, packed: applications are shared, and the two ids are one string.
type entry struct {
	application unique.Handle[string]
	ids         string // the token's id, then the member's
	member      uint16 // where the member's id begins in ids
	expires     int64  // Unix milliseconds; 0: never
}

func newEntry(t registry.Token) entry {
	e := entry{application: unique.Make(t.Application), ids: t.ID + t.Member, member: uint16(len(t.ID))}
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
	c := &cache{perShard: max(1, size/cacheShards)}
	c.cursor.Store(-1)
	for i := range c.shards {
		c.shards[i].tokens = make(map[registry.Hash]entry)
	}
	return c
}

// shard returns where hash belongs. A SHA-256 of random bits spreads evenly by any of its bytes.
func (c *cache) shard(hash *registry.Hash) *cacheShard {
	return &c.shards[binary.LittleEndian.Uint32(hash[:])%cacheShards]
}

func (c *cache) get(hash *registry.Hash) (entry, bool) {
	s := c.shard(hash)
	s.mu.RLock()
	e, ok := s.tokens[*hash]
	s.mu.RUnlock()
	return e, ok
}

// put remembers a token that was looked up after the cursor stood at cursor.
func (c *cache) put(hash *registry.Hash, e entry, cursor int64) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if cursor < 0 || c.cursor.Load() != cursor {
		return
	}
	if _, ok := s.tokens[*hash]; !ok && len(s.tokens) >= c.perShard {
		for other := range s.tokens {
			delete(s.tokens, other)
			break
		}
	}
	s.tokens[*hash] = e
}

// advance forgets the revoked tokens and notes that the log has been read up to cursor.
func (c *cache) advance(revoked []registry.Revocation, cursor int64) {
	c.cursor.Store(cursor)
	for i := range revoked {
		s := c.shard(&revoked[i].Hash)
		s.mu.Lock()
		delete(s.tokens, revoked[i].Hash)
		s.mu.Unlock()
	}
}

// unknown remembers, for seconds, tokens that the registry does not know, so that a client that keeps sending one costs
// next to nothing. It is bounded: when full it starts anew.
type unknown struct {
	size int
	mu   sync.Mutex
	// until is guarded by mu.
	until map[registry.Hash]time.Time
}

const unknownFor = 5 * time.Second

func newUnknown(size int) *unknown {
	return &unknown{size: size, until: make(map[registry.Hash]time.Time)}
}

func (u *unknown) has(hash *registry.Hash, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, ok := u.until[*hash]
	if ok && !now.Before(until) {
		delete(u.until, *hash)
		ok = false
	}
	return ok
}

func (u *unknown) put(hash *registry.Hash, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.until) >= u.size {
		clear(u.until)
	}
	u.until[*hash] = now.Add(unknownFor)
}

// misses bounds how often the registry is asked in vain: perSecond times a second, with as many saved up at the most.
// Tokens that turn out to be known cost nothing, so a node that starts under load learns them as fast as the
// registry answers.
type misses struct {
	perSecond float64
	mu        sync.Mutex
	left      float64   // guarded by mu; below 0 when several questions under way were all in vain
	at        time.Time // guarded by mu: when left was last brought up to date
}

func newMisses(perSecond float64) *misses { return &misses{perSecond: perSecond, left: perSecond} }

// allow reports whether one more question may turn out to be in vain.
func (m *misses) allow(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refillLocked(now)
	return m.left >= 1
}

// count notes a question in vain.
func (m *misses) count(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refillLocked(now)
	m.left--
}

func (m *misses) refillLocked(now time.Time) {
	if !m.at.IsZero() {
		passed := max(0, now.Sub(m.at)) // the clock may have been set back
		m.left = min(m.perSecond, m.left+passed.Seconds()*m.perSecond)
	}
	m.at = now
}

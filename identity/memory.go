package identity

import (
	"encoding/binary"
	"sync"

	"github.com/perdiem/perdiem/registry"
)

// memory holds what is known of tokens, by their hashes. It is bounded: beyond its size, which token is forgotten is left to
// chance, so that no order of requests empties it. It is safe for concurrent use.
type memory[V any] struct {
	perShard int // tokens, at the most
	shards   []memoryShard[V]
}

const memoryShards = 64

type memoryShard[V any] struct {
	mu     sync.RWMutex
	tokens map[registry.Hash]V // guarded by mu
	_      [32]byte            // keeps two shards off one line of the processor's cache
}

func newMemory[V any](size int) memory[V] {
	m := memory[V]{perShard: max(1, size/memoryShards), shards: make([]memoryShard[V], memoryShards)}
	for i := range m.shards {
		m.shards[i].tokens = make(map[registry.Hash]V)
	}
	return m
}

// shard returns where hash belongs. A SHA-256 spreads evenly by any of its bytes.
func (m *memory[V]) shard(hash *registry.Hash) *memoryShard[V] {
	return &m.shards[binary.LittleEndian.Uint32(hash[:])%memoryShards]
}

func (m *memory[V]) get(hash *registry.Hash) (V, bool) {
	s := m.shard(hash)
	s.mu.RLock()
	v, ok := s.tokens[*hash]
	s.mu.RUnlock()
	return v, ok
}

// put remembers v, unless holds says no at the moment at which nobody else can change what is known of the token.
func (m *memory[V]) put(hash *registry.Hash, v V, holds func() bool) {
	s := m.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !holds() {
		return
	}
	if _, ok := s.tokens[*hash]; !ok && len(s.tokens) >= m.perShard {
		for other := range s.tokens {
			delete(s.tokens, other)
			break
		}
	}
	s.tokens[*hash] = v
}

func (m *memory[V]) delete(hash *registry.Hash) {
	s := m.shard(hash)
	s.mu.Lock()
	delete(s.tokens, *hash)
	s.mu.Unlock()
}

func (m *memory[V]) clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		clear(s.tokens)
		s.mu.Unlock()
	}
}

func always() bool { return true }

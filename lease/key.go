package lease

import (
	"encoding/binary"
	"unsafe"

	"github.com/dchest/siphash"
)

// MemberKey stands for (application, endpoint, member): a 128-bit SipHash under the ledger's secret, so that nobody
// who chooses ids can make two members share a counter. A ledger keeps no member's id.
type MemberKey [16]byte

// NewMemberKey returns the key of a member's counter under a ledger's [Ledger.HashKey].
func NewMemberKey(secret [16]byte, application, endpoint, member string) MemberKey {
	return newHasher(secret, application, endpoint).key(member)
}

// hasher makes the member keys of one application and endpoint. Its own key is the hash of both names, each preceded
// by its length, so that distinct triples are distinct inputs.
type hasher struct{ k0, k1 uint64 }

func newHasher(secret [16]byte, application, endpoint string) hasher {
	names := make([]byte, 0, 2*binary.MaxVarintLen64+len(application)+len(endpoint))
	names = append(binary.AppendUvarint(names, uint64(len(application))), application...)
	names = append(binary.AppendUvarint(names, uint64(len(endpoint))), endpoint...)
	k0, k1 := siphash.Hash128(binary.LittleEndian.Uint64(secret[:8]), binary.LittleEndian.Uint64(secret[8:]), names)
	return hasher{k0, k1}
}

func (h hasher) key(member string) MemberKey {
	// SipHash only reads its input: the string's bytes need no copy.
	lo, hi := siphash.Hash128(h.k0, h.k1, unsafe.Slice(unsafe.StringData(member), len(member)))
	var k MemberKey
	binary.LittleEndian.PutUint64(k[:8], lo)
	binary.LittleEndian.PutUint64(k[8:], hi)
	return k
}

// spread returns n evenly distributed slots of the key: the same slot for the same key, at every time.
func (k MemberKey) spread(n uint32) uint32 {
	return binary.LittleEndian.Uint32(k[8:12]) % n
}

package sqlregistry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
)

// digest names what an edit changes, whether or not there is room to tell all of it.
type digest struct {
	sum    hash.Hash
	buffer []byte // used again for each part
}

func newDigest() *digest { return &digest{sum: sha256.New()} }

// String returns it in hexadecimal digits.
func (d *digest) String() string { return hex.EncodeToString(d.sum.Sum(nil)[:16]) }

func (d *digest) change(c catalog.Change) {
	d.buffer = append(d.buffer[:0], 'c', byte(c.Op))
	d.text(c.Noun, c.Name, c.Field, c.From, c.To)
	d.sum.Write(d.buffer) // never fails
}

func (d *digest) touch(t catalog.Touch) {
	d.buffer = append(d.buffer[:0], 't')
	d.text(t.Application, t.Endpoint)
	for _, l := range []quota.Limit{t.Before.Application, t.Before.Member, t.After.Application, t.After.Member} {
		d.buffer = binary.AppendVarint(d.buffer, int64(l))
	}
	d.sum.Write(d.buffer) // never fails
}

// text adds texts to the buffer. Their lengths go before them, so that no two lists look the same.
func (d *digest) text(texts ...string) {
	for _, text := range texts {
		d.buffer = append(binary.AppendUvarint(d.buffer, uint64(len(text))), text...)
	}
}

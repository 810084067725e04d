package embedledger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/bits"
)

// Pebble's log and manifest are records, cut into chunks which do not cross the borders of blocks of 32 KiB. A chunk is a
// checksum (4 bytes), the length of what it carries (2), its kind (1), in logs the log's number (4) and in newer ones
// an offset (8), all little-endian, and what it carries. See record/record.go of Pebble.
const blockSize = 32 << 10

// Kinds of chunk: 1 to 4 without a log's number, 5 to 8 with one, 9 to 12 with an offset too; in each group a
// whole record, its first, a middle and its last part.
const (
	chunkFull = iota
	chunkFirst
	chunkMiddle
	chunkLast
)

var chunkHeaderLen = [...]int{7, 11, 19}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk is a part of a record.
type chunk struct {
	part int // chunkFull, chunkFirst, chunkMiddle or chunkLast
	data []byte
}

// chunkReader reads the chunks of a file, also those that follow a damaged one.
type chunkReader struct {
	r      io.Reader
	log    uint32 // the log's number; chunks of another number are an earlier log's
	block  []byte // what is left of the current block
	lost   bool   // whether the reader looks for the next chunk
	buffer [blockSize]byte
	size   int // of the current block, in buffer
}

var (
	errTrailer = errors.New("the log was closed here")
	errBroken  = errors.New("what follows is no chunk")
)

// next returns the next chunk. Where there is none it returns errTrailer or errBroken, and the chunk that comes later when
// it is called again. At the end of the file it returns io.EOF.
func (c *chunkReader) next() (chunk, error) {
	for {
		for len(c.block) >= chunkHeaderLen[2] || !isZero(c.block) {
			got, size, ok := parseChunk(c.block, c.log)
			if ok {
				c.block, c.lost = c.block[size:], false
				return got, nil
			}
			trailer := isTrailer(c.block, c.log)
			c.block = c.block[1:]
			if !c.lost {
				c.lost = true
				if trailer {
					return chunk{}, errTrailer
				}
				return chunk{}, errBroken
			}
		}
		n, err := io.ReadFull(c.r, c.buffer[:])
		if n == 0 {
			return chunk{}, err
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return chunk{}, err
		}
		c.block, c.size = c.buffer[:n], n
	}
}

// at returns what was left of the block when next returned errBroken.
func (c *chunkReader) at() []byte { return c.buffer[c.size-len(c.block)-1 : c.size] }

// parseChunk reads the chunk with which b begins.
func parseChunk(b []byte, log uint32) (c chunk, size int, ok bool) {
	if len(b) < chunkHeaderLen[0] {
		return chunk{}, 0, false
	}
	kind := int(b[6]) - 1
	if kind < 0 || kind >= 4*len(chunkHeaderLen) {
		return chunk{}, 0, false
	}
	header := chunkHeaderLen[kind/4]
	size = header + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) || kind/4 > 0 && binary.LittleEndian.Uint32(b[7:]) != log {
		return chunk{}, 0, false
	}
	if !checksumFits(b[:size]) {
		return chunk{}, 0, false
	}
	return chunk{part: kind % 4, data: b[header:size]}, size, true
}

// checksumFits compares a chunk's checksum, which does not cover the length, with the rest of it.
func checksumFits(b []byte) bool {
	sum := bits.RotateLeft32(crc32.Checksum(b[6:], castagnoli), 17) + 0xa282ead8
	return sum == binary.LittleEndian.Uint32(b)
}

// isTrailer reports whether b begins with what ends a log that was closed: the header of an empty chunk of the next log.
func isTrailer(b []byte, log uint32) bool {
	const kind = 5
	return len(b) >= chunkHeaderLen[1] && isZero(b[:6]) && b[6] == kind && binary.LittleEndian.Uint32(b[7:]) == log+1
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

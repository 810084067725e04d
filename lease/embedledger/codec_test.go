package embedledger

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// counterOf makes a counter of what the fuzzer gives; ok is false when the ledger would refuse it.
func counterOf(application, endpoint string, member []byte) (c lease.Counter, ok bool) {
	c = lease.Counter{Application: application, Endpoint: endpoint}
	copy(c.Member[:], member)
	return c, checkCounter(&c) == nil
}

// FuzzKey: a key decodes to what was encoded, so no two counters share one; days are ranges, in their order; an
// application's counters are one range of the day, in the order of endpoints.
func FuzzKey(f *testing.F) {
	f.Add(int32(20_780), "acme", "posts.create", []byte(nil), int32(20_780), "acme", "posts.find", []byte(nil))
	f.Add(int32(0), "", "", []byte("0123456789abcdef"), int32(-1), "", "", []byte("0123456789abcdeg"))
	f.Add(int32(1), "a", "bc", []byte(nil), int32(1), "ab", "c", []byte(nil))
	f.Add(int32(-1<<31), "\xff\xff", "\x00", []byte(nil), int32(1<<31-1), "\xff", "\xff\x00", []byte(nil))
	f.Fuzz(func(t *testing.T, date1 int32, application1, endpoint1 string, member1 []byte, date2 int32, application2, endpoint2 string, member2 []byte) {
		c1, ok1 := counterOf(application1, endpoint1, member1)
		c2, ok2 := counterOf(application2, endpoint2, member2)
		if !ok1 || !ok2 {
			return
		}
		d1, d2 := quota.Date(date1), quota.Date(date2)
		k1, k2 := appendCounter(nil, d1, &c1), appendCounter(nil, d2, &c2)
		date, counter, err := decodeCounter(k1)
		if err != nil || date != d1 || counter != c1 {
			t.Fatalf("%v of %d became %x, and that %v of %d, %v", c1, d1, k1, counter, date, err)
		}
		if bytes.Equal(k1, k2) != (d1 == d2 && c1 == c2) {
			t.Fatalf("%v of %d and %v of %d: keys %x and %x", c1, d1, c2, d2, k1, k2)
		}
		if d1 < d2 && bytes.Compare(k1, k2) >= 0 {
			t.Fatalf("%x of day %d does not come before %x of day %d", k1, d1, k2, d2)
		}
		for date, in := range map[quota.Date]bool{d1: true, d2: d1 == d2} {
			if date == 1<<31-1 {
				continue
			}
			if inDay := bytes.Compare(appendDate(nil, date), k1) <= 0 && bytes.Compare(k1, appendDate(nil, date+1)) < 0; inDay != in {
				t.Fatalf("%x of day %d lies in the range of %d: %v", k1, d1, date, inDay)
			}
		}
		if c2.IsMember() {
			return
		}
		prefix := appendApplication(nil, d2, c2.Application)
		end := appendSuccessor(nil, prefix)
		inRange := bytes.Compare(prefix, k1) <= 0 && bytes.Compare(k1, end) < 0
		if same := d1 == d2 && c1.Application == c2.Application; inRange != same {
			t.Fatalf("%v of %d lies in the range of application %q of %d: %v", c1, d1, c2.Application, d2, inRange)
		} else if same && (c1.Endpoint < c2.Endpoint) != (bytes.Compare(k1, k2) < 0) {
			t.Fatalf("endpoints %q and %q are out of order", c1.Endpoint, c2.Endpoint)
		}
	})
}

// FuzzDecodeKey: whatever is on the disk, decoding it does not panic, and what decodes encodes to the same.
func FuzzDecodeKey(f *testing.F) {
	f.Add(appendCounter(nil, 1, &lease.Counter{Application: "a", Endpoint: "b"}))
	f.Add(appendCounter(nil, 1, &lease.Counter{Member: lease.MemberKey{1}}))
	f.Add([]byte{spaceDay, 0, 0, 0, 0, kindApplication, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, key []byte) {
		date, c, err := decodeCounter(key)
		if err != nil {
			return
		}
		if again := appendCounter(nil, date, &c); !bytes.Equal(again, key) {
			t.Fatalf("%x decodes to %v of %d, which encodes to %x", key, c, date, again)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(int64(0), int64(0), int64(0), int64(0))
	f.Add(int64(8), int64(0), int64(0), int64(0))
	f.Add(int64(quota.Unlimited), int64(127), int64(128), int64(1_795_000_000))
	f.Fuzz(func(t *testing.T, granted, refused, refusedForMember, lastCall int64) {
		want := lease.Record{Granted: granted, Refused: refused, RefusedForMember: refusedForMember, LastCall: lastCall}
		for _, n := range []int64{granted, refused, refusedForMember, lastCall} {
			if n < 0 || n > maxCalls {
				return
			}
		}
		value := appendRecord(nil, &want)
		var got lease.Record
		if err := decodeRecord(value, &got); err != nil || got != want {
			t.Fatalf("%+v became %x, and that %+v, %v", want, value, got, err)
		}
	})
}

// FuzzDecodeRecord: whatever is on the disk, decoding it does not panic, and what decodes encodes to the same.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{8})
	f.Add([]byte{8, 0})
	f.Add([]byte{0x88, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 11))
	f.Add([]byte{1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, value []byte) {
		var r lease.Record
		if err := decodeRecord(value, &r); err != nil {
			if !errors.Is(err, errValue) {
				t.Fatalf("%x: %v", value, err)
			}
			return
		}
		if again := appendRecord(nil, &r); !bytes.Equal(again, value) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", value, r, again)
		}
	})
}

func TestRecordIsSmall(t *testing.T) {
	for _, test := range []struct {
		record lease.Record
		bytes  int
	}{
		{lease.Record{}, 0},
		{lease.Record{Granted: 1}, 1},
		{lease.Record{Granted: 127}, 1},
		{lease.Record{Granted: 150}, 2},
		{lease.Record{Granted: 100_000, Refused: 12, LastCall: 1_795_000_000}, 3 + 1 + 1 + 5},
	} {
		if got := len(appendRecord(nil, &test.record)); got != test.bytes {
			t.Errorf("%+v takes %d bytes, want %d", test.record, got, test.bytes)
		}
	}
}

// FuzzDecodeDay: whatever is on the disk, decoding it does not panic, and what decodes survives being encoded.
func FuzzDecodeDay(f *testing.F) {
	rule, err := quota.NewDayRule("Europe/Berlin", "04:30")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendDay(nil, rule.At(time.Unix(1_795_000_000, 0))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		day, err := decodeDay(value)
		if err != nil {
			return
		}
		again, err := decodeDay(appendDay(nil, day))
		if err != nil || !sameDay(again, day) {
			t.Fatalf("%v became %v, %v", day, again, err)
		}
	})
}

// FuzzVerify: whatever a log and a manifest hold, looking at them does not panic.
func FuzzVerify(f *testing.F) {
	mem := vfs.NewMem()
	l, err := Open(Options{Dir: "d", FS: mem, Free: func(string) (uint64, error) { return 1 << 40, nil }})
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Drop(1); err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	names, err := mem.List("d")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := mem.UnsafeGetFileDataBuffer(mem.PathJoin("d", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(data), true)
		f.Add(bytes.Clone(data), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, closed bool) {
		mem := vfs.NewMem()
		file, err := mem.Create("file", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			if _, err := file.Write(bytes.Clone(data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		v := verifier{fs: mem}
		for number := range uint64(8) {
			if _, err := v.log("file", number, number, closed); err != nil && !isDamage(err) {
				t.Fatal(err)
			}
		}
		if _, err := v.manifest("file"); err != nil && !isDamage(err) {
			t.Fatal(err)
		}
	})
}

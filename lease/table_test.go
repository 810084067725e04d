package lease

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// The table does what a map does, however its keys collide, and removeAt while walking it skips nobody.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		want := map[MemberKey]int64{}
		key := rapid.Custom(func(t *rapid.T) MemberKey {
			var k MemberKey
			// Few homes, so that runs of collisions form, also around the end.
			binary.LittleEndian.PutUint64(k[:8], rapid.Uint64Range(0, 12).Draw(t, "home")<<8)
			k[15] = rapid.Byte().Draw(t, "rest")
			return k
		})
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.Int64().Draw(t, "value")
				tab.insert(k).have = v
				want[k] = v
			},
			"find": func(t *rapid.T) {
				k := key.Draw(t, "key")
				a := tab.find(k)
				if v, ok := want[k]; ok != (a != nil) || ok && a.have != v {
					t.Fatalf("%x: found %v, want %v %v", k, a, v, ok)
				}
			},
			"remove odd values": func(t *rapid.T) {
				seen := map[MemberKey]bool{}
				for i := 0; i < len(tab.slots); {
					s := &tab.slots[i]
					if s.full {
						seen[s.key] = true
						if s.have%2 != 0 {
							delete(want, s.key)
							tab.removeAt(i)
							continue
						}
					}
					i++
				}
				for k := range want {
					if !seen[k] {
						t.Fatalf("%x was never visited", k)
					}
				}
			},
			"fit": func(t *rapid.T) {
				tab.fit()
				if len(tab.slots) > minSlots && 8*tab.count < len(tab.slots) {
					t.Fatalf("%d slots for %d accounts", len(tab.slots), tab.count)
				}
			},
			"": func(t *rapid.T) {
				if tab.count != len(want) {
					t.Fatalf("%d accounts, want %d", tab.count, len(want))
				}
				for k, v := range want {
					if a := tab.find(k); a == nil || a.have != v {
						t.Fatalf("%x: %v, want %d", k, a, v)
					}
				}
			},
		})
	})
}

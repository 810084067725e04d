package lease

import (
	"testing"
	"unsafe"
)

// What a call changes lies where the comment on applicationAccount says, in lines of 64 bytes: what is allocated in whole lines begins with one.
func TestAccountsLieInLines(t *testing.T) {
	const line = 64
	var a applicationAccount
	if size := unsafe.Sizeof(a); size%line != 0 {
		t.Errorf("an account of %d bytes ends in the middle of a line", size)
	}
	for _, field := range []struct {
		name   string
		offset uintptr
		line   uintptr
	}{
		{"hasher", unsafe.Offsetof(a.hasher), 0},
		{"mu", unsafe.Offsetof(a.mu), 1},
		{"outcomes", unsafe.Offsetof(a.outcomes), 1},
		{"memberRefused", unsafe.Offsetof(a.memberRefused), 1},
		{"account.granted", unsafe.Offsetof(a.account) + unsafe.Offsetof(a.account.granted), 1},
		{"account.have", unsafe.Offsetof(a.account) + unsafe.Offsetof(a.account.have), 1},
		{"account.limit", unsafe.Offsetof(a.account) + unsafe.Offsetof(a.account.limit), 1},
		{"account.owed", unsafe.Offsetof(a.account) + unsafe.Offsetof(a.account.owed), 2},
		{"lastCall", unsafe.Offsetof(a.lastCall), 2},
		{"wall", unsafe.Offsetof(a.wall), 2},
		{"wallRefused", unsafe.Offsetof(a.wallRefused), 3},
	} {
		if field.offset/line != field.line {
			t.Errorf("%s is in line %d, want %d", field.name, field.offset/line, field.line)
		}
	}
}

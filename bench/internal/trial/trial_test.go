package trial

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTrial(t *testing.T) {
	var out strings.Builder
	in := filepath.Join(t.TempDir(), "deep", "er")
	one, err := Begin(&out, "some", in)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(one.Dir) != in || !strings.HasPrefix(filepath.Base(one.Dir), "some-") || one.Self == "" {
		t.Errorf("%+v", one)
	}
	one.Row("a figure", "7")
	one.Promise("a promise", "7", "at most 8", true)
	if !one.Met() {
		t.Error("nothing was broken")
	}
	one.Promise("another", "9", "at most 8", false)
	one.Promise("a third", "8", "at most 8", true)
	one.Flush()
	if want := "  a figure   7\n  a promise  7  at most 8  met\n  another    9  at most 8  NOT MET\n  a third    8  at most 8  met\n"; one.Met() || out.String() != want {
		t.Errorf("met %t:\n%s", one.Met(), &out)
	}
	one.End()
	if _, err := os.Stat(one.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

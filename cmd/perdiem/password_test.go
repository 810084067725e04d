package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/perdiem/perdiem/identity"
)

func TestPasswordOfStandardInput(t *testing.T) {
	long := strings.Repeat("x", identity.MaxPassword)
	for input, want := range map[string]string{
		"correct horse battery\n":   "correct horse battery",
		"correct horse battery\r\n": "correct horse battery",
		"correct horse battery":     "correct horse battery",
		"  spaces are kept  \n":     "  spaces are kept  ",
		long + "\n":                 long,
		long + "\r\n":               long,
		long:                        long,

		"":                          "",
		"\n":                        "",
		"\r\n":                      "",
		"short\n":                   "",
		"\ncorrect horse battery\n": "",
		long + "x\n":                "",
		long + "x":                  "",
		strings.Repeat("x", 1<<20):  "",
		"correct horse \xff\xfe\n":  "",
	} {
		p := &program{stdin: iotest.OneByteReader(strings.NewReader(input))}
		got, err := p.readPassword()
		if err == nil && got != want || (err == nil) != (want != "") {
			t.Errorf("%.40q is read as %.40q, %v", input, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "horse") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
	// Whoever writes a line and keeps the pipe open is not waited for.
	waits := iotest.OneByteReader(io.MultiReader(strings.NewReader("correct horse battery\n"), iotest.ErrReader(errors.New("read on"))))
	if got, err := (&program{stdin: waits}).readPassword(); got != "correct horse battery" || err != nil {
		t.Errorf("the first line is read as %q, %v", got, err)
	}
	broken := errors.New("broken")
	if _, err := (&program{stdin: iotest.ErrReader(broken)}).readPassword(); !errors.Is(err, broken) {
		t.Errorf("standard input that cannot be read: %v", err)
	}
}

// Package cold measures first calls: of members that the ledger, which holds many others, does not hold yet.
package cold

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
)

// The counters are all of one application's endpoint.
const (
	application = "acme"
	endpoint    = "posts.create"
)

// memberID returns the id of the n-th member, of 36 bytes.
func memberID(n int) string { return fmt.Sprintf("urn:li:person:%022d", n) }

// prefill makes in dir a ledger that holds a counter of each of the first n members.
func prefill(dir string, n int) error {
	l, err := embedledger.Open(embedledger.Options{Dir: dir, Durability: embedledger.Process})
	if err != nil {
		return err
	}
	secret := l.HashKey()
	asks, grants := make([]lease.Ask, lease.MaxBatch), make([]lease.Grant, lease.MaxBatch)
	for from := 0; from < n; from += len(asks) {
		asks = asks[:min(len(asks), n-from)]
		for i := range asks {
			key := lease.NewMemberKey(secret, application, endpoint, memberID(from+i))
			asks[i] = lease.Ask{Counter: lease.Counter{Member: key}, Limit: 150, Least: 1, Most: 1, LastCall: day.Start.Unix()}
		}
		if err := l.Borrow(context.Background(), day, asks, grants[:len(asks)]); err != nil {
			l.Close()
			return err
		}
	}
	return l.Close()
}

// prefilled returns a ledger's folder below parent that holds a counter of each of the first n members. It is made where it is
// missing, and must not be opened: [clone] it.
func prefilled(parent string, n int) (string, error) {
	dir := filepath.Join(parent, fmt.Sprintf("ledger-%d", n))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	making := dir + ".making"
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	if err := prefill(making, n); err != nil {
		return "", err
	}
	return dir, os.Rename(making, dir)
}

// clone makes in the empty folder to a ledger of that in from, which is not open. Tables, which are never written to again, are linked.
func clone(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		old, made := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if strings.HasSuffix(e.Name(), ".sst") {
			err = os.Link(old, made)
		} else {
			err = copyFile(old, made)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// day is the day on which the counters are made and the calls come. It does not follow the calendar, so that a ledger that was
// made once serves on other days too.
var day = quota.Day{
	Date:  quota.DateOf(noon),
	Start: noon.Add(-12 * time.Hour),
	End:   noon.Add(12 * time.Hour),
	Zone:  "UTC",
}

var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// clock returns a clock that is started at noon of the day.
func clock() func() time.Time {
	started := time.Now()
	return func() time.Time { return noon.Add(time.Since(started)) }
}

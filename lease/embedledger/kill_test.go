package embedledger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
	"github.com/perdiem/perdiem/quota"
)

// The tests of killing start this program again as a child, told by these variables what to do: borrow for ever, or borrow for
// a range of members and then wait to be killed.
const (
	childFolder     = "EMBEDLEDGER_CHILD_FOLDER"
	childDurability = "EMBEDLEDGER_CHILD_DURABILITY"
	childMembers    = "EMBEDLEDGER_CHILD_MEMBERS" // the first and the number of them
)

func TestMain(m *testing.M) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	var first, n int
	var err error
	if _, e := fmt.Sscan(os.Getenv(childMembers), &first, &n); e == nil {
		err = borrowAndWait(dir, first, n)
	} else {
		err = borrowForever(dir, durabilities[os.Getenv(childDurability)])
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// borrowAndWait borrows for n members, says so, and waits to be killed.
func borrowAndWait(dir string, first, n int) error {
	l, err := embedledger.Open(embedledger.Options{Dir: dir, Durability: embedledger.Process})
	if err != nil {
		return err
	}
	if err := fill(l, benchDate, first, n); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, n)
	_, err = os.Stdin.Read(make([]byte, 1))
	return fmt.Errorf("nobody killed the child: %w", err)
}

const (
	borrowers     = 4
	borrowersEach = 8 // members a borrower borrows for, besides the application that they share
)

func borrowerMember(borrower, n int) lease.MemberKey {
	return memberKey(uint64(borrower*borrowersEach + n))
}

var shared = lease.Counter{Application: "acme", Endpoint: "posts.create"}

// borrowForever borrows one call for each of a borrower's counters, again and again, and says after each time whose it
// was. It returns only when something goes wrong.
func borrowForever(dir string, durability embedledger.Durability) error {
	l, err := embedledger.Open(embedledger.Options{Dir: dir, Durability: durability, MinFree: 1})
	if err != nil {
		return err
	}
	day := ledgertest.Day(benchDate)
	if err := l.OpenDay(context.Background(), day); err != nil {
		return err
	}
	failed := make(chan error)
	for b := range borrowers {
		go func() {
			asks := []lease.Ask{{Counter: shared, Limit: quota.Unlimited, Least: 1, Most: 1}}
			for n := range borrowersEach {
				asks = append(asks, lease.Ask{Counter: lease.Counter{Member: borrowerMember(b, n)}, Limit: quota.Unlimited, Least: 1, Most: 1})
			}
			for {
				if err := l.Borrow(context.Background(), day, asks, make([]lease.Grant, len(asks))); err != nil {
					failed <- err
				}
				if _, err := fmt.Fprintln(os.Stdout, b); err != nil { // one write: it is whole in the pipe or not there
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// TestKill kills a process with SIGKILL while it borrows, several times. Every grant that it had been given must still be
// there, and at most one for each borrower besides.
func TestKill(t *testing.T) {
	for name := range durabilities {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var before [borrowers]int64 // what each of a borrower's members had been granted at the last kill
			for kill := range 5 {
				child := exec.Command(os.Args[0])
				child.Env = append(os.Environ(), childFolder+"="+dir, childDurability+"="+name)
				var complaints strings.Builder
				child.Stderr = &complaints
				out, err := child.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := child.Start(); err != nil {
					t.Fatal(err)
				}
				acknowledged := before
				lines := bufio.NewScanner(out)
				for n := 0; lines.Scan(); n++ {
					var b int
					if _, err := fmt.Sscan(lines.Text(), &b); err != nil {
						t.Fatalf("the child says %q: %v", lines.Text(), err)
					}
					acknowledged[b]++
					if n == 100 {
						refuseSecond(t, dir)
					}
					if n == 300+kill*50 {
						if err := child.Process.Kill(); err != nil {
							t.Fatal(err)
						}
					}
				}
				_ = child.Wait() // it was killed
				if complaints.Len() > 0 {
					t.Fatalf("the child failed: %s", &complaints)
				}

				before = survivors(t, dir, acknowledged)
			}
		})
	}
}

// refuseSecond makes sure that a second process is refused the folder that another has open.
func refuseSecond(t *testing.T, dir string) {
	t.Helper()
	l, err := embedledger.Open(embedledger.Options{Dir: dir, MinFree: 1})
	if err == nil {
		l.Close()
	}
	if err == nil || !strings.Contains(err.Error(), dir+" is in use by another process") {
		t.Errorf("a second process opened the ledger: %v", err)
	}
}

// survivors opens what a killed process left, and returns what each borrower's members were granted.
func survivors(t *testing.T, dir string, acknowledged [borrowers]int64) (granted [borrowers]int64) {
	t.Helper()
	l, err := embedledger.Open(embedledger.Options{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if day, ok := l.LastDay(); !ok || day != ledgertest.Day(benchDate) {
		t.Errorf("the last day is %v, %v", day, ok)
	}
	var sum int64
	for b := range borrowers {
		keys := make([]lease.MemberKey, borrowersEach)
		for n := range keys {
			keys[n] = borrowerMember(b, n)
		}
		records, err := l.ReadMembers(context.Background(), benchDate, keys)
		if err != nil {
			t.Fatal(err)
		}
		granted[b] = records[0].Granted
		for _, r := range records {
			if r.Granted != granted[b] {
				t.Errorf("a batch of borrower %d was split: %v", b, records)
			}
		}
		if granted[b] < acknowledged[b] || granted[b] > acknowledged[b]+1 {
			t.Errorf("borrower %d was granted %d calls, and %d are remembered", b, acknowledged[b], granted[b])
		}
		sum += granted[b]
	}
	records, err := l.Read(context.Background(), benchDate, shared.Application)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || records[0].Granted != sum {
		t.Errorf("the application was granted %+v, its members %d", records, sum)
	}
	return granted
}

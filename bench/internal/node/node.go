// Package node opens a ledger and its book as `perdiem serve` does, for benchmarks that leave the doors out.
package node

import (
	"context"
	"errors"
	"time"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
)

// Node is a book over the ledger in a folder.
type Node struct {
	*lease.Book
	Ledger *embedledger.Ledger
}

// Open opens the ledger in a folder, which is made where there is none, and a book over it. now is the clock; nil is the machine's.
func Open(dir string, durability embedledger.Durability, now func() time.Time) (*Node, error) {
	if now == nil {
		now = time.Now
	}
	ledger, err := embedledger.Open(embedledger.Options{Dir: dir, Durability: durability, Now: now})
	if err != nil {
		return nil, err
	}
	rule, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	book, err := lease.Open(lease.Options{Ledger: ledger, Rule: rule, Day: rule.At(now()), Now: now})
	if err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	return &Node{Book: book, Ledger: ledger}, nil
}

// Close returns all leases and closes the ledger.
func (n *Node) Close() error {
	return errors.Join(n.Book.Close(context.Background()), n.Ledger.Close())
}

package main

import (
	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/portal"
)

// health returns how the node is, for operators at the portal.
func (n *node) health() portal.Health {
	h := portal.Health{
		Version: n.build.version, Day: n.book.Day(), CatalogVersion: n.snapshots.current().Version(), Ledger: portal.LedgerHealth(n.ledgerHealth()),
	}
	if err := n.ready(); err != nil {
		h.Reason = err.Error()
	}
	if n.protect != nil {
		s := n.protect.State()
		h.Protection = &portal.ProtectionHealth{
			Limiting: s.Limiting, Limit: s.Limit, InFlight: s.Waiting, Refused: s.Refused, Latency: s.Latency, UsualLatency: s.UsualLatency,
		}
	}
	if r := n.restored(); r != nil {
		h.Restored = &portal.Restored{Backup: r.Backup, At: r.At, Incomplete: r.Incomplete}
	}
	for _, l := range []portal.Listener{
		{Name: "gateway", Address: n.address.Gateway},
		{Name: "portal", Address: n.address.Portal},
		{Name: "admin", Address: n.address.Admin},
		{Name: "ops", Address: n.address.Ops},
	} {
		if l.Address != "" {
			h.Listeners = append(h.Listeners, l)
		}
	}
	return h
}

// ledgerHealth returns how the ledger is.
func (n *node) ledgerHealth() adminapi.Ledger {
	book, ledger := n.book.Stats(), n.ledger.Stats()
	h := adminapi.Ledger{
		Durability:  "disk",
		WhenDown:    "refuse",
		DiskBytes:   ledger.DiskBytes,
		FreeBytes:   ledger.FreeBytes,
		Accounts:    book.Accounts,
		Unbacked:    book.Unbacked,
		ReadingBack: ledger.Reading,
	}
	if n.config.Durability == embedledger.Process {
		h.Durability = "process"
	}
	if n.config.AdmitWhenDown {
		h.WhenDown = "admit"
	}
	if err := n.ledger.Healthy(); err != nil {
		h.Reason = err.Error()
	} else if book.Down {
		h.Reason = "it does not answer"
	}
	return h
}

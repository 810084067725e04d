package embedledger

// FlushStore writes what is in the store's memory to a table, and begins another log.
func (l *Ledger) FlushStore() error { return l.db.Flush() }

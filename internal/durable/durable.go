// Package durable makes what was written survive a loss of power.
package durable

import (
	"errors"
	"os"
)

// SyncFolder makes the names in a folder durable: those of files that were made in it, renamed or removed. What the files hold is synced by themselves.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

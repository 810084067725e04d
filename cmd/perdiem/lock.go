package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// folderLock holds a data folder for one process. The system lets it go when the process ends, however it ends.
type folderLock struct {
	file *os.File
}

// lockFolder makes the data folder where there is none, and takes it for this process.
func lockFolder(folder string) (*folderLock, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be used: %w", folder, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data folder %s is in use by %s: stop that one first, or give this one a data folder of its own", folder, holder(file))
		}
		return nil, fmt.Errorf("the data folder %s cannot be locked: %w", folder, err)
	}
	// The number is for messages only: it is the lock that counts.
	if err := file.Truncate(0); err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the data folder %s cannot be written: %w", folder, err), file.Close())
		}
	}
	return &folderLock{file: file}, nil
}

// holder names the process that wrote its number into the lock's file.
func holder(file *os.File) string {
	var b [32]byte
	n, _ := file.ReadAt(b[:], 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return "process " + strconv.Itoa(pid)
	}
	return "another process"
}

// release lets the folder go.
func (l *folderLock) release() error { return l.file.Close() }

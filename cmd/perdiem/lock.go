package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// folderLock holds a data folder for one process. The system lets it go when the process ends, however it ends.
//
// It is a POSIX record lock, which unlike flock tells who holds it without trying to take it. The file must be opened by nobody else in
// this process: closing it anywhere would let the lock go.
type folderLock struct {
	file *os.File
}

// lockFile is the file in a data folder that is locked.
const lockFile = "lock"

// lockFolder makes the data folder where there is none, and takes it for this process.
func lockFolder(folder string) (*folderLock, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	for {
		file, err := openLocked(folder)
		if err != nil {
			return nil, err
		}
		// Whoever held it may have removed the file after it was opened here, and another process would then lock a new one.
		if isFileAt(file, filepath.Join(folder, lockFile)) {
			return &folderLock{file: file}, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

// openLocked opens the file in a data folder that is locked, makes it where there is none, and locks it.
func openLocked(folder string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be used: %w", folder, err)
	}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES):
		holder := "another process"
		if pid, held, err := lockHolder(file); err == nil && held && pid > 0 { // it is not told across containers
			holder = "process " + strconv.Itoa(pid)
		}
		err = fmt.Errorf("the data folder %s is in use by %s: stop that one first, or give this one a data folder of its own", folder, holder)
		return nil, errors.Join(err, file.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("the data folder %s cannot be locked: %w", folder, err), file.Close())
	}
	return file, nil
}

// isFileAt reports whether an open file is the one that has the path.
func isFileAt(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(opened, there)
}

// claim is a data folder that is locked, and what had to be made for that.
type claim struct {
	lock *folderLock
	made []string // paths, the deepest first
}

// claimFolder makes a data folder where there is none, and takes it for this process.
func claimFolder(folder string) (*claim, error) {
	c := &claim{}
	for path := filepath.Join(folder, lockFile); missing(path); path = filepath.Dir(path) {
		c.made = append(c.made, path)
	}
	var err error
	if c.lock, err = lockFolder(folder); err != nil {
		if len(c.made) > 0 {
			c.made = c.made[1:] // the lock's file, where there is one by now, is that of whoever was quicker
		}
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// release lets the folder go, with all that is in it.
func (c *claim) release() error { return c.lock.release() }

// takeBack lets the folder go as it was before, unless something else has been put into it. What was made is removed while the lock is held: whoever
// has opened its file meanwhile sees that it is gone.
func (c *claim) takeBack() error { return errors.Join(c.remove(), c.release()) }

func (c *claim) remove() error {
	for _, path := range c.made {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if errors.Is(err, syscall.ENOTEMPTY) {
				return nil // and so are those above it
			}
			return err
		}
	}
	return nil
}

// release lets the folder go.
func (l *folderLock) release() error { return l.file.Close() }

// lockHolder returns the process that holds the lock, and whether any other than this one does.
func lockHolder(file *os.File) (pid int, held bool, err error) {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err != nil {
		return 0, false, err
	}
	return int(lock.Pid), lock.Type != syscall.F_UNLCK, nil
}

// isFolderLocked reports whether another process holds the data folder.
func isFolderLocked(folder string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, held, err := lockHolder(file)
	return held, errors.Join(err, file.Close())
}

package main

import "golang.org/x/sys/unix"

// renameNoReplace renames a file in one step, and fails where there is one of the new name, or where the file system cannot tell in that step.
func renameNoReplace(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}

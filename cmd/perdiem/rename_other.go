//go:build !linux

package main

import "errors"

// renameNoReplace fails: there is no such call that all systems have.
func renameNoReplace(_, _ string) error { return errors.ErrUnsupported }

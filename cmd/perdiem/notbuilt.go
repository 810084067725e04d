package main

import "errors"

// The commands that the program knows by name and cannot do yet.

type nodesCommand struct{}

func (nodesCommand) Run() error { return notBuilt("nodes") }

type migrateCommand struct{}

func (migrateCommand) Run() error { return notBuilt("migrate") }

func notBuilt(command string) error {
	return errors.New(command + " is not built yet; perdiem -h tells what is")
}

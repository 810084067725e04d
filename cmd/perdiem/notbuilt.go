package main

import "errors"

// The commands that the program knows by name and cannot do yet.

type userCommands struct {
	Add   userAddCommand   `cmd:"" help:"Add an account (not built yet)."`
	Grant userGrantCommand `cmd:"" help:"Let an account see an application (not built yet)."`
}

type userAddCommand struct {
	Email    string `arg:"" help:"The account's address."`
	Operator bool   `help:"The account sees all applications."`
}

func (userAddCommand) Run() error { return notBuilt("user add") }

type userGrantCommand struct {
	Email       string `arg:"" help:"The account's address."`
	Application string `arg:"" help:"The application's id."`
	Role        string `enum:"admin,viewer" default:"viewer" help:"admin or viewer."`
}

func (userGrantCommand) Run() error { return notBuilt("user grant") }

type nodesCommand struct{}

func (nodesCommand) Run() error { return notBuilt("nodes") }

type migrateCommand struct{}

func (migrateCommand) Run() error { return notBuilt("migrate") }

func notBuilt(command string) error {
	return errors.New(command + " is not built yet; perdiem -h tells what is")
}

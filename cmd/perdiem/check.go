package main

import "fmt"

type checkCommand struct {
	Config string `short:"c" default:"perdiem.yaml" placeholder:"FILE" help:"The configuration (${default})."`
}

// Run prints every problem of the configuration and of what it names.
func (c checkCommand) Run(p *program) error {
	found, err := inspectConfig(c.Config, p.getenv, p.now())
	if err != nil {
		return err
	}
	if problems := found.withCatalog(); len(problems) > 0 {
		fmt.Fprintln(p.stderr, problems)
		return errTold
	}
	_, err = fmt.Fprintln(p.stdout, "ok")
	return err
}

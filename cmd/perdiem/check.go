package main

import (
	"errors"
	"fmt"

	"github.com/perdiem/perdiem/internal/yamldoc"
)

type checkCommand struct {
	Config string `short:"c" default:"perdiem.yaml" placeholder:"FILE" help:"The configuration (${default})."`
}

// Run prints every problem of the configuration and of the catalog that it names.
func (c checkCommand) Run(p *program) error {
	config, err := readConfig(c.Config, p.getenv)
	if err == nil {
		_, err = config.readCatalog()
		if problems := config.checkPairs(p.now()); len(problems) > 0 {
			more, _ := errors.AsType[yamldoc.Problems](err)
			err = yamldoc.Join(problems, more)
		}
	}
	if problems, ok := errors.AsType[yamldoc.Problems](err); ok {
		fmt.Fprintln(p.stderr, problems)
		return errTold
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, "ok")
	return err
}

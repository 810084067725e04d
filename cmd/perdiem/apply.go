package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
)

type applyCommand struct {
	connection
	File   string `short:"f" required:"" placeholder:"FILE" help:"The catalog."`
	DryRun bool   `help:"Change nothing, and tell what would change."`
}

func (c applyCommand) Run(p *program) error {
	data, err := readBounded(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist: name the catalog by -f", c.File)
	}
	if err != nil {
		return err
	}
	node, err := c.open(p)
	if err != nil {
		return err
	}
	query := url.Values{"file": {c.File}}
	if c.DryRun {
		query.Set("dryRun", "true")
	}
	var answer struct {
		Changes []string `json:"changes"`
	}
	if err := node.call(http.MethodPut, "catalog", query, data, &answer); err != nil {
		return err
	}
	for _, change := range answer.Changes {
		if _, err := fmt.Fprintln(p.stdout, change); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"

	"github.com/perdiem/perdiem/internal/yamldoc"
)

type applyCommand struct {
	connection
	File   string `short:"f" required:"" placeholder:"FILE" help:"The catalog; - is standard input."`
	DryRun bool   `help:"Change nothing, and tell what would change."`
}

func (c applyCommand) Run(p *program) error {
	data, err := c.read(p)
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

// read reads the catalog.
func (c applyCommand) read(p *program) ([]byte, error) {
	if c.File != "-" {
		return readBounded(c.File)
	}
	data, err := io.ReadAll(io.LimitReader(p.stdin, yamldoc.MaxSize+1))
	if err == nil && len(data) > yamldoc.MaxSize {
		err = fmt.Errorf("standard input has more than the %d bytes that are read", yamldoc.MaxSize)
	}
	return data, err
}

// Validate is called by kong.
func (c applyCommand) Validate() error {
	if c.File == "" {
		return errors.New("--file: name the catalog, or - for standard input")
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

type serveCommand struct {
	Config       string `short:"c" default:"perdiem.yaml" placeholder:"FILE" help:"The configuration (${default})."`
	AcceptLedger bool   `help:"Go on with the ledger in the data folder, though the registry knows another: what was used today may be forgotten."`
}

func (c serveCommand) Run(p *program) error {
	read, err := readToServe(c.Config, p.getenv, p.now())
	if err != nil {
		return err
	}
	limitMemory(p.getenv)
	log := slog.New(slog.NewTextHandler(p.stderr, nil))
	reread := func() (*config, error) { return readConfig(c.Config, p.getenv) }
	return p.serve(read, nodeOptions{Log: log, Now: p.now, Reread: reread, AcceptLedger: c.AcceptLedger}, func(n *node) error {
		_, err := fmt.Fprintln(p.stdout, n.address.readyLine())
		return err
	})
}

// serve runs a node until a signal ends it, or it fails. ready is called once it serves.
func (p *program) serve(c *config, o nodeOptions, ready func(*node) error) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	ctx := context.Background()
	n, err := startNode(ctx, c, o)
	if err != nil {
		return err
	}
	err = ready(n)
	for err == nil {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				n.reload(ctx)
				continue
			}
			o.Log.Info("stopping", "signal", s.String())
			signal.Reset(syscall.SIGTERM, syscall.SIGINT) // a second one ends the process at once
			return n.stop(ctx)
		case err = <-n.failed:
		}
	}
	if stopped := n.stop(ctx); stopped != nil {
		return fmt.Errorf("%w\n%w", err, stopped)
	}
	return err
}

// lines returns what an error says, line by line.
func lines(err error) []string {
	return strings.Split(strings.TrimSpace(err.Error()), "\n")
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// The exit statuses.
const (
	done       = 0
	failed     = 1
	wrongUsage = 2
)

// program is what a command may touch of the outside world.
type program struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) (string, bool)
	now    func() time.Time
	exit   func(int) // leaves at once; for help, which is asked for in the middle of reading arguments
}

// commands is the command line.
type commands struct {
	Help        helpCommand         `cmd:"" help:"Tell what there is, or what a command takes."`
	Demo        demoCommand         `cmd:"" help:"Show perdiem on this machine: a sample API, metered."`
	Serve       serveCommand        `cmd:"" help:"Run a node."`
	Check       checkCommand        `cmd:"" help:"Say everything that is wrong with configuration and catalog."`
	Apply       applyCommand        `cmd:"" help:"Make the registry match a catalog file."`
	Token       tokenCommands       `cmd:"" help:"Tokens of applications and members."`
	Usage       usageCommand        `cmd:"" help:"Show what an application has used today."`
	Application applicationCommands `cmd:"" help:"Applications, and what is set of them at run time."`
	Override    overrides           `cmd:"" help:"Limits of one application that differ from its tier's."`
	OperatorKey operatorKeys        `cmd:"" help:"The key with which operators use the admin API."`
	User        userCommands        `cmd:"" help:"Accounts of the Developer Portal."`
	Backup      backupCommand       `cmd:"" help:"Save the stores of a node that runs."`
	Restore     restoreCommand      `cmd:"" help:"Bring saved stores back, into an empty data folder."`
	Nodes       nodesCommand        `cmd:"" help:"List the nodes of a cluster (not built yet)."`
	Migrate     migrateCommand      `cmd:"" help:"Move embedded stores to a cluster's (not built yet)."`
	Version     versionCommand      `cmd:"" help:"Print the version."`
	Completion  completeCommand     `cmd:"" help:"Print the completion script of a shell."`
}

// run parses the arguments, runs the command that they name, and returns the exit status.
func (p *program) run(args []string) int {
	parser, err := kong.New(&commands{},
		kong.Name("perdiem"),
		kong.Description("Daily allowances for the applications and members of an API."),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(p.exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return p.complain(err)
	}
	command, err := parser.Parse(args)
	if err != nil {
		return p.complain(usageError{fmt.Errorf("%w; perdiem -h tells what there is", err)})
	}
	return p.complain(command.Run(p, parser.Model))
}

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, such as token issue."`
}

// Run does what -h does after the command.
func (c helpCommand) Run(p *program) error {
	if status := p.run(append(c.Command, "--help")); status != done {
		return errWrongHelp
	}
	return nil
}

// errWrongHelp is the error of a command that is none, which was told already.
var errWrongHelp = usageError{errTold}

// usageError is an error of whoever typed the command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errTold is the error of a command that has told all that is wrong itself.
var errTold = errors.New("told already")

// complain prints an error, a line each of what it says, and returns the exit status.
func (p *program) complain(err error) int {
	if err == nil {
		return done
	}
	if !errors.Is(err, errTold) {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(p.stderr, "perdiem: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	if _, wrong := errors.AsType[usageError](err); wrong {
		return wrongUsage
	}
	return failed
}

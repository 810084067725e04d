package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completeCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (c completeCommand) Run(p *program, app *kong.Application) error {
	words := completions(app.Node)
	switch c.Shell {
	case "zsh":
		return writeZsh(p.stdout, words)
	case "fish":
		return writeFish(p.stdout, words)
	default:
		return writeBash(p.stdout, words)
	}
}

// completion is what may follow the words of a command.
type completion struct {
	after    string   // the words, without the program's name; "" for the program itself
	commands []string // the next word
	flags    []string // long ones, with their dashes
}

// completions lists what may follow each command, in the order of the help.
func completions(n *kong.Node) []completion {
	var all []completion
	var walk func(n *kong.Node, words []string)
	walk = func(n *kong.Node, words []string) {
		c := completion{after: strings.Join(words, " ")}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				if flag := "--" + f.Name; !slices.Contains(c.flags, flag) {
					c.flags = append(c.flags, flag)
				}
			}
		}
		for _, child := range n.Children {
			c.commands = append(c.commands, child.Name)
		}
		if n.Name == "completion" {
			c.commands = []string{"bash", "zsh", "fish"}
		}
		all = append(all, c)
		for _, child := range n.Children {
			walk(child, append(slices.Clone(words), child.Name))
		}
	}
	walk(n, nil)
	return all
}

// writeBash writes a function that finds the command among the words typed, and offers what may follow it, or files.
func writeBash(to io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString("# bash completion for perdiem: source <(perdiem completion bash)\n" +
		"_perdiem() {\n" +
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} command= next= i\n" +
		"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n" +
		"\t\tnext=\"${command:+$command }${COMP_WORDS[i]}\"\n" +
		"\t\tcase $next in\n")
	writeCommandCases(&b, all, "\t\t", "command=$next")
	b.WriteString("\t\tesac\n\tdone\n\tlocal words=\n\tcase $command in\n")
	writeWordCases(&b, all, "\t", "words='%s'")
	b.WriteString("\tesac\n" +
		"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n" +
		"}\n" +
		"complete -o default -F _perdiem perdiem\n")
	_, err := io.WriteString(to, b.String())
	return err
}

func writeZsh(to io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString("#compdef perdiem\n" +
		"# zsh completion for perdiem: perdiem completion zsh > \"${fpath[1]}/_perdiem\"\n" +
		"_perdiem() {\n" +
		"\tlocal cmd= next= i\n" +
		"\tfor ((i = 2; i < CURRENT; i++)); do\n" +
		"\t\tnext=\"${cmd:+$cmd }${words[i]}\"\n" +
		"\t\tcase $next in\n")
	writeCommandCases(&b, all, "\t\t", "cmd=$next")
	b.WriteString("\t\tesac\n\tdone\n\tlocal -a offers\n\tcase $cmd in\n")
	writeWordCases(&b, all, "\t", "offers=(%s)")
	b.WriteString("\tesac\n" +
		"\tif [[ $offers[1] == -* && $words[CURRENT] != -* ]]; then\n" +
		"\t\t_files\n" +
		"\telse\n" +
		"\t\tcompadd -- $offers\n" +
		"\tfi\n" +
		"}\n" +
		"if [[ $funcstack[1] == _perdiem ]]; then _perdiem \"$@\"; else compdef _perdiem perdiem; fi\n")
	_, err := io.WriteString(to, b.String())
	return err
}

func writeFish(to io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString("# fish completion for perdiem: perdiem completion fish | source\n")
	for _, c := range all {
		condition := "__fish_use_subcommand"
		if c.after != "" {
			var parts []string
			for word := range strings.FieldsSeq(c.after) {
				parts = append(parts, "__fish_seen_subcommand_from "+word)
			}
			if len(c.commands) > 0 {
				parts = append(parts, "not __fish_seen_subcommand_from "+strings.Join(c.commands, " "))
			}
			condition = strings.Join(parts, "; and ")
		}
		for _, word := range c.commands {
			fmt.Fprintf(&b, "complete -c perdiem -f -n '%s' -a %s\n", condition, word)
		}
		for _, flag := range c.flags {
			fmt.Fprintf(&b, "complete -c perdiem -n '%s' -l %s\n", condition, strings.TrimPrefix(flag, "--"))
		}
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// writeCommandCases writes the cases in which the words so far are a command.
func writeCommandCases(b *strings.Builder, all []completion, indent, then string) {
	var names []string
	for _, c := range all {
		if c.after != "" {
			names = append(names, "'"+c.after+"'")
		}
	}
	fmt.Fprintf(b, "%s%s) %s ;;\n", indent, strings.Join(names, "|"), then)
}

// writeWordCases writes, for each command, what may follow it, which then has at %s.
func writeWordCases(b *strings.Builder, all []completion, indent, then string) {
	for _, c := range all {
		offers := strings.Join(slices.Concat(c.commands, c.flags), " ")
		fmt.Fprintf(b, "%s'%s') %s ;;\n", indent, c.after, fmt.Sprintf(then, offers))
	}
}

package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perdiem/perdiem/usage"
)

type usageCommand struct {
	connection
	App    string  `arg:"" name:"application" help:"The application's id."`
	Member *string `placeholder:"ID" help:"Show this member's usage as well."`
	Output string  `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv (${default})."`
}

// Validate is called by kong.
func (c usageCommand) Validate() error {
	if c.App == "" {
		return errors.New("name the application, as in: perdiem usage acme")
	}
	if err := checkID("application", c.App); err != nil {
		return err
	}
	return checkMember(c.Member)
}

func (c usageCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	query := url.Values{"application": {c.App}}
	if c.Member != nil {
		query.Set("member", *c.Member)
	}
	var report usage.Report
	if err := node.call(http.MethodGet, "usage", query, nil, &report); err != nil {
		return err
	}
	switch c.Output {
	case "json":
		e := json.NewEncoder(p.stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(&report)
	case "csv":
		return writeUsageCSV(p.stdout, &report, c.Member != nil)
	default:
		return writeUsageTable(p.stdout, &report, c.Member != nil)
	}
}

// usageRows returns a heading and a row for each endpoint. A member's columns are there when one was asked for.
func usageRows(r *usage.Report, member bool) [][]string {
	heading := []string{"endpoint", "match", "used", "limit", "remaining", "refused", "refused_for_member", "member_limit"}
	if member {
		heading = append(heading, "member_used", "member_remaining", "member_refused")
	}
	rows := [][]string{append(heading, "last_call")}
	for _, e := range r.Endpoints {
		row := []string{
			e.ID, e.Match, number(&e.Application.Used), number(e.Application.Limit), number(e.Application.Remaining),
			number(&e.Application.Refused), number(&e.Application.RefusedForMember), number(e.Member.Limit),
		}
		if member {
			row = append(row, number(&e.Member.Used), number(e.Member.Remaining), number(&e.Member.Refused))
		}
		rows = append(rows, append(row, e.LastCall.UTC().Format(time.RFC3339)))
	}
	return rows
}

// number writes a number of calls; nil is no limit.
func number(n *int64) string {
	if n == nil {
		return "unlimited"
	}
	return strconv.FormatInt(*n, 10)
}

func writeUsageCSV(to io.Writer, r *usage.Report, member bool) error {
	return csv.NewWriter(to).WriteAll(usageRows(r, member))
}

func writeUsageTable(to io.Writer, r *usage.Report, member bool) error {
	fmt.Fprintf(to, "Application %s on %s, which ends at %s (in %s).\n\n", r.Application, r.Day,
		r.ResetsAt.UTC().Format(time.RFC3339), time.Duration(r.SecondsToReset)*time.Second)
	if len(r.Endpoints) == 0 {
		_, err := fmt.Fprintln(to, "No calls today. Make one call to an endpoint to see its limit here.")
		return err
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for i, row := range usageRows(r, member) {
		line := strings.Join(row, "\t")
		if i == 0 {
			line = strings.ToUpper(strings.ReplaceAll(line, "_", " "))
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	historyKills = 3
	historyLoad  = 12 * time.Second        // before the first kill; more than historyLost, or the proof would show nothing
	historyMore  = 1700 * time.Millisecond // before each further end, so that they come at different times since the history was last written
	historyLost  = 10 * time.Second        // before a kill: what was called then may be missing from the history
)

// told is what became of calls, as a client saw it or as the history tells it.
type told struct{ admitted, refused int64 }

func (t told) minus(o told) told { return told{t.admitted - o.admitted, t.refused - o.refused} }

// within reports whether no figure is below 0, or above that of most.
func (t told) within(most told) bool {
	return t.admitted >= 0 && t.refused >= 0 && t.admitted <= most.admitted && t.refused <= most.refused
}

func (t told) String() string { return fmt.Sprintf("%d admitted, %d refused", t.admitted, t.refused) }

// tell returns what became of an application's calls that were answered from an instant on.
func tell(calls []call, application string, from time.Time) (t told) {
	for i := range calls {
		switch c := &calls[i]; {
		case c.application != application || c.ended.Before(from):
		case c.admitted():
			t.admitted++
		case c.refused():
			t.refused++
		}
	}
	return t
}

// proveHistory kills a node under load, and looks at what its history lacks when it serves again. It ends with a stop, after which nothing may be missing.
func proveHistory(ctx context.Context, b *lab) (err error) {
	b.title("history: kill -9 after %v of load and more, %d times, then a stop; %d connections, %d calls a second", historyLoad, historyKills, clientCount, b.load.rate)
	up, err := startUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	starts := time.Now().UTC().Add(12 * time.Hour) // no day ends meanwhile
	site, err := newSite(b, settings{upstream: up.address, durability: b.load.durability, starts: starts, catalog: loadCatalog})
	if err != nil {
		return err
	}
	n, err := site.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.kill()) }()
	var rows [][]string
	var before map[string]told
	exact, fewLost, notInVain := true, true, true
	for i := range historyKills + 1 {
		if before, err = site.history(ctx, n); err != nil {
			return err
		}
		calls, end, err := site.loadAndEnd(ctx, n, b.load.rate, historyLoad+time.Duration(i)*historyMore, i == historyKills)
		if err != nil {
			return err
		}
		if n, err = site.start(ctx); err != nil {
			return err
		}
		after, err := site.history(ctx, n)
		if err != nil {
			return err
		}
		for _, app := range []string{mainApplication, spentApplication} {
			made := tell(calls, app, time.Time{})
			late := tell(calls, app, end.at.Add(-historyLost))
			lost := made.minus(after[app].minus(before[app]))
			if end.stopped {
				exact = exact && lost == told{}
			} else {
				fewLost = fewLost && lost.within(late)
				notInVain = notInVain && (app != mainApplication || late.admitted < made.admitted)
			}
			rows = append(rows, []string{end.how(), app, made.String(), late.String(), lost.String()})
		}
	}
	b.table([]string{"end", "application", "called", "in the last 10 s", "missing from the history"}, rows)
	b.promise(notInVain, "not in vain: calls were made longer before each kill, too")
	b.promise(fewLost, "a kill costs the history at most its last %v, and counts nothing twice", historyLost)
	b.promise(exact, "a stop costs it nothing")
	return nil
}

// ending is how a node ended.
type ending struct {
	at      time.Time
	stopped bool // by SIGTERM, not SIGKILL
}

func (e ending) how() string {
	if e.stopped {
		return "SIGTERM"
	}
	return "SIGKILL"
}

// loadAndEnd loads a node and ends it as soon as the last call is answered.
func (s *site) loadAndEnd(ctx context.Context, n *node, rate int, load time.Duration, stop bool) ([]call, ending, error) {
	l, err := connect(ctx, n.address, rate)
	if err != nil {
		return nil, ending{}, err
	}
	defer l.close()
	began := time.Now()
	calls, err := l.run(ctx, began, began.Add(load))
	if err != nil {
		return nil, ending{}, err
	}
	if bad := unexpected(calls); bad != "" {
		return nil, ending{}, errors.New(bad)
	}
	end := ending{time.Now(), stop}
	if stop {
		return calls, end, n.stop()
	}
	return calls, end, n.kill()
}

// history returns what a node tells of the running day, by application.
func (s *site) history(ctx context.Context, n *node) (map[string]told, error) {
	key, err := os.ReadFile(filepath.Join(s.folder, "data", "operator.key"))
	if err != nil {
		return nil, err
	}
	all := map[string]told{}
	for _, app := range []string{mainApplication, spentApplication} {
		var days struct {
			Days []struct{ Admitted, Refused int64 }
		}
		if err := n.ask(ctx, strings.TrimSpace(string(key)), "history/days?days=1&endpoint=posts.create&application="+app, &days); err != nil {
			return nil, err
		}
		if len(days.Days) != 1 {
			return nil, fmt.Errorf("the history of one day has %d", len(days.Days))
		}
		all[app] = told{days.Days[0].Admitted, days.Days[0].Refused}
	}
	return all, nil
}

// ask asks the admin API.
func (n *node) ask(ctx context.Context, key, path string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+"/admin/v1/"+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered %s: %s", path, response.Status, body)
	}
	return json.Unmarshal(body, answer)
}

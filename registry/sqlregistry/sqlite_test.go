package sqlregistry

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/registrytest"
)

// issueForeverIn, in the environment, makes the test binary a process that issues tokens in that file until it is killed.
const issueForeverIn = "PERDIEM_TEST_ISSUE_FOREVER_IN"

func TestMain(m *testing.M) {
	if path := os.Getenv(issueForeverIn); path != "" {
		fmt.Fprintln(os.Stderr, issueForever(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// issueForever prints the id of each token after it was issued.
func issueForever(path string) error {
	ctx := context.Background()
	r, err := OpenSQLite(ctx, path, Options{})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		var hash registry.Hash
		copy(hash[:], fmt.Appendf(nil, "process %d token %d", os.Getpid(), i))
		token, err := r.IssueToken(ctx, registry.NewToken{Hash: hash, Application: "acme"})
		if err != nil {
			return err
		}
		fmt.Println(token.ID)
	}
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "registry.db") }

func openAt(t testing.TB, path string, clock *registrytest.Clock) *Registry {
	t.Helper()
	r, err := OpenSQLite(t.Context(), path, Options{Now: clock.Now})
	if err != nil {
		t.Fatalf("OpenSQLite: %v", err)
	}
	return r
}

func closed(t testing.TB, r *Registry) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func apply(t testing.TB, r *Registry, c *catalog.Catalog) []catalog.Change {
	t.Helper()
	changes, err := r.Apply(t.Context(), c, registry.ApplyOptions{Source: "catalog.yaml"})
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return changes
}

// filled makes a registry in path that holds something of everything, and closes it.
func filled(t testing.TB, path string) {
	t.Helper()
	r := openAt(t, path, registrytest.NewClock())
	apply(t, r, registrytest.Catalog())
	for i := range 200 {
		token, err := r.IssueToken(t.Context(), registry.NewToken{Hash: registry.Hash{byte(i), byte(i >> 8)}, Application: "acme", Member: fmt.Sprintf("urn:li:person:%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := r.RevokeToken(t.Context(), token.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.SetOverride(t.Context(), "acme", "posts.create", registrytest.Limits(1, 2), ""); err != nil {
		t.Fatal(err)
	}
	if err := r.SetSetting(t.Context(), "ledger", "4f2a"); err != nil {
		t.Fatal(err)
	}
	ann, err := r.AddAccount(t.Context(), registry.NewAccount{Email: "ann@example.com", Operator: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Grant(t.Context(), registry.Grant{Email: ann.Email, Application: "acme", Role: registry.Admin}, ""); err != nil {
		t.Fatal(err)
	}
	closed(t, r)
}

// contents returns all that a registry answers.
func contents(t testing.TB, r *Registry) []any {
	t.Helper()
	c, version, err := r.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tokens := tokensOf(t, r, "acme")
	revoked, next, err := r.Revocations(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ledger, _, err := r.Setting(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	audit, err := r.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	accounts, _, err := r.Accounts(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	team, err := r.Team(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return []any{c, version, tokens, revoked, next, ledger, audit, accounts, team}
}

// tokensOf returns all tokens of an application.
func tokensOf(t testing.TB, r *Registry, application string) (all []registry.Token) {
	t.Helper()
	for next := int64(0); ; {
		page, following, err := r.Tokens(t.Context(), application, next, registry.MaxTokens)
		if err != nil {
			t.Fatal(err)
		}
		if all, next = append(all, page...), following; next == 0 {
			return all
		}
	}
}

func TestConformance(t *testing.T) {
	registrytest.Run(t, func(t *testing.T, clock *registrytest.Clock) registry.Registry {
		return openAt(t, file(t), clock)
	})
}

func TestReopen(t *testing.T) {
	path := file(t)
	filled(t, path)
	first := openAt(t, path, registrytest.NewClock())
	want := contents(t, first)
	closed(t, first)
	second := openAt(t, path, registrytest.NewClock())
	defer closed(t, second)
	if diff := cmp.Diff(want, contents(t, second)); diff != "" {
		t.Errorf("after it was closed and opened (-before +after):\n%s", diff)
	}
	if left, _ := filepath.Glob(path + "-*"); len(left) > 2 {
		t.Errorf("beside the file: %v", left)
	}
}

// TestOddPaths uses names that a URL would read otherwise.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b.db", "a?mode=memory.db", "a#b.db", "a%20b.db", "a&b;c.db", "日本.db", "'.db"} {
		folder := t.TempDir()
		r := openAt(t, filepath.Join(folder, name), registrytest.NewClock())
		apply(t, r, registrytest.Catalog())
		closed(t, r)
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder holds %v, %v", name, entries, err)
		}
	}
}

func TestOwnerOnly(t *testing.T) {
	path := file(t)
	filled(t, path)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	if err := r.SetSetting(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// TestPragmas looks at every connection: what makes a commit survive is set on each by itself.
func TestPragmas(t *testing.T) {
	r := openAt(t, file(t), registrytest.NewClock())
	defer closed(t, r)
	for name, pool := range map[string]*sql.DB{"writer": r.writer, "reader": r.reader} {
		var conns []*sql.Conn
		for range pool.Stats().MaxOpenConnections {
			conn, err := pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
				var got string
				if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
					t.Errorf("%s: %s is %s, %v; want %s", name, pragma, got, err, want)
				}
			}
		}
		for _, conn := range conns {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := r.reader.ExecContext(t.Context(), "DELETE FROM settings"); err == nil {
		t.Error("a reader can write")
	}
}

// TestKill kills a process that issues tokens, several times, and looks for each token that it said it had issued.
func TestKill(t *testing.T) {
	path := file(t)
	filled(t, path)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	issued := make(map[string]bool)
	for round := range 5 {
		child := exec.CommandContext(t.Context(), program)
		child.Env = append(os.Environ(), issueForeverIn+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; i < 20+7*round && lines.Scan(); i++ {
			issued[lines.Text()] = true
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died counts
			issued[lines.Text()] = true
		}
		_ = child.Wait() // killed, as it should be
	}
	if len(issued) < 5*20 {
		t.Fatalf("only %d tokens were issued", len(issued))
	}
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	tokens := tokensOf(t, r, "acme")
	for _, token := range tokens {
		delete(issued, token.ID)
	}
	if len(issued) > 0 {
		t.Errorf("%d acknowledged tokens are lost", len(issued))
	}
}

// TestCopyOfRunning opens what a cut of power would leave: the files as they are while the registry is in use.
func TestCopyOfRunning(t *testing.T) {
	path, copied := file(t), file(t)
	filled(t, path)
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	if err := r.SetSetting(t.Context(), "ledger", "in the log alone"); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if suffix == "-wal" {
			if len(data) == 0 {
				t.Fatal("nothing is in the log")
			}
			data = append(data, make([]byte, 1000)...) // and the beginning of a write that never ended
		}
		if err := os.WriteFile(copied+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := openAt(t, copied, registrytest.NewClock())
	defer closed(t, other)
	if diff := cmp.Diff(contents(t, r), contents(t, other)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

// TestTwoAtOnce has two registries, as two processes would, write to one file.
func TestTwoAtOnce(t *testing.T) {
	path := file(t)
	filled(t, path)
	var wg sync.WaitGroup
	for who := range 2 {
		r := openAt(t, path, registrytest.NewClock())
		defer closed(t, r)
		wg.Go(func() {
			for i := range 50 {
				l := registrytest.Limits(quota.Limit(who), quota.Limit(i))
				if err := r.SetOverride(t.Context(), "beta", "posts.create", l, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	if version, err := r.Version(t.Context()); version != 2+2*50 || err != nil {
		t.Errorf("version %d, %v; want %d", version, err, 2+2*50)
	}
}

func TestNewerSchema(t *testing.T) {
	path := file(t)
	filled(t, path)
	r := openAt(t, path, registrytest.NewClock())
	if _, err := r.writer.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)"); err != nil {
		t.Fatal(err)
	}
	closed(t, r)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenSQLite(t.Context(), path, Options{})
	if fault.KindOf(err) != fault.Conflict {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{path, "99999", "newer perdiem", "backup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(before) != string(after) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// TestAuditIsBounded fills the audit far beyond what is kept. Changes make it shorter, some entries at a time, and the newest stay.
func TestAuditIsBounded(t *testing.T) {
	const more = 40
	for _, test := range []struct {
		actor, share string
		most         int64
	}{
		{"", "", registry.MaxAudit},
		{"operator key 3f9a1c2b", "", registry.MaxAudit},
		{"op@example.com", "", registry.MaxAudit},
		{"gone@example.com", "", registry.MaxAudit},
		{registry.ActorIssuer, registry.ActorIssuer, registry.MaxAudit},
		{registry.ActorToken, registry.ActorToken, registry.MaxAudit},
		{"dev@example.com", "dev@example.com", registry.MaxAuditOfDeveloper},
	} {
		t.Run(test.actor, func(t *testing.T) {
			r := openAt(t, file(t), registrytest.NewClock())
			defer closed(t, r)
			apply(t, r, registrytest.Catalog())
			for _, account := range []registry.NewAccount{{Email: "op@example.com", Operator: true}, {Email: "dev@example.com"}, {Email: "other@example.com"}} {
				if _, err := r.AddAccount(t.Context(), account, ""); err != nil {
					t.Fatal(err)
				}
			}
			change := func(i int, actor string) {
				t.Helper()
				if err := r.SetOverride(t.Context(), "acme", "posts.create", registrytest.Limits(quota.Limit(i), 1), actor); err != nil {
					t.Fatal(err)
				}
			}
			change(1000, "other@example.com") // older than all that follows
			count := func(share string) (entries int64) {
				t.Helper()
				if err := r.reader.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM audit WHERE share = $1", share).Scan(&entries); err != nil {
					t.Fatal(err)
				}
				return entries
			}
			others := map[string]int64{}
			for _, share := range []string{"", registry.ActorIssuer, registry.ActorToken, "dev@example.com", "other@example.com"} {
				if share != test.share {
					others[share] = count(share)
				}
			}
			if _, err := r.writer.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
				INSERT INTO audit (at, actor, action, subject, was, became, share, place) SELECT 0, '', '', '', '', '', $3, i FROM n`,
				count(test.share)+1, test.most+more, test.share); err != nil {
				t.Fatal(err)
			}
			for i, want := range []int64{more - 15, more - 30, 0, 0} { // one comes, and up to 16 go
				change(i, test.actor)
				if got := count(test.share); got != test.most+want {
					t.Errorf("after %d changes there are %d entries more than are kept, want %d", i+1, got-test.most, want)
				}
			}
			for share, want := range others {
				if got := count(share); got != want {
					t.Errorf("%q has %d entries, and had %d", share, got, want)
				}
			}
			newest, err := r.Audit(t.Context(), 0, 5)
			if err != nil || len(newest) != 5 || newest[3].Actor != test.actor || newest[3].Action != registry.ActionSetOverride || newest[4].Action != "" {
				t.Errorf("the newest entries are %+v, %v", newest, err)
			}
		})
	}
}

// TestOwnTokensByIndex asks for an application's own tokens, which hide among its members' many, as SQLite plans it.
func TestOwnTokensByIndex(t *testing.T) {
	r := openAt(t, file(t), registrytest.NewClock())
	defer closed(t, r)
	var id, parent, unused int
	var plan string
	err := r.reader.QueryRowContext(t.Context(), "EXPLAIN QUERY PLAN SELECT seq FROM tokens WHERE "+holdingOwn+" LIMIT $1", 1, "acme", 1, 1).Scan(&id, &parent, &unused, &plan)
	if err != nil || !strings.Contains(plan, "tokens_own (application=? AND seq<?)") {
		t.Errorf("the plan is %q, %v", plan, err)
	}
}

// TestSchemas opens databases of each version that there was: a file that holds nothing, and one that was migrated to none.
func TestSchemas(t *testing.T) {
	path := file(t)
	r := openAt(t, path, registrytest.NewClock())
	var tables []string
	rows, err := r.writer.QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil || len(tables) < 8 {
		t.Fatalf("tables %q, %v", tables, err)
	}
	for _, table := range tables {
		if _, err := r.writer.ExecContext(t.Context(), "DROP TABLE "+table); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.writer.ExecContext(t.Context(), "DELETE FROM goose_db_version WHERE version_id > 0"); err != nil {
		t.Fatal(err)
	}
	closed(t, r)
	empty := file(t)
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, empty} {
		r := openAt(t, path, registrytest.NewClock())
		apply(t, r, registrytest.Catalog())
		closed(t, r)
	}
}

// TestAddedBefore opens a database in which applications were added before anything else could be.
func TestAddedBefore(t *testing.T) {
	path := file(t)
	db := openOld(t, path, 2)
	odd := `it's "odd": <a/b>\ é 日本`
	for _, id := range []string{"new", odd} {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO applications (id, tier, added) VALUES ($1, 'development', 1)", id); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	apply(t, r, registrytest.Catalog())
	c, _, err := r.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"new", odd} {
		if a := indexApplications(c)[id]; a == nil || a.Tier != "development" {
			t.Errorf("application %s is %+v", id, a)
		}
	}
	if _, err := r.AddApplication(t.Context(), registry.NewApplication{ID: "newer", Tier: "development", Most: 2}); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a third of two: %v", err)
	}
	if _, err := r.Edit(t.Context(), registry.PutApplication{ID: "newer"}, registry.EditOptions{}); err != nil {
		t.Errorf("an operator's: %v", err)
	}
}

// TestDamaged ruins the file in several ways.
func TestDamaged(t *testing.T) {
	whole := file(t)
	filled(t, whole)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		ruin func(data []byte) []byte
	}{
		{"another file", func([]byte) []byte { return []byte(strings.Repeat("listen: {gateway: 0.0.0.0:8080}\n", 100)) }},
		{"a file too short for a database", func([]byte) []byte { return []byte("perdiem") }},
		{"a header of noise", func(data []byte) []byte { return noise(data, 0, 100) }},
		{"a root of noise", func(data []byte) []byte { return noise(data, 100, 4096) }},
		{"a page of noise", func(data []byte) []byte { return noise(data, 10*4096, 11*4096) }},
		{"half a file", func(data []byte) []byte { return data[:len(data)/2/4096*4096] }},
		{"an end cut off", func(data []byte) []byte { return data[:len(data)-4096] }},
		{"zeros in the middle", func(data []byte) []byte { clear(data[12*4096 : 20*4096]); return data }},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			if err := os.WriteFile(path, test.ruin([]byte(string(good))), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := OpenSQLite(t.Context(), path, Options{})
			if err == nil {
				closed(t, r)
				t.Fatal("it was opened")
			}
			for _, want := range []string{path, "damaged", "restore a backup", "move the file away"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// noise overwrites part of data with bytes that follow no rule of SQLite's.
func noise(data []byte, from, to int) []byte {
	for i := from; i < to; i++ {
		data[i] = byte(i*7 + i>>8*13 + 1)
	}
	return data
}

func TestUnusablePaths(t *testing.T) {
	folder := t.TempDir()
	for _, test := range []struct{ name, path string }{
		{"a folder", folder},
		{"no folder", filepath.Join(folder, "nowhere", "registry.db")},
		{"NUL", filepath.Join(folder, "a\x00b")},
	} {
		r, err := OpenSQLite(t.Context(), test.path, Options{})
		if err == nil {
			closed(t, r)
			t.Errorf("%s: it was opened", test.name)
		} else if !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: error %q does not name the path", test.name, err)
		}
	}
}

// TestDiskFull lets the file grow no further, and then again.
func TestDiskFull(t *testing.T) {
	r := openAt(t, file(t), registrytest.NewClock())
	defer closed(t, r)
	apply(t, r, registrytest.Catalog())
	want := contents(t, r)
	if _, err := r.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 1"); err != nil { // SQLite makes it what there is
		t.Fatal(err)
	}
	large := registrytest.Catalog()
	for i := range 500 {
		large.Applications = append(large.Applications, catalog.Application{ID: fmt.Sprintf("application-%d", i)})
	}
	_, err := r.Apply(t.Context(), large, registry.ApplyOptions{})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Apply on a full disk: %v", err)
	}
	if diff := cmp.Diff(want, contents(t, r)); diff != "" {
		t.Errorf("what a full disk left (-want +got):\n%s", diff)
	}
	if _, err := r.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	apply(t, r, large)
}

// TestOpenGivesUp does not wait for longer than its context.
func TestOpenGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := OpenSQLite(ctx, file(t), Options{})
	if err == nil {
		closed(t, r)
	}
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("error %v", err)
	}
}

// BenchmarkLarge applies the largest catalog that is allowed, reads it, and applies it with one limit changed.
func BenchmarkLarge(b *testing.B) {
	c := registrytest.Catalog()
	for i := range catalog.MaxApplications - 2 {
		c.Applications = append(c.Applications, catalog.Application{
			ID: fmt.Sprintf("application-%06d", i), Name: fmt.Sprintf("Application %d", i), Tier: "development",
			Overrides: map[string]catalog.PartialLimits{"posts.create": registrytest.Limits(quota.Limit(i), 5)},
		})
	}
	c.Canonicalize()
	changed := c.Clone()
	changed.Endpoints[0].Limits.Member++
	for b.Loop() {
		r := openAt(b, file(b), registrytest.NewClock())
		took := func(what string, do func()) {
			start := time.Now()
			do()
			b.ReportMetric(time.Since(start).Seconds(), what)
		}
		took("s/first", func() { apply(b, r, c) })
		took("s/read", func() {
			if _, _, err := r.Catalog(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
		took("s/change", func() {
			if changes := apply(b, r, changed); len(changes) != 1 {
				b.Fatal(changes)
			}
		})
		took("s/edit", func() {
			e, err := r.Edit(b.Context(), registry.PutEndpoint{ID: catalog.CatchAllID, Limits: registrytest.Limits(1, 1)}, registry.EditOptions{})
			if err != nil || e.Touched.Applications != catalog.MaxApplications {
				b.Fatal(e, err)
			}
		})
		closed(b, r)
	}
}

// TestOldAuditLosesItsMembers migrates an audit that was written when it still named members: what else it says stays.
func TestOldAuditLosesItsMembers(t *testing.T) {
	path := file(t)
	db := openOld(t, path, 5)
	expires := time.Date(2027, 1, 2, 3, 4, 5, 678e6, time.UTC)
	const odd = "the member club"
	for i, token := range []struct {
		application, member string
		expires             time.Time
		said                string
	}{
		{"acme", "", time.Time{}, "application acme"},
		{"acme", "m-1", time.Time{}, "application acme member m-1"},
		{"acme", "m-2", expires, "application acme member m-2 expires 2027-01-02T03:04:05Z"},
		{odd, "", expires, "application the member club expires 2027-01-02T03:04:05Z"},
	} {
		id := fmt.Sprintf("tok_%d", i)
		for _, insert := range []struct {
			query string
			args  []any
		}{
			{
				"INSERT INTO tokens (id, hash, application, member, created, expires) VALUES ($1, $2, $3, $4, 1, $5)",
				[]any{id, bytes.Repeat([]byte{byte(i)}, 32), token.application, token.member, millis(token.expires)},
			},
			{"INSERT INTO audit (at, actor, action, subject, was, became) VALUES (1, 'operator', 'token.issue', $1, '', $2)", []any{"token " + id, token.said}},
		} {
			if _, err := db.ExecContext(t.Context(), insert.query, insert.args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO audit (at, actor, action, subject, was, became) "+
		"VALUES (1, 'operator', 'token.issue', 'token tok_gone', '', 'application acme member m-3'), (1, 'operator', 'other', 'token tok_1', '', 'of no member at all')"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	entries, err := r.Audit(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Backward(entries) {
		got = append(got, e.After)
	}
	if diff := cmp.Diff([]string{
		"application acme", "application acme for a member", "application acme for a member expires 2027-01-02T03:04:05Z",
		"application the member club expires 2027-01-02T03:04:05Z", "", "of no member at all",
	}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestUpgradeKeepsEverything opens a database as the first version left it, with something in each table.
func TestUpgradeKeepsEverything(t *testing.T) {
	path := file(t)
	db := openOld(t, path, 2)
	for _, query := range []string{
		"UPDATE catalog_version SET version = 7",
		`INSERT INTO catalog_items (kind, id, document) VALUES ('endpoint', '*', '{"application": 1000, "member": 100, "cost": 1}'), ` +
			`('endpoint', 'posts.create', '{"method": "POST", "path": "/rest/posts", "application": 500, "member": 50, "cost": 1}'), ('tier', 'development', '{}'), ('application', 'acme', '{"name": "Acme"}')`,
		"INSERT INTO applications (id, tier, added) VALUES ('met', 'development', 5)",
		"INSERT INTO overrides (application, endpoint, member_limit) VALUES ('acme', 'posts.create', 77), ('gone', 'gone', 1)",
		"INSERT INTO tokens (id, hash, application, member, created, expires, revoked) VALUES ('tok_1', zeroblob(32), 'acme', 'm-1', 1, NULL, NULL), ('tok_2', CAST('0123456789abcdef0123456789abcdef' AS BLOB), 'met', '', 1, 9999999999999, 2)",
		"INSERT INTO revocations (token) VALUES (2)",
		"INSERT INTO settings (key, value) VALUES ('ledger.id', 'x')",
		"INSERT INTO audit (at, actor, action, subject, was, became) VALUES (1, 'operator', 'catalog.apply', 'catalog', '', 'catalog.yaml')",
	} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	c, version, err := r.Catalog(t.Context())
	if err != nil || version < 7 {
		t.Fatalf("version %d, %v", version, err)
	}
	var ids []string
	for _, a := range c.Applications {
		ids = append(ids, a.ID+" in "+a.Tier)
	}
	if diff := cmp.Diff([]string{"acme in ", "met in development"}, ids); diff != "" {
		t.Errorf("applications (-want +got):\n%s", diff)
	}
	if l := c.Applications[0].Overrides["posts.create"].Member; l == nil || *l != 77 || len(c.Endpoints) != 1 || c.CatchAll.Limits.Application != 1000 {
		t.Errorf("the catalog is %+v", c)
	}
	if kept, err := r.Overrides(t.Context(), registry.OverrideName{}, 10); err != nil || len(kept) != 2 {
		t.Errorf("overrides %+v, %v", kept, err)
	}
	if token, err := r.TokenByHash(t.Context(), registry.Hash{}); err != nil || token.ID != "tok_1" || token.Member != "m-1" {
		t.Errorf("the token %+v, %v", token, err)
	}
	if tokens, _, err := r.Tokens(t.Context(), "met", 0, 10); err != nil || len(tokens) != 1 || tokens[0].Revoked.IsZero() {
		t.Errorf("the revoked token %+v, %v", tokens, err)
	}
	if revoked, _, err := r.Revocations(t.Context(), 0); err != nil || len(revoked) != 1 || revoked[0].TokenID != "tok_2" {
		t.Errorf("revocations %+v, %v", revoked, err)
	}
	if value, ok, err := r.Setting(t.Context(), "ledger.id"); value != "x" || !ok || err != nil {
		t.Errorf("the setting %q, %v", value, err)
	}
	if entries, err := r.Audit(t.Context(), 0, 10); err != nil || len(entries) != 1 || entries[0].After != "catalog.yaml" {
		t.Errorf("the audit %+v, %v", entries, err)
	}
	if more, err := r.AddAccount(t.Context(), registry.NewAccount{Email: "ann@example.com"}, ""); err != nil {
		t.Errorf("an account %+v, %v", more, err)
	}
}

// openOld opens a database as a version of the schema left it.
func openOld(t *testing.T, path string, version int64) *sql.DB {
	t.Helper()
	if err := ownerOnly(path); err != nil {
		t.Fatal(err)
	}
	db, err := sqlitePool(path, url.Values{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fs.Sub(migrations, sqliteDialect.migrations)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(sqliteDialect.goose, db, folder, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return db
}

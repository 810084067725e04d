package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/archive"
	"github.com/perdiem/perdiem/internal/durable"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

type restoreCommand struct {
	Config string `short:"c" placeholder:"FILE" help:"The configuration, which tells the data folder (perdiem.yaml)."`
	Data   string `placeholder:"DIR" help:"The data folder, instead of -c. It is made where there is none, and must be empty."`
	File   string `arg:"" help:"The backup."`
}

// Validate is called by kong.
func (c restoreCommand) Validate() error {
	if c.Config != "" && c.Data != "" {
		return errors.New("-c and --data name two folders; give one of them")
	}
	return nil
}

// restoreFolder is the folder in the data folder in which a backup is unpacked, checked and made ready. A node does not start beside it.
const restoreFolder = "restore.tmp"

func (c restoreCommand) Run(p *program) (err error) {
	folder, err := c.folder(p)
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.File); errors.Is(err, fs.ErrNotExist) { // before a folder is made for it
		return fmt.Errorf("%s does not exist: name a file that perdiem backup wrote", c.File)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	claimed, err := claimFolder(folder)
	if err != nil {
		return err
	}
	placed := false // something is in the folder that is not to be removed
	defer func() {
		if placed {
			err = errors.Join(err, claimed.release())
			return
		}
		err = errors.Join(err, claimed.takeBack())
	}()
	if err := mustBeEmpty(folder); err != nil {
		return err
	}
	staging := filepath.Join(folder, restoreFolder)
	if err := os.Mkdir(staging, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	m, err := archive.Extract(ctx, c.File, staging)
	if err != nil {
		return err
	}
	r := embedledger.Restoration{Made: m.Made, At: p.now()}
	last, err := makeReady(ctx, staging, m, r)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	placed = true
	if err := putInPlace(staging, folder); err != nil {
		return fmt.Errorf("the stores cannot be put into %s: %w: empty it, and restore again", folder, err)
	}
	if _, err := fmt.Fprintf(p.stdout, "%s holds the stores as of %s\n", folder, m.Made.UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "perdiem: %s\n", forgotten(m, last))
	fmt.Fprintln(p.stderr, "perdiem: the operator's key is not in a backup: put it into the key's file before perdiem serve, which else makes a new one")
	return nil
}

// folder returns the data folder.
func (c restoreCommand) folder(p *program) (string, error) {
	if c.Data != "" {
		return filepath.Clean(c.Data), nil
	}
	if c.Config == "" {
		c.Config = defaultConfig
	}
	data, err := readBounded(c.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist: name the configuration by -c, or the data folder by --data", c.Config)
	}
	if err != nil {
		return "", err
	}
	config, err := parseConfig(c.Config, data, p.getenv) // its catalog need not be there yet
	if err != nil {
		return "", err
	}
	return config.Data, nil
}

// mustBeEmpty refuses a data folder that holds anything but what holds nothing.
func mustBeEmpty(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); name != lockFile && name != "lost+found" { // a disk of its own has the latter
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0:
		return nil
	case slices.Contains(names, restoreFolder):
		return restoreBrokeOff(folder)
	default:
		return fmt.Errorf("the data folder %s is not empty (it has %s): move what is in it away, or name another; nothing is restored over what a node may still need",
			folder, strings.Join(names[:min(len(names), 3)], ", "))
	}
}

// refuseHalfRestored refuses a data folder in which a restoration was killed.
func refuseHalfRestored(folder string) error {
	_, err := os.Stat(filepath.Join(folder, restoreFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(restoreBrokeOff(folder), err)
}

func restoreBrokeOff(folder string) error {
	return fmt.Errorf("a restoration into the data folder %s broke off: remove all that is in it, and restore again", folder)
}

// makeReady opens the stores that were unpacked, which checks and upgrades them, sees that they belong together, and makes them a node's own: the
// ledger is marked and gets a new id, which the registry is told, and the operator's key of old ends. It returns the ledger's last day.
func makeReady(ctx context.Context, staging string, m *archive.Manifest, r embedledger.Restoration) (last quota.Day, err error) {
	registry, err := sqlregistry.OpenSQLite(ctx, filepath.Join(staging, archive.RegistryName), sqlregistry.Options{Now: func() time.Time { return r.At }})
	if err != nil {
		return quota.Day{}, err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	ledger, err := embedledger.Open(embedledger.Options{Dir: filepath.Join(staging, archive.LedgerFolder), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return quota.Day{}, err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	known, _, err := registry.Setting(ctx, ledgerSetting)
	if err != nil {
		return quota.Day{}, err
	}
	if id := ledger.ID(); known != id || m.Ledger != id {
		return quota.Day{}, errors.New("its registry and its ledger are not of one node: take another backup")
	}
	if err := ledger.MarkRestored(r); err != nil {
		return quota.Day{}, err
	}
	last, _ = ledger.LastDay()
	return last, errors.Join(registry.SetSetting(ctx, ledgerSetting, ledger.ID()), adminapi.ForgetKey(ctx, registry))
}

// putInPlace moves the stores to where a node looks for them. The registry comes first: alone it refuses any ledger but its own.
func putInPlace(staging, folder string) error {
	for _, name := range []string{archive.RegistryName, archive.LedgerFolder} {
		if err := os.Rename(filepath.Join(staging, name), filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return durable.SyncFolder(folder)
}

// forgotten says what a restored node does not know.
func forgotten(m *archive.Manifest, last quota.Day) string {
	text := "what was granted after " + m.Made.UTC().Format(time.RFC3339) + " is not known any more: as many calls may be admitted again, until the reset"
	if !last.End.IsZero() {
		text += fmt.Sprintf(" of the day that is running now (day %s of the backup ends at %s)", last.Date, last.End.UTC().Format(time.RFC3339))
	}
	return text + "; tokens revoked and limits changed since then are to be revoked and changed again"
}

// restoredSetting is what the registry knows of a restoration of its node. The ledger knows of it, too, and may be lost; then its mark is not.
const restoredSetting = "ledger.restored"

// readRestoration returns the last restoration that the ledger or the registry knows of; zero where there was none.
func (n *node) readRestoration(ctx context.Context) (embedledger.Restoration, error) {
	last, _ := n.ledger.Restored()
	kept, ok, err := n.registry.Setting(ctx, restoredSetting)
	if err != nil || !ok {
		return last, err
	}
	var r embedledger.Restoration
	if err := json.Unmarshal([]byte(kept), &r); err != nil {
		return last, fmt.Errorf("what the registry says of its restoration is damaged: %w", err)
	}
	if r.At.After(last.At) {
		last = r
	}
	return last, nil
}

// keepRestoration has the registry know of the restoration, if there was one.
func (n *node) keepRestoration(ctx context.Context) error {
	if n.restoration.At.IsZero() {
		return nil
	}
	text, err := json.Marshal(n.restoration)
	if err != nil {
		return err
	}
	return n.registry.SetSetting(ctx, restoredSetting, string(text))
}

// tellRestored tells the operator what the counters of the running day may lack.
func (n *node) tellRestored(day quota.Day) {
	if r := n.restoration; !r.At.IsZero() && r.IsIncomplete(day.Start) {
		n.log.Warn("the stores were restored from a backup: what was granted since then, until they were restored, is not counted, and may be admitted again until the reset",
			"backup", r.Made.Format(time.RFC3339), "restored", r.At.Format(time.RFC3339), "day", day.Date.String(), "reset", day.End.UTC().Format(time.RFC3339))
	}
}

// restored returns what the node's status says of a restoration; nil where there was none.
func (n *node) restored() *adminapi.Restored {
	r := n.restoration
	if r.At.IsZero() {
		return nil
	}
	return &adminapi.Restored{Backup: r.Made, At: r.At, Incomplete: r.IsIncomplete(n.book.Day().Start)}
}

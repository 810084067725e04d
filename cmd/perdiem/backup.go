package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/perdiem/perdiem/archive"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/durable"
)

type backupCommand struct {
	connection
	File      string `arg:"" help:"The file to write; it must not exist."`
	Overwrite bool   `help:"Replace the file where it exists, once the new one is whole."`
}

func (c backupCommand) Run(p *program) (err error) {
	if info, err := os.Stat(c.File); err == nil && (info.IsDir() || !c.Overwrite) {
		return existsError(c.File, info.IsDir())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	node, err := c.open(p)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	folder := filepath.Dir(c.File)
	temp, err := os.CreateTemp(folder, "."+filepath.Base(c.File)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it is gone already where it became the backup
	err = node.download(ctx, "backup", temp)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// What is said to be a backup has been read once.
	m, err := archive.Verify(ctx, temp.Name())
	if err != nil {
		return fmt.Errorf("the backup did not arrive whole: %w: ask for it again", err)
	}
	if err := c.place(temp.Name()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s holds the stores as of %s (%d bytes in %d files)\n", c.File, m.Made.UTC().Format(time.RFC3339), m.Total(), len(m.Files))
	return err
}

// place makes a temporary file the backup, so that it survives the loss of power.
func (c backupCommand) place(temp string) error {
	rename := os.Rename
	if !c.Overwrite {
		rename = renameNew
	}
	err := rename(temp, c.File)
	switch {
	case err == nil:
		return durable.SyncFolder(filepath.Dir(c.File))
	case !c.Overwrite && errors.Is(err, fs.ErrExist):
		return existsError(c.File, false)
	default:
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
}

// renameNew renames a file as [os.Rename] does, and replaces none: the error is [fs.ErrExist] then. Where the system or the file system cannot do
// that in one step, an empty file takes the name first, which a loss of power in between would leave behind.
func renameNew(from, to string) error {
	return renameOrReserve(from, to, renameNoReplace)
}

func renameOrReserve(from, to string, noReplace func(from, to string) error) error {
	if err := noReplace(from, to); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	mine, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_ = mine.Close() // nothing was written
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

func existsError(file string, isFolder bool) error {
	if isFolder {
		return fmt.Errorf("%s is a folder: name a file", file)
	}
	return fmt.Errorf("%s exists: name another file, or replace it by --overwrite", file)
}

// silence is how long a node may send nothing of a backup.
const silence = 2 * time.Minute

// download asks for an operation whose answer is no JSON, and writes the answer to w as it comes. It has no time in which it
// must be done, but for a silence.
func (c *client) download(ctx context.Context, path string, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(fmt.Errorf("it sent nothing for %s", silence)) })
	defer alarm.Stop()
	u := *c.base
	u.Path += "/admin/v1/" + path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	patient := *c.http
	patient.Timeout = 0
	reply, err := patient.Do(request)
	if err != nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err
		}
		return fmt.Errorf("the node at %s does not answer: %w: see that it runs, or name another by --server, -c or PERDIEM_SERVER", c.base, why(ctx, err))
	}
	defer reply.Body.Close()
	if reply.StatusCode >= http.StatusMultipleChoices {
		data, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
		if err != nil {
			return err
		}
		return c.refused(reply, data)
	}
	if _, err = io.Copy(w, heard{reply.Body, func() { alarm.Reset(silence) }}); err != nil {
		return fmt.Errorf("the answer of the node at %s broke off: %w: ask again; its log tells more", c.base, why(ctx, err))
	}
	return nil
}

// why returns why ctx ended, where it has, and else err.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// heard tells of each part that is read.
type heard struct {
	io.Reader
	tell func()
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.tell()
	}
	return n, err
}

// backups makes copies of a node's stores, one at a time.
type backups struct {
	node *node
	busy sync.Mutex
}

// copyFolder is the folder in the data folder in which the registry is copied. The ledger has its own.
const copyFolder = "backup.tmp"

// copyRoom is how much of the disk has to be free besides what the registry takes: the ledger's floor, and its log.
const copyRoom = (256 + 128) << 20

// removeCopies removes what a node left that was killed during a backup.
func removeCopies(data string) error { return os.RemoveAll(filepath.Join(data, copyFolder)) }

// make copies both stores. The registry comes first, the ledger after it: so whatever a change in the copied registry has let calls be granted,
// the copied ledger knows of, and what is granted in between is counted though the registry does not know why.
func (b *backups) make(ctx context.Context) (write func(io.Writer) error, err error) {
	n := b.node
	if !b.busy.TryLock() {
		return nil, fault.New(fault.Conflict, "A backup is under way: wait until it is done.")
	}
	folder := filepath.Join(n.config.Data, copyFolder)
	remove := func() error {
		defer b.busy.Unlock()
		return errors.Join(removeCopies(n.config.Data), n.ledger.RemoveCheckpoint())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	m := archive.Manifest{Program: n.build.version, Made: n.now().UTC(), Day: n.book.Day().Date.String(), Ledger: n.ledger.ID()}
	if err := b.hasRoom(); err != nil {
		return nil, err
	}
	if err := errors.Join(removeCopies(n.config.Data), os.Mkdir(folder, 0o700)); err != nil {
		return nil, err
	}
	registry := filepath.Join(folder, archive.RegistryName)
	if err := n.registry.Copy(ctx, registry); err != nil {
		return nil, err
	}
	ledger, err := n.ledger.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	sources := []archive.Source{{Name: archive.RegistryName, Path: registry}}
	entries, err := os.ReadDir(ledger)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		sources = append(sources, archive.Source{Name: archive.LedgerFolder + "/" + entry.Name(), Path: filepath.Join(ledger, entry.Name())})
	}
	return func(w io.Writer) error {
		return errors.Join(archive.Write(unlessStopping{n, w}, m, sources), remove())
	}, nil
}

// hasRoom refuses a backup that could take the room that the ledger needs.
func (b *backups) hasRoom() error {
	var need uint64 = copyRoom
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(filepath.Join(b.node.config.Data, archive.RegistryName+suffix)); err == nil {
			need += uint64(info.Size())
		}
	}
	if free := b.node.ledger.Stats().FreeBytes; free < need {
		return fault.New(fault.Unavailable, "The disk of the data folder has %d MiB free, and a backup needs %d for a while: make room.", free>>20, need>>20)
	}
	return nil
}

// unlessStopping writes until the node stops: a backup does not hold that up.
type unlessStopping struct {
	node *node
	io.Writer
}

func (u unlessStopping) Write(p []byte) (int, error) {
	if u.node.stopping.Load() {
		return 0, errors.New("a stop is under way")
	}
	return u.Writer.Write(p)
}

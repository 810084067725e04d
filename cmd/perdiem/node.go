package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/telemetry"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/portal"
	"github.com/perdiem/perdiem/protect"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry/sqlregistry"
	"github.com/perdiem/perdiem/usage"
)

// node is perdiem at work: the stores of one data folder, the leases, and the doors. startNode makes it, stop ends it.
type node struct {
	config    *config
	log       *slog.Logger
	now       func() time.Time
	reread    func() (*config, error) // nil: the configuration does not change
	build     build
	telemetry *telemetry.Telemetry

	// In the order in which they are opened. What is nil was not.
	lock       *folderLock
	registry   *sqlregistry.Registry
	ledger     *embedledger.Ledger
	book       *lease.Book
	records    records
	doors      doors
	snapshots  *snapshots
	key        *adminapi.Key
	tokenKey   *identity.TokenKey
	browserKey *identity.BrowserKey
	tokens     *identity.Tokens // nil where the configuration has no such source
	passwords  *identity.Passwords
	newcomers  *newcomers // nil where the configuration refuses applications that it does not know
	usage      *usage.Reader
	protect    *protect.Limiter // nil where there is no gateway, or no protection
	gateway    *gateway.Gateway
	pages      *portal.Portal
	portal     *http.Server
	admin      *http.Server
	ops        *http.Server
	address    addresses
	backups    backups
	pairs      map[string]*keypair.Pair // certificates by the listener's name

	restoration embedledger.Restoration // the last one; zero: there was none
	kept        map[catalog.Change]bool // what the last catalog's file wanted to be otherwise; whoever applies the file has it to themselves

	following sync.WaitGroup     // what follows the registry
	unfollow  context.CancelFunc // ends it
	failed    chan error         // a door that closed by itself
	stopping  atomic.Bool
}

// addresses are where a node listens, as HOST:PORT; empty: it does not.
type addresses struct {
	Gateway string `json:"gateway,omitempty"`
	Portal  string `json:"portal,omitempty"`
	Admin   string `json:"admin"`
	Ops     string `json:"ops"`
	// AdminCertificate is the admin listener's certificate in PEM, by which commands on this machine know the node; empty: it speaks without TLS.
	AdminCertificate string `json:"adminCertificate,omitempty"`
}

// doors are the listeners of a node; nil: there is none.
type doors struct{ gateway, portal, admin, ops net.Listener }

// readyLine is what a node prints once it serves.
func (a addresses) readyLine() string {
	line := "perdiem: ready"
	if a.Gateway != "" {
		line += " gateway=" + a.Gateway
	}
	return line + " portal=" + a.Portal + " admin=" + a.Admin + " ops=" + a.Ops
}

// nodeOptions are what a node needs besides its configuration.
type nodeOptions struct {
	Log *slog.Logger
	Now func() time.Time
	// Reread reads the configuration again, to tell on SIGHUP what has changed in it; nil: nobody else writes it.
	Reread func() (*config, error)
	// AcceptLedger goes on with the ledger that is in the data folder, though the registry knows another.
	AcceptLedger bool
}

// startNode returns a node that serves. When it fails it leaves nothing open.
func startNode(ctx context.Context, c *config, o nodeOptions) (_ *node, err error) {
	n := &node{config: c, log: o.Log, now: o.Now, reread: o.Reread, build: readBuild(), passwords: identity.NewPasswords(), failed: make(chan error, 4)}
	n.backups.node = n
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop(ctx))
		}
	}()
	claimed, err := claimFolder(c.Data)
	if err != nil {
		return nil, err
	}
	n.lock = claimed.lock
	if err := refuseHalfRestored(c.Data); err != nil {
		return nil, err
	}
	if err := errors.Join(removeNodeFile(c.Data), removeCopies(c.Data)); err != nil { // a node that was killed left them
		return nil, err
	}
	// Whatever may refuse a start comes before the first change to the registry.
	if err := n.openPairs(); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil { // before the stores are made: whoever started a node twice finds nothing left behind
		return nil, errors.Join(err, claimed.remove())
	}
	if err := n.openStores(ctx, o.AcceptLedger); err != nil {
		return nil, err
	}
	if err := n.configure(ctx); err != nil {
		return nil, err
	}
	follow, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	n.unfollow = unfollow
	n.following.Go(func() { n.snapshots.follow(follow) })
	n.records.follow(follow, n.following.Go)
	n.following.Go(func() { forgetTokens(follow, n.registry.ForgetTokens, n.log) })
	if err := n.openDoors(follow); err != nil {
		return nil, err
	}
	return n, writeNodeFile(c.Data, n.address)
}

// openStores opens the registry and the ledger, makes sure that they belong together, and goes on with the ledger's last day. It leaves the
// registry as it is.
func (n *node) openStores(ctx context.Context, accept bool) (err error) {
	n.telemetry, err = telemetry.New(telemetry.Options{
		Version: n.build.version, Revision: n.build.revision, Ready: n.ready, Figures: n.figures,
	})
	if err != nil {
		return err
	}
	n.registry, err = sqlregistry.OpenSQLite(ctx, filepath.Join(n.config.Data, "registry.db"), sqlregistry.Options{Now: n.now, Paths: n.config.Paths})
	if err != nil {
		return err
	}
	n.snapshots = &snapshots{registry: n.registry, config: n.config, log: n.log, swapped: n.swapped}
	return n.openLedger(ctx, accept)
}

// configure has the registry hold what the configuration says, the catalog first, since only that can be refused, and reads or makes
// the operator's key.
func (n *node) configure(ctx context.Context) error {
	changes, err := n.snapshots.applyFile(ctx)
	if err != nil {
		return err
	}
	n.logChanges(changes)
	if err := n.registry.SetSetting(ctx, ledgerSetting, n.ledger.ID()); err != nil {
		return err
	}
	if err := errors.Join(n.keepDayRule(ctx), n.keepRestoration(ctx)); err != nil {
		return err
	}
	if n.tokenKey, err = identity.OpenTokenKey(ctx, n.registry.KeepSetting); err != nil {
		return err
	}
	if n.browserKey, err = identity.OpenBrowserKey(ctx, n.registry.KeepSetting); err != nil {
		return err
	}
	if n.key, err = adminapi.OpenKey(ctx, n.registry, n.config.OperatorKeyFile); err != nil {
		return err
	}
	n.warnOfOpenSecrets()
	n.warnOfPlainAdmin()
	return nil
}

// swapped hears of each new snapshot of the catalog.
func (n *node) swapped(s *catalog.Snapshot) {
	ids := make([]string, 0, len(s.Endpoints()))
	for _, e := range s.Endpoints() {
		ids = append(ids, e.ID)
	}
	n.telemetry.SetEndpoints(ids)
}

// logChanges logs what was changed, and returns how much that was. What was kept is logged when it was not the last time, too. An application that
// is gone is a warning, with what went with it: one wrong letter in its id does that, and a right one does not bring back its tokens.
func (n *node) logChanges(changes []catalog.Change) (made int) {
	kept := map[catalog.Change]bool{}
	for _, c := range changes {
		if c.Op != catalog.Kept {
			made++
		} else if kept[c] = true; n.kept[c] {
			continue
		}
		level := slog.LevelInfo
		if c.Op == catalog.Removed && c.Noun == "application" {
			level = slog.LevelWarn
		}
		n.log.Log(context.Background(), level, "catalog changed", "change", c.String())
	}
	n.kept = kept
	return made
}

// The registry's settings that tie it to its ledger.
const (
	ledgerSetting = "ledger.id"
	daySetting    = "day.rule"
)

// openLedger opens the ledger, makes sure that it is the registry's, and goes on with its last day.
func (n *node) openLedger(ctx context.Context, accept bool) (err error) {
	folder := filepath.Join(n.config.Data, "ledger")
	n.ledger, err = embedledger.Open(embedledger.Options{
		Dir: folder, Durability: n.config.Durability, RetentionDays: n.config.RetentionDays, Logger: n.log, Now: n.now,
	})
	if err != nil {
		return err
	}
	known, ok, err := n.registry.Setting(ctx, ledgerSetting)
	if err != nil {
		return err
	}
	if ok && known != n.ledger.ID() && !accept {
		return fmt.Errorf("the ledger in %s is not the one that the registry knows, so it does not know what was used today: bring the right one back, "+
			"or start once with --accept-ledger to go on with this one", folder)
	}
	if ok && known != n.ledger.ID() {
		n.log.Warn("another ledger is accepted than the registry knew: what was used today before it was made is forgotten", "folder", folder)
	}
	last, opened := n.ledger.LastDay()
	if !opened {
		last = quota.Day{}
	}
	day, err := n.config.Day.Resume(last, n.now())
	if err != nil {
		return fmt.Errorf("%w: set the clock right and start again; or, if the clock is right, move %s away and start once with --accept-ledger, "+
			"which forgets what was used today", err, folder)
	}
	if n.restoration, err = n.readRestoration(ctx); err != nil {
		return err
	}
	n.tellRestored(day)
	if err := n.ledger.Drop(day.Date - quota.Date(n.config.RetentionDays)); err != nil { // retention_days may have been lowered
		return err
	}
	n.book, err = lease.Open(lease.Options{
		Ledger: n.ledger, Rule: n.config.Day, Day: day, AdmitWhenDown: n.config.AdmitWhenDown, Now: n.now, Logger: n.log,
		Near: n.nearLimit,
	})
	if err != nil {
		return err
	}
	return n.openRecords(ctx)
}

// keepDayRule keeps the rule of the day in the registry. On one node a rule that differs from the one kept is a change: it holds from the end
// of the running day.
func (n *node) keepDayRule(ctx context.Context) error {
	rule := dayText(n.config.Day)
	kept, ok, err := n.registry.Setting(ctx, daySetting)
	if err != nil {
		return err
	}
	if ok && kept != rule {
		n.log.Info("the rule of the day has changed, from the end of the running day on", "from", kept, "to", rule)
	}
	return n.registry.SetSetting(ctx, daySetting, rule)
}

// listen takes the addresses. Whoever connects waits until the node serves.
func (n *node) listen() (err error) {
	if n.config.Gateway != "" {
		if n.doors.gateway, n.address.Gateway, err = listen("listen.gateway", n.config.Gateway); err != nil {
			return err
		}
	}
	if n.doors.portal, n.address.Portal, err = listen("listen.portal", n.config.Portal); err != nil {
		return err
	}
	if n.doors.admin, n.address.Admin, err = listen("listen.admin", n.config.Admin); err != nil {
		return err
	}
	n.doors.ops, n.address.Ops, err = listen("listen.ops", n.config.Ops)
	return err
}

// addressError is the error of an address that cannot be listened at.
type addressError struct {
	name  string // the key that configures it
	cause error
}

func (e *addressError) Error() string {
	return fmt.Sprintf("%s cannot be had: %v: end what listens there, or configure another address", e.name, e.cause)
}

func (e *addressError) Unwrap() error { return e.cause }

// listen takes an address, and returns it with the port that it got.
func listen(name, address string) (net.Listener, string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", &addressError{name, err}
	}
	// The host stays as it was configured: the system may call 0.0.0.0 by another name.
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return l, "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return l, net.JoinHostPort(host, port), err
}

// openDoors serves those who speak to the node. Until follow ends, sources of identity follow the registry.
func (n *node) openDoors(follow context.Context) error {
	sources, err := n.sources(follow)
	if err != nil {
		return err
	}
	admitter, err := n.newAdmitter(sources)
	if err != nil {
		return err
	}
	n.usage, err = usage.New(usage.Options{
		Catalog: n.snapshots.current, Counters: counters{n.book}, Now: n.now, Near: n.records.near, ApplicationOnly: !n.config.UsageForMembers,
	})
	if err != nil {
		return err
	}
	if n.config.Gateway != "" {
		if n.protect, err = n.newProtection(); err != nil {
			return err
		}
		n.gateway, err = gateway.New(gateway.Options{
			Upstream: n.config.Upstream, UpstreamTimeout: n.config.UpstreamTimeout, Protect: n.protect,
			TLS: n.tls("gateway"), TrustedProxies: n.config.Edge.TrustedProxies, Hosts: n.config.Edge.Hosts, CORS: n.config.Edge.CORS,
			Timeouts: n.config.Edge.Timeouts, Connections: n.config.Edge.Connections,
			Admit: admitter, Usage: n.usage, Answers: answer.Writer{Headers: n.config.Headers},
			MethodOverride: n.config.MethodOverride, Now: n.now, Log: n.log, Observe: n.observe,
		})
		if err != nil {
			return err
		}
		n.serve("listen.gateway", n.doors.gateway, n.gateway.Serve)
	}
	if err := n.openPortal(sources); err != nil {
		return err
	}
	api, err := adminapi.New(adminapi.Options{
		Registry:     n.registry,
		Usage:        n.usage,
		History:      n.records.history,
		Alerts:       n.registry,
		TestAlert:    n.records.alerts.Test,
		Key:          n.key,
		Catalog:      n.snapshots.current,
		NewToken:     n.tokenKey.NewToken,
		TakesTokens:  n.config.Identity.takesTokens(),
		HashPassword: n.passwords.Hash,
		Changed:      n.snapshots.refresh,
		Revoked:      n.revoked,
		MayApply:     n.mayApply,
		Paths:        n.config.Paths,
		Backup:       n.backups.make,
		Status:       n.status,
		Protection:   n.protection,
		Fault:        answer.Fault,
		Problem:      answer.Problem,
		Now:          n.now,
		Log:          n.log,
	})
	if err != nil {
		return err
	}
	n.admin = n.server(api)
	n.serve("listen.admin", n.doors.admin, n.encrypted("admin", n.admin))
	n.ops = n.server(n.telemetry)
	n.serve("listen.ops", n.doors.ops, n.encrypted("ops", n.ops))
	return nil
}

func (n *node) newAdmitter(sources []identity.Source) (*admit.Admitter, error) {
	return admit.New(admit.Options{
		Catalog: n.snapshots.current, Callers: identity.New(sources...), Take: n.take, Now: n.now, Register: n.register(),
	})
}

// serve lets a server loose on a door.
func (n *node) serve(name string, door net.Listener, serve func(net.Listener) error) {
	go func() {
		if err := serve(door); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// server returns a server for operators and their tools, who ask little and are answered soon.
func (n *node) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelWarn),
	}
}

// take decides a call, and takes the time.
func (n *node) take(ctx context.Context, c lease.Call) (quota.Decision, error) {
	began := n.now()
	d, err := n.book.Take(ctx, c)
	n.telemetry.Decision(n.now().Sub(began))
	return d, err
}

// rejections name the requests that were neither admitted nor refused by a limit.
var rejections = map[int]string{
	http.StatusBadRequest:         "bad_request",
	http.StatusUnauthorized:       "unauthorized",
	http.StatusForbidden:          "forbidden",
	http.StatusTooManyRequests:    "protected",
	http.StatusServiceUnavailable: "unavailable",
}

// observe counts a request at the gateway.
func (n *node) observe(o gateway.Observation) {
	outcome := o.Outcome.String()
	if name, ok := rejections[o.Status]; ok && o.Outcome == gateway.Rejected {
		outcome = name
	}
	n.telemetry.Request(telemetry.Request{Outcome: outcome, Endpoint: o.Endpoint, Limit: o.Kind.String(), Duration: o.Duration})
}

// revoked takes up that a token was revoked.
func (n *node) revoked(ctx context.Context) error {
	if n.tokens == nil { // none is believed
		return nil
	}
	return n.tokens.ReadRevocations(ctx)
}

// ready returns why the node could not decide every request now.
func (n *node) ready() error {
	if n.stopping.Load() {
		return errors.New("a stop is under way")
	}
	if err := n.book.Ready(); err != nil {
		return err
	}
	if err := n.ledger.Healthy(); err != nil {
		return err
	}
	if n.tokens == nil {
		return nil
	}
	return n.tokens.Ready()
}

func (n *node) figures() telemetry.Figures {
	book, ledger := n.book.Stats(), n.ledger.Stats()
	return telemetry.Figures{
		Incomplete:     n.restoration.IsIncomplete(n.book.Day().Start),
		LedgerUp:       !book.Down && n.ledger.Healthy() == nil,
		LedgerRequests: book.Requests,
		LedgerAsks:     book.Asks,
		LedgerWrites:   ledger.Writes,
		LedgerBytes:    ledger.DiskBytes,
		FreeBytes:      ledger.FreeBytes,
		Returned:       book.Returns,
		Unbacked:       book.Unbacked,
		Unrecorded:     book.Untold,
		Accounts:       book.Accounts,
		CatalogVersion: n.snapshots.current().Version(),
		Protection:     n.protectionFigures(),
		Certificates:   n.expiries(),
	}
}

func (n *node) status() adminapi.Status {
	day, s := n.book.Day(), n.snapshots.current()
	status := adminapi.Status{
		Restored: n.restored(),
		Version:  n.build.version, Ready: true, Day: day.Date.String(), ResetsAt: day.End.UTC(),
		CatalogVersion: s.Version(), Endpoints: len(s.Endpoints()), Applications: len(s.Applications()),
		Ledger: n.ledgerHealth(),
	}
	if err := n.ready(); err != nil {
		status.Ready, status.Reason = false, err.Error()
	}
	return status
}

// mayApply refuses any catalog file but the configuration's own, where that names one: the next start would undo it.
func (n *node) mayApply(data []byte) error {
	if n.config.Catalog == "" {
		return nil
	}
	own, err := readBounded(n.config.Catalog)
	if err == nil && string(own) == string(data) {
		return nil
	}
	return fault.New(fault.Conflict, "This node applies %s, which its configuration names, and no other file: change that one and send SIGHUP, or take "+
		"catalog out of the configuration. With --dry-run any file can be tried.", n.config.Catalog)
}

// reload reads certificates again, and applies the configuration's catalog again. A bad file changes nothing; what is wrong with it is logged. The
// configuration itself holds as it was at the start: what has changed in it since is logged.
func (n *node) reload(ctx context.Context) {
	n.tellChanged()
	n.reloadPairs()
	if n.config.Catalog == "" {
		if len(n.pairs) == 0 {
			n.log.Warn("there is nothing to read again: the configuration names no catalog and no certificate")
		}
		return
	}
	changes, err := n.snapshots.applyFile(ctx)
	if err != nil {
		for _, line := range lines(err) {
			n.log.Error("the catalog was not applied, and the last one holds", "file", n.config.Catalog, "err", line)
		}
		return
	}
	n.log.Info("the catalog was applied", "file", n.config.Catalog, "changes", n.logChanges(changes))
}

// How long a stop may take: stopTime in all, of which requests under way get drainTime, and leases what is left of returnTime.
const (
	stopTime   = 28 * time.Second
	returnTime = 25 * time.Second
	drainTime  = 20 * time.Second
)

// stop ends the node: it says that it is not ready, lets requests under way end, returns all leases, and closes the stores. What hangs is
// left behind when its time is over.
func (n *node) stop(ctx context.Context) error {
	n.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	returning, returned := context.WithTimeout(ctx, returnTime)
	defer returned()
	drain, drained := context.WithTimeout(ctx, drainTime)
	defer drained()
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if n.gateway != nil {
		// Requests that outlast the time are cut off; nothing is wrong with the node then.
		if err := within(returning, func() error { return n.gateway.Shutdown(drain) }); err != nil {
			n.log.Warn("requests were under way for too long and were cut off", "err", err)
		}
	}
	if n.portal != nil {
		n.pages.Close() // else what is live would be waited for
		note("closing the portal", shutdown(drain, n.portal))
	}
	if n.admin != nil {
		note("closing the admin API", shutdown(drain, n.admin))
	}
	if n.unfollow != nil {
		n.unfollow()
		note("ending what follows the registry", within(returning, func() error { n.following.Wait(); return nil }))
	}
	if n.book != nil {
		note("returning leases", within(returning, func() error { return n.book.Close(returning) }))
	}
	note("writing what was decided", within(returning, func() error { return n.records.close(returning) }))
	if n.ops != nil {
		note("closing the ops listener", shutdown(returning, n.ops))
	}
	for _, door := range []net.Listener{n.doors.gateway, n.doors.portal, n.doors.admin, n.doors.ops} {
		if door != nil {
			_ = door.Close() // it is closed already where it was served
		}
	}
	if n.ledger != nil {
		note("closing the ledger", within(ctx, n.ledger.Close))
	}
	if n.registry != nil {
		note("closing the registry", within(ctx, n.registry.Close))
	}
	if n.lock != nil {
		if n.address != (addresses{}) {
			note("tidying the data folder", removeNodeFile(n.config.Data))
		}
		if ctx.Err() == nil { // else a store may still be at work, and the folder is let go when the process ends
			note("letting the data folder go", n.lock.release())
		}
	}
	return errors.Join(errs...)
}

// within runs end, and returns its error, or that it was still running when ctx ended.
func within(ctx context.Context, end func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return errors.New("it took too long, and was left behind")
	}
}

// shutdown lets a server's requests end, and closes it in any case.
func shutdown(ctx context.Context, s *http.Server) error {
	if err := s.Shutdown(ctx); err != nil {
		return s.Close()
	}
	return nil
}

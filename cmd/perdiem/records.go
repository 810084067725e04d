package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/notify"
	"github.com/perdiem/perdiem/portal"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// records are what a node keeps of the calls that it decided, and the alerts that come of it.
type records struct {
	history *usage.History
	near    *usage.NearMembers
	alerts  *usage.Alerts
	outbox  *notify.Outbox
}

// openRecords opens what is kept of calls. Until it has returned, none may be decided.
func (n *node) openRecords(ctx context.Context) (err error) {
	r := &n.records
	r.near, err = usage.OpenNear(ctx, usage.NearOptions{
		Store: n.registry, Day: n.book.Day, Members: counters{n.book}.members, Limit: n.memberLimit, Log: n.log,
	})
	if err != nil {
		return err
	}
	send := map[usage.AlertWay]notify.Send{
		usage.WebhookWay: notify.NewWebhooks(n.config.Alerts.WebhooksMayReach, n.now).Send,
	}
	if n.config.SMTP != nil {
		o := *n.config.SMTP
		if base := n.config.PortalURL; base != nil {
			o.Page = func(application string) string { return portal.AnalyticsURL(base, application) }
		}
		mail, err := notify.NewMail(o)
		if err != nil {
			return err
		}
		send[usage.MailWay] = mail.Send
	}
	r.alerts, err = usage.OpenAlerts(ctx, usage.AlertOptions{
		Store: n.registry, Day: n.book.Day, Ways: slices.Collect(maps.Keys(send)), Members: r.near.Tell, Limit: n.memberLimit, Now: n.now, Log: n.log,
	})
	if err != nil {
		return err
	}
	r.outbox, err = notify.New(notify.Options{
		Store: n.registry, Send: send, Now: n.now, Log: n.log,
	})
	if err != nil {
		return err
	}
	r.history, err = usage.NewHistory(usage.HistoryOptions{
		Store: n.registry, Day: n.book.Day, Decided: n.decided, DecidedOf: n.decidedOf, Days: n.config.HistoryDays, Now: n.now, Log: n.log,
	})
	return err
}

const (
	forgetTokensEvery = time.Hour
	forgetTokensPause = time.Second // between two steps, so that nobody waits for them
)

// forgetTokens forgets the tokens that ended long ago, as [registry.Registry.ForgetTokens], until ctx ends: they may have members' ids in them.
func forgetTokens(ctx context.Context, forget func(context.Context) (more bool, err error), log *slog.Logger) {
	for {
		more, err := forget(ctx)
		if err != nil && ctx.Err() == nil {
			log.Warn("tokens that ended more than a week ago cannot be forgotten: it is tried again", "err", err)
		}
		pause := forgetTokensEvery
		if more {
			pause = forgetTokensPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// follow keeps records until ctx ends. The catalog is known by now.
func (r *records) follow(ctx context.Context, start func(func())) {
	r.near.Tell(r.alerts.Near) // of whom nothing was told before the node stopped
	for _, follow := range []func(context.Context){r.history.Follow, r.near.Follow, r.alerts.Follow, r.outbox.Follow} {
		start(func() { follow(ctx) })
	}
}

// close writes what was decided until now, of which the history tells alerts.
func (r *records) close(ctx context.Context) error {
	if r.history == nil { // they were not all opened
		return nil
	}
	return errors.Join(r.history.Close(ctx), r.near.Close(ctx), r.alerts.Close(ctx))
}

// decided tells the history what was decided since it was last told, and alerts where the applications' limits stand.
func (n *node) decided(tell func(usage.Decided) (more bool)) (all bool) {
	return n.book.Decided(func(d lease.Decided) bool { return tell(n.decision(d)) })
}

// decidedOf is as decided, of one application.
func (n *node) decidedOf(application string, tell func(usage.Decided)) {
	n.book.DecidedOf(application, func(d lease.Decided) { tell(n.decision(d)) })
}

func (n *node) decision(d lease.Decided) usage.Decided {
	n.records.alerts.Called(d.Day.Date, d.Application, d.Endpoint, d.Used, d.Limit, d.Refused > d.RefusedForMember)
	return usage.Decided{
		Day: d.Day, Application: d.Application, Endpoint: d.Endpoint,
		Calls: usage.Calls{Admitted: d.Admitted, Refused: d.Refused, RefusedForMember: d.RefusedForMember},
	}
}

// nearLimit takes up that a member has come near its limit.
func (n *node) nearLimit(m lease.Near) {
	n.records.near.Note(usage.Near(m))
	n.records.alerts.Near(usage.Near(m))
}

// memberLimit returns the limit that an application's members have for an endpoint, and whether there is such an application.
func (n *node) memberLimit(application, endpoint string) (limit quota.Limit, known bool) {
	snapshot := n.snapshots.current()
	app, known := snapshot.Application(application)
	if !known {
		return 0, false
	}
	if e, known := snapshot.Endpoint(endpoint); known {
		limit = snapshot.Limits(app, e).Member
	}
	return limit, true
}

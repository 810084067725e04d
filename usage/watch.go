package usage

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// Alert is the body of an alert's message, in the form that Standard Webhooks recommends (github.com/standard-webhooks/standard-webhooks,
// spec/standard-webhooks.md, "Payload structure").
type Alert struct {
	Type      string    `json:"type"` // [AlertType]
	Timestamp time.Time `json:"timestamp"`
	Data      AlertData `json:"data"`
}

// AlertType is the type of all alerts so far.
const AlertType = "limit.near"

// TestAlertType is the type of an alert that somebody asked for, to see it arrive: it tells of no limit.
const TestAlertType = "limit.test"

// AlertData says which of an application's limits have come to a threshold.
type AlertData struct {
	Application string       `json:"application"`
	Day         string       `json:"day"` // as 2006-01-02
	ResetsAt    time.Time    `json:"resetsAt"`
	Limits      []AlertLimit `json:"limits"` // the application's first, then the members', each in order of endpoint
	// MoreMembers is, in the last message of a day, how many more limits of members came to a threshold, of which nobody was told.
	MoreMembers int `json:"moreMembers,omitempty"`
}

// AlertLimit is the limit of an application, or that of one member or several.
type AlertLimit struct {
	Kind      string       `json:"kind"` // "application" or "member"
	Endpoint  string       `json:"endpoint"`
	Threshold int          `json:"threshold"` // percent: the highest that was crossed
	Limit     int64        `json:"limit,omitempty"`
	Used      int64        `json:"used,omitempty"`
	Members   []NearMember `json:"members,omitempty"` // of kind member: who, in order of id
}

// AlertOptions are what [OpenAlerts] needs. All but Ways, Members and Limit are required.
type AlertOptions struct {
	Store AlertStore
	Day   func() quota.Day // the day that is running
	Ways  []AlertWay       // by which messages can be delivered; may be empty
	// Members tells of all members who are near a limit now, as [NearMembers.Tell]: it is asked when settings have changed. nil: of nobody.
	Members func(tell func(Near))
	// Limit returns the limit that an application's members have for an endpoint now, as that of [NearOptions]: of a percentage of another one nobody is
	// told. It must not call the Alerts. nil: limits are what members came with.
	Limit func(application, endpoint string) (limit quota.Limit, known bool)
	Now   func() time.Time
	Log   *slog.Logger
}

// Alerts notices when a limit comes to a threshold of its application's settings, and puts a message that tells of it into the store, from
// where it is delivered: for each limit and threshold once a day, restarts included, and within two seconds. It is safe for concurrent use.
//
// Members are summed up: the first are told of at once, others with those that come in the next minute, then in the next two, and so on up to an
// hour, the nearest hundred at a time; and in one last message at the end of the day, of the nearest hundred and how many more wait. That is
// of [MaxNear] members an endpoint and day at the most: those with the highest percentages.
//
// The settings are in memory, and follow the store within a second, whoever changes them there: who has none costs nothing.
type Alerts struct {
	o        AlertOptions
	settings atomic.Pointer[map[string]warning] // of the applications of which somebody is to be warned

	mu    sync.Mutex
	today *alertDay // guarded by mu
	over  *alertDay // guarded by mu: the day before, while something may still be told of it; else nil

	// What follows is the loop's own.
	version   int64      // of the settings
	forgotten quota.Date // the day before which the store has forgotten what was told of
	dropping  bool       // there was no room for all that came since the last look
	failing   bool
}

// warning says who is to be warned of an application's limits, and when.
type warning struct {
	thresholds []int
	channels   []AlertChannel
}

const (
	watchEvery = time.Second
	firstPause = time.Minute
	lastPause  = time.Hour
	// overFor is how long after its end a day's limits are still heard of: what was decided just before is told a little later.
	overFor = time.Minute
	// maxWaiting is how many members may wait to be told of, some 30 MB; those beyond are noticed with their next percentage.
	maxWaiting = 100_000
	// toldAtOnce is how many limits of an application, and how many of members, one message tells of.
	toldAtOnce = 100
	// crossingsAtOnce is from how many crossings on a transaction takes no more applications: others wait for the store meanwhile.
	crossingsAtOnce = 500
)

// OpenAlerts returns what the store knows to have been told of today.
func OpenAlerts(ctx context.Context, o AlertOptions) (*Alerts, error) {
	if o.Store == nil || o.Day == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("usage: AlertOptions need a Store, Day, Now and Log")
	}
	day := o.Day()
	a := &Alerts{o: o, today: newAlertDay(day.Date)}
	a.today.day = day
	a.settings.Store(&map[string]warning{})
	if _, err := a.readSettings(ctx); err != nil {
		return nil, err
	}
	raised, err := o.Store.RaisedAlerts(ctx, a.today.date)
	if err != nil {
		return nil, err
	}
	for _, c := range raised {
		a.today.restore(c)
	}
	return a, nil
}

// readSettings takes up the settings, where they have changed.
func (a *Alerts) readSettings(ctx context.Context) (changed bool, err error) {
	all, version, err := a.o.Store.AllAlertSettings(ctx, a.version)
	if err != nil || version == a.version {
		return false, err
	}
	warnings := map[string]warning{}
	for application, s := range all {
		if channels := a.channels(s); len(channels) > 0 {
			warnings[application] = warning{thresholds: s.At(), channels: channels}
		}
	}
	a.settings.Store(&warnings)
	a.version = version
	a.forgetRemoved(all)
	return true, nil
}

// forgetRemoved forgets what was told of applications that have no settings: they were removed, and others may come to bear their names.
func (a *Alerts) forgetRemoved(settings map[string]AlertSettings) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range []*alertDay{a.today, a.over} {
		if d != nil {
			d.keepOnly(settings)
		}
	}
}

func (a *Alerts) warning(application string) warning { return (*a.settings.Load())[application] }

func (a *Alerts) thresholds(application string) []int { return a.warning(application).thresholds }

// Near takes up that a member has come near its limit.
func (a *Alerts) Near(n Near) {
	a.come(n.Day, n.Application, standing{endpoint: n.Endpoint, member: n.Member, percent: n.Percent, limit: int64(n.Limit)})
}

// Called takes up where the limit of an application that was called stands. used below 0 says that it is not known. That a call was refused for
// the limit counts as 100 % of it: what is left pays for no such call.
func (a *Alerts) Called(day quota.Date, application, endpoint string, used int64, limit quota.Limit, refused bool) {
	if limit <= 0 || limit == quota.Unlimited || used < 0 {
		return
	}
	percent := int(min(100, used*100/int64(limit)))
	if refused {
		percent = 100
	}
	a.come(day, application, standing{endpoint: endpoint, percent: percent, limit: int64(limit), used: used})
}

func (a *Alerts) come(day quota.Date, application string, to standing) {
	thresholds := a.thresholds(application)
	if highest(thresholds, to.percent) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if day > a.today.date {
		a.beginLocked(day)
	}
	switch {
	case day == a.today.date:
		a.today.come(application, to, thresholds)
	case a.over != nil && day == a.over.date:
		a.over.come(application, to, thresholds)
	}
}

// beginLocked begins with a day, on which nothing was told of yet.
func (a *Alerts) beginLocked(date quota.Date) {
	a.over, a.today = a.today, newAlertDay(date)
}

// Follow raises alerts until ctx ends; then [Alerts.Close] raises the last. What a crash keeps from being raised is noticed at the limit's next
// call.
func (a *Alerts) Follow(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := a.look(ctx)
		if err != nil && !a.failing && ctx.Err() == nil {
			a.o.Log.Warn("alerts cannot be raised: they wait in memory", "err", err)
		}
		a.failing = err != nil
	}
}

// Close raises what has come to a threshold until now. Where nothing has, the store is not asked.
func (a *Alerts) Close(ctx context.Context) error {
	a.mu.Lock()
	waits := len(a.today.queue) > 0 || a.over != nil && len(a.over.queue) > 0
	a.mu.Unlock()
	if !waits {
		return nil
	}
	return a.look(ctx)
}

// look raises what has come to a threshold.
func (a *Alerts) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	changed, err := a.readSettings(ctx)
	if err != nil {
		return err
	}
	if changed && a.o.Members != nil {
		a.o.Members(a.Near)
	}
	today, over := a.days()
	if a.forgotten != today.date {
		if err := a.o.Store.RaiseAlerts(ctx, today.date, nil, nil); err != nil {
			return err
		}
		a.forgotten = today.date
	}
	if over != nil {
		if err := a.raise(ctx, over, today); err != nil {
			return err
		}
		a.endOver(over)
	}
	if today.day.End.IsZero() {
		return nil // it began after it was asked for, and the next look knows its end
	}
	return a.raise(ctx, today, today)
}

// days returns the day that is running, and the one before where something may still be told of it.
func (a *Alerts) days() (today, over *alertDay) {
	day := a.o.Day()
	a.mu.Lock()
	defer a.mu.Unlock()
	if day.Date > a.today.date {
		a.beginLocked(day.Date)
	}
	if day.Date == a.today.date {
		a.today.day = day
	}
	if a.today.dropped > 0 && !a.dropping {
		a.o.Log.Warn("more members have come to a threshold than can wait to be told of: the others are noticed when they come nearer", "waiting", maxWaiting)
	}
	a.dropping, a.today.dropped = a.today.dropped > 0, 0
	return a.today, a.over
}

// endOver forgets a day that is over when nothing more will be heard of it, and nothing waits.
func (a *Alerts) endOver(over *alertDay) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over == over && len(over.queue) == 0 && a.o.Now().Sub(over.day.End) > overFor {
		a.over = nil
	}
}

// raise tells of what the limits of a day have come to, beginning with the applications that were not looked at for the longest. Of a day that
// is over everything is told at once, of an application's members in one last message, and nothing has to be remembered.
func (a *Alerts) raise(ctx context.Context, d, today *alertDay) error {
	a.mu.Lock()
	left := len(d.queue)
	a.mu.Unlock()
	now := a.o.Now().UTC().Truncate(time.Millisecond)
	for left > 0 {
		var b batch
		for ; left > 0 && len(b.crossings) < crossingsAtOnce; left-- {
			a.mu.Lock()
			w, tellings, more := d.next(a.thresholds, a.o.Limit, now, d != today)
			a.mu.Unlock()
			if len(tellings) == 0 {
				continue
			}
			if err := b.add(d.day, w, tellings, more, a.warning(w.name).channels, now); err != nil {
				return err
			}
		}
		if len(b.parts) == 0 {
			break
		}
		crossings := b.crossings
		if d != today {
			crossings = nil
		}
		err := a.o.Store.RaiseAlerts(ctx, today.date, crossings, b.messages)
		a.settle(d, &b, now, d != today, err)
		if err != nil {
			return err
		}
	}
	return nil
}

// settle notes what became of a batch.
func (a *Alerts) settle(d *alertDay, b *batch, now time.Time, over bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range b.parts {
		switch {
		case err != nil:
			d.takeBack(p.of, p.tellings)
		case p.tellings[len(p.tellings)-1].member == "":
		case over:
			d.close(p.of)
		default:
			p.of.hold(now)
		}
	}
}

// batch is what is raised at a time, of several applications.
type batch struct {
	parts     []part
	crossings []Crossing
	messages  []AlertMessage
}

// part is what is told of an application's limits.
type part struct {
	of       *watched
	tellings []telling // the application's own first
}

// add adds what is told of an application's limits, in order, and of how many more members nothing is.
func (b *batch) add(day quota.Day, w *watched, tellings []telling, more int, channels []AlertChannel, now time.Time) error {
	alert := Alert{Type: AlertType, Timestamp: now, Data: AlertData{Application: w.name, Day: day.Date.String(), ResetsAt: day.End.UTC(), MoreMembers: more}}
	for _, t := range tellings {
		b.crossings = append(b.crossings, Crossing{Application: w.name, Endpoint: t.endpoint, Member: t.member, Threshold: t.threshold})
		alert.Data.add(t)
	}
	body, err := json.Marshal(alert)
	if err != nil {
		return err
	}
	b.parts = append(b.parts, part{w, tellings})
	b.messages = append(b.messages, newMessages(w.name, channels, string(body), now)...)
	return nil
}

// compare puts the application's own limits before the members'.
func (t telling) compare(o telling) int {
	return cmp.Or(cmp.Compare(t.kind(), o.kind()), cmp.Compare(t.endpoint, o.endpoint), cmp.Compare(t.member, o.member))
}

// newMessages returns a message for each channel.
func newMessages(application string, channels []AlertChannel, body string, now time.Time) []AlertMessage {
	messages := make([]AlertMessage, len(channels))
	for i, c := range channels {
		messages[i] = AlertMessage{ID: "msg_" + rand.Text(), Application: application, Channel: c, Body: body, Created: now, Due: now}
	}
	return messages
}

// Test has an alert that tells of no limit delivered by each of an application's channels, like any other, and returns by how many: 0 where
// it has none by which anything can be delivered.
func (a *Alerts) Test(ctx context.Context, application string) (int, error) {
	settings, err := a.o.Store.AlertSettings(ctx, application)
	if err != nil {
		return 0, err
	}
	channels := a.channels(settings)
	if len(channels) == 0 {
		return 0, nil
	}
	now, day := a.o.Now().UTC().Truncate(time.Millisecond), a.o.Day()
	body, err := json.Marshal(Alert{Type: TestAlertType, Timestamp: now, Data: AlertData{
		Application: application, Day: day.Date.String(), ResetsAt: day.End.UTC(), Limits: []AlertLimit{},
	}})
	if err != nil {
		return 0, err
	}
	return len(channels), a.o.Store.RaiseAlerts(ctx, day.Date, nil, newMessages(application, channels, string(body), now))
}

// channels returns those of the settings by which something can be delivered.
func (a *Alerts) channels(s AlertSettings) []AlertChannel {
	return slices.DeleteFunc(s.Channels(), func(c AlertChannel) bool { return !slices.Contains(a.o.Ways, c.Way()) })
}

// add adds a limit. Members with the same endpoint and threshold share an entry.
func (d *AlertData) add(t telling) {
	if t.member == "" {
		d.Limits = append(d.Limits, AlertLimit{Kind: quota.Application.String(), Endpoint: t.endpoint, Threshold: t.threshold, Limit: t.limit, Used: t.used})
		return
	}
	i := slices.IndexFunc(d.Limits, func(l AlertLimit) bool {
		return l.Kind == quota.Member.String() && l.Endpoint == t.endpoint && l.Threshold == t.threshold
	})
	if i < 0 {
		i = len(d.Limits)
		d.Limits = append(d.Limits, AlertLimit{Kind: quota.Member.String(), Endpoint: t.endpoint, Threshold: t.threshold})
	}
	d.Limits[i].Members = append(d.Limits[i].Members, NearMember{ID: t.member, Percent: t.percent})
}

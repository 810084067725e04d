package usage

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
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

// AlertOptions are what [OpenAlerts] needs. All but Ways are required.
type AlertOptions struct {
	Store AlertStore
	Day   func() quota.Day // the day that is running
	Ways  []AlertWay       // by which messages can be delivered; may be empty
	Now   func() time.Time
	Log   *slog.Logger
}

// Alerts notices when a limit comes to a threshold of its application's settings, and puts a message that tells of it into the store, from
// where it is delivered: for each limit and threshold once a day, restarts included, and within two seconds. Members are summed up: the first are told
// of at once, others with those that come in the next minute, then in the next two, and so on up to an hour; of [MaxNear] members
// an endpoint and day at the most. It is safe for concurrent use.
type Alerts struct {
	o AlertOptions

	mu   sync.Mutex
	came map[limitName]standing // guarded by mu: where limits have come to since they were last looked at

	// What follows is the loop's own.
	day     quota.Date
	told    map[limitName]int                 // the highest threshold that was told of today
	members map[limitName]int                 // how many members were told of, by application and endpoint
	drafts  map[string]map[limitName]standing // what is to be told of, by application
	pauses  map[string]pause                  // until members are told of again, by application
	failing bool
}

// limitName names a limit: a member's, or the application's where member is empty.
type limitName struct{ application, endpoint, member string }

// standing is where a limit has come to.
type standing struct {
	day         quota.Date
	percent     int
	threshold   int // the highest that is not above percent; known once the settings are
	limit, used int64
}

type pause struct {
	until time.Time
	next  time.Duration
}

const (
	watchEvery = time.Second
	firstPause = time.Minute
	lastPause  = time.Hour
	// maxCame is how many limits may come to another percentage in a second; those beyond are noticed with their next one.
	maxCame = 100_000
	// toldAtOnce is how many limits of an application, and how many of members, one message tells of.
	toldAtOnce = 100
)

// OpenAlerts returns what the store knows to have been told of today.
func OpenAlerts(ctx context.Context, o AlertOptions) (*Alerts, error) {
	if o.Store == nil || o.Day == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("usage: AlertOptions need a Store, Day, Now and Log")
	}
	a := &Alerts{o: o, came: map[limitName]standing{}}
	a.begin(o.Day().Date)
	raised, err := o.Store.RaisedAlerts(ctx, a.day)
	if err != nil {
		return nil, err
	}
	for _, c := range raised {
		a.tell(limitName{c.Application, c.Endpoint, c.Member}, c.Threshold)
	}
	return a, nil
}

// begin begins with a day, on which nothing was told of yet.
func (a *Alerts) begin(day quota.Date) {
	a.day, a.told, a.members = day, map[limitName]int{}, map[limitName]int{}
	a.drafts, a.pauses = map[string]map[limitName]standing{}, map[string]pause{}
}

// tell notes that a threshold is told of.
func (a *Alerts) tell(name limitName, threshold int) {
	if _, before := a.told[name]; !before && name.member != "" {
		a.members[limitName{application: name.application, endpoint: name.endpoint}]++
	}
	a.told[name] = max(a.told[name], threshold)
}

// Near takes up that a member has come near its limit.
func (a *Alerts) Near(n Near) {
	a.come(limitName{n.Application, n.Endpoint, n.Member}, standing{day: n.Day, percent: n.Percent})
}

// Called takes up where the limit of an application that was called stands. used below 0 says that it is not known.
func (a *Alerts) Called(day quota.Date, application, endpoint string, used int64, limit quota.Limit) {
	if limit <= 0 || limit == quota.Unlimited || used*100 < leastThreshold*int64(limit) {
		return
	}
	a.come(limitName{application: application, endpoint: endpoint},
		standing{day: day, percent: int(min(100, used*100/int64(limit))), limit: int64(limit), used: used})
}

func (a *Alerts) come(name limitName, s standing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if was, ok := a.came[name]; ok && was.day == s.day && was.percent >= s.percent || !ok && len(a.came) >= maxCame {
		return
	}
	a.came[name] = s
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

// Close raises what has come to a threshold until now.
func (a *Alerts) Close(ctx context.Context) error { return a.look(ctx) }

// look raises what has come to a threshold.
func (a *Alerts) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	day := a.o.Day()
	if day.Date > a.day {
		a.begin(day.Date)
	}
	for name, s := range a.arrived() {
		if s.day != a.day || s.percent <= a.told[name] {
			continue
		}
		if a.drafts[name.application] == nil {
			a.drafts[name.application] = map[limitName]standing{}
		}
		a.drafts[name.application][name.clone()] = s
	}
	var errs []error
	for _, application := range slices.Sorted(maps.Keys(a.drafts)) {
		if err := a.raise(ctx, day, application, a.drafts[application]); err != nil {
			errs = append(errs, err)
		}
		if len(a.drafts[application]) == 0 {
			delete(a.drafts, application)
		}
	}
	return errors.Join(errs...)
}

// arrived takes over where limits have come to.
func (a *Alerts) arrived() map[limitName]standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.came) == 0 {
		return nil
	}
	came := a.came
	a.came = map[limitName]standing{}
	return came
}

// raise tells of what an application's limits have come to, as far as it is to be told of now: that is taken out of the draft.
func (a *Alerts) raise(ctx context.Context, day quota.Day, application string, draft map[limitName]standing) error {
	settings, err := a.o.Store.AlertSettings(ctx, application)
	if err != nil {
		return err
	}
	channels := a.channels(settings)
	now := a.o.Now()
	tellsOfMembers := !now.Before(a.pauses[application].until)
	var names []limitName
	var count [2]int // of the application's limits, and of members'
	for _, name := range slices.SortedFunc(maps.Keys(draft), limitName.compare) {
		s := draft[name]
		for _, t := range settings.At() {
			if t <= s.percent {
				s.threshold = t
			}
		}
		kind := 0
		if name.member != "" {
			kind = 1
		}
		switch {
		case len(channels) == 0, s.threshold <= a.told[name], a.isCrowded(name):
			delete(draft, name)
		case kind == 1 && !tellsOfMembers, count[kind] == toldAtOnce:
			draft[name] = s
		default:
			draft[name] = s
			names = append(names, name)
			count[kind]++
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := a.send(ctx, day, application, channels, names, draft); err != nil {
		return err
	}
	for _, name := range names {
		a.tell(name, draft[name].threshold)
		delete(draft, name)
	}
	if count[1] > 0 {
		next := max(firstPause, a.pauses[application].next)
		a.pauses[application] = pause{until: now.Add(next), next: min(2*next, lastPause)}
	}
	return nil
}

// isCrowded reports whether as many members of an endpoint were told of today as are, and this one was not.
func (a *Alerts) isCrowded(name limitName) bool {
	return name.member != "" && a.told[name] == 0 && a.members[limitName{application: name.application, endpoint: name.endpoint}] >= MaxNear
}

// clone returns a copy that holds on to nothing else: a call's names may be parts of something larger.
func (n limitName) clone() limitName {
	return limitName{strings.Clone(n.application), strings.Clone(n.endpoint), strings.Clone(n.member)}
}

// compare puts the application's limits before the members'.
func (n limitName) compare(o limitName) int {
	return cmp.Or(cmp.Compare(min(len(n.member), 1), min(len(o.member), 1)), cmp.Compare(n.endpoint, o.endpoint), cmp.Compare(n.member, o.member))
}

// send puts the messages that tell of limits, in order of their names, into the store.
func (a *Alerts) send(ctx context.Context, day quota.Day, application string, channels []AlertChannel, names []limitName, draft map[limitName]standing) error {
	now := a.o.Now().UTC().Truncate(time.Millisecond)
	alert := Alert{Type: AlertType, Timestamp: now, Data: AlertData{Application: application, Day: day.Date.String(), ResetsAt: day.End.UTC()}}
	crossings := make([]Crossing, len(names))
	for i, name := range names {
		s := draft[name]
		crossings[i] = Crossing{Application: application, Endpoint: name.endpoint, Member: name.member, Threshold: s.threshold}
		alert.Data.add(name, s)
	}
	body, err := json.Marshal(alert)
	if err != nil {
		return err
	}
	return a.o.Store.RaiseAlerts(ctx, day.Date, crossings, newMessages(application, channels, string(body), now))
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
func (d *AlertData) add(name limitName, s standing) {
	if name.member == "" {
		d.Limits = append(d.Limits, AlertLimit{Kind: quota.Application.String(), Endpoint: name.endpoint, Threshold: s.threshold, Limit: s.limit, Used: s.used})
		return
	}
	i := slices.IndexFunc(d.Limits, func(l AlertLimit) bool {
		return l.Kind == quota.Member.String() && l.Endpoint == name.endpoint && l.Threshold == s.threshold
	})
	if i < 0 {
		i = len(d.Limits)
		d.Limits = append(d.Limits, AlertLimit{Kind: quota.Member.String(), Endpoint: name.endpoint, Threshold: s.threshold})
	}
	d.Limits[i].Members = append(d.Limits[i].Members, NearMember{ID: name.member, Percent: s.percent})
}

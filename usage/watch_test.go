package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// alertMemory is a store of alerts that can fail.
type alertMemory struct {
	usage.AlertStore
	mu       sync.Mutex
	settings map[string]usage.AlertSettings         // guarded by mu
	raised   map[quota.Date]map[usage.Crossing]bool // guarded by mu
	messages []usage.AlertMessage                   // guarded by mu
	err      error                                  // guarded by mu
	full     error                                  // guarded by mu: why nothing can be written
	version  int64                                  // guarded by mu: of the settings
	asked    int                                    // guarded by mu: how often the store was asked for anything
	near     []usage.Near                           // who is near a limit
	limits   map[string]quota.Limit                 // guarded by mu: of members, by endpoint
	testing  bool                                   // only tests are to come
}

func (m *alertMemory) AlertSettings(_ context.Context, application string) (usage.AlertSettings, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.settings[application], m.err
}

func (m *alertMemory) AllAlertSettings(_ context.Context, known int64) (map[string]usage.AlertSettings, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.err != nil || m.version == known {
		return nil, known, m.err
	}
	return maps.Clone(m.settings), m.version, nil
}

// days returns of which days the store knows who was told of.
func (m *alertMemory) days() (days []quota.Date) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for day, crossings := range m.raised {
		if len(crossings) > 0 {
			days = append(days, day)
		}
	}
	return days
}

// set sets an application's settings, as another process may.
func (m *alertMemory) set(application string, s usage.AlertSettings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings[application] = s
	m.version++
}

// raiseTo sets the limit that members have for an endpoint.
func (m *alertMemory) raiseTo(endpoint string, limit quota.Limit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits[endpoint] = limit
}

func (m *alertMemory) limit(_, endpoint string) (quota.Limit, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit, known := m.limits[endpoint]
	return limit, known
}

// remove has an application leave the catalog.
func (m *alertMemory) remove(application string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.settings, application)
	m.version++
}

func (m *alertMemory) RaiseAlerts(_ context.Context, day quota.Date, crossings []usage.Crossing, messages []usage.AlertMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.err != nil || m.full != nil {
		return errors.Join(m.err, m.full)
	}
	if m.raised[day] == nil {
		m.raised = map[quota.Date]map[usage.Crossing]bool{day: {}}
	}
	for _, c := range crossings {
		m.raised[day][c] = true
	}
	m.messages = append(m.messages, messages...)
	return nil
}

func (m *alertMemory) RaisedAlerts(_ context.Context, day quota.Date) (crossings []usage.Crossing, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.raised[day] {
		crossings = append(crossings, c)
	}
	return crossings, m.err
}

func (m *alertMemory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// fill has the store take nothing more, for a reason; nil: it does again.
func (m *alertMemory) fill(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = err
}

// asks returns how often the store was asked.
func (m *alertMemory) asks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// tell tells of those who are near.
func (m *alertMemory) tell(tell func(usage.Near)) {
	for _, n := range m.near {
		tell(n)
	}
}

// take returns what was raised since it was last asked.
func (m *alertMemory) take(t *testing.T) (alerts []usage.Alert) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.messages {
		var alert usage.Alert
		if err := json.Unmarshal([]byte(message.Body), &alert); err != nil {
			t.Fatal(err)
		}
		alerts = append(alerts, alert)
	}
	m.messages = nil
	return alerts
}

// told returns the limits that the messages tell of, by application.
func (m *alertMemory) told(t *testing.T) map[string][]usage.AlertLimit {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	told := map[string][]usage.AlertLimit{}
	for _, message := range m.messages {
		var alert usage.Alert
		if err := json.Unmarshal([]byte(message.Body), &alert); err != nil {
			t.Fatal(err)
		}
		told[message.Application] = append(told[message.Application], alert.Data.Limits...)
	}
	return told
}

// kind is the type that messages are to have.
func (m *alertMemory) kind() string {
	if m.testing {
		return usage.TestAlertType
	}
	return usage.AlertType
}

// want checks what messages say that were raised since it was last asked, a line each.
func (m *alertMemory) want(t *testing.T, want ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var got []string
	for _, message := range m.messages {
		var alert usage.Alert
		if err := json.Unmarshal([]byte(message.Body), &alert); err != nil {
			t.Fatal(err)
		}
		if alert.Type != m.kind() || alert.Data.Application != message.Application || !strings.HasPrefix(message.ID, "msg_") || !alert.Timestamp.Equal(message.Created) {
			t.Errorf("message %+v", message)
		}
		line := string(message.Channel) + " " + alert.Data.Day
		for _, l := range alert.Data.Limits {
			line += fmt.Sprintf(" | %s %s %d%%", l.Kind, l.Endpoint, l.Threshold)
			if l.Kind == "application" {
				line += fmt.Sprintf(" %d/%d", l.Used, l.Limit)
			}
			for _, member := range l.Members {
				line += fmt.Sprintf(" %s:%d", member.ID, member.Percent)
			}
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	m.messages = nil
}

const hookSecret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"

func newAlertMemory() *alertMemory {
	return &alertMemory{version: 1, limits: map[string]quota.Limit{}, settings: map[string]usage.AlertSettings{
		"acme":  {WebhookURL: "https://acme.example", WebhookSecret: hookSecret},
		"mails": {Mail: []string{"a@b.example", "c@d.example"}, WebhookURL: "https://acme.example", WebhookSecret: hookSecret, Thresholds: []int{60}},
	}}
}

// watching runs f while alerts of a store are raised, on a faked clock that begins at 2000-01-01T00:00:00Z. f may restart them.
func watching(t *testing.T, ways []usage.AlertWay, f func(c *calling, store *alertMemory, a *usage.Alerts, restart func() *usage.Alerts)) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newCalling(t, "UTC", "00:00"), newAlertMemory()
		stop := func() {}
		start := func() *usage.Alerts {
			stop()
			a, err := usage.OpenAlerts(t.Context(), usage.AlertOptions{Store: store, Day: c.today, Ways: ways, Members: store.tell, Limit: store.limit, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { a.Follow(ctx); close(done) }()
			stop = func() { cancel(); <-done }
			return a
		}
		f(c, store, start(), start)
		stop()
	})
}

var hooks = []usage.AlertWay{usage.WebhookWay}

// soon is when a crossing has been told of.
const soon = 2 * time.Second

func TestAlertsOfApplications(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, restart func() *usage.Alerts) {
		use := func(used int64) {
			a.Called(c.today().Date, "acme", "posts.create", used, 200, false)
			time.Sleep(soon)
		}
		use(100)
		use(149)
		store.want(t)
		use(150)
		store.want(t, "webhook 2000-01-01 | application posts.create 75% 150/200")
		use(151)
		a.Called(c.today().Date, "acme", "posts.find", 3, 3, false)
		a.Called(c.today().Date, "acme", "posts.find", -1, 3, false)
		a.Called(c.today().Date, "acme", "posts.free", 1<<40, quota.Unlimited, false)
		a.Called(c.today().Date, "acme", "posts.none", 0, 0, false)
		a.Called(c.today().Date, "beta", "posts.find", 3, 3, false) // nobody is to be warned
		a.Called(c.today().Date-1, "acme", "posts.old", 3, 3, false)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application posts.find 100% 3/3")
		a.Called(c.today().Date, "acme", "posts.costly", 40, 41, true) // a call of cost 2 finds no more
		a.Called(c.today().Date, "acme", "posts.costly", 40, 41, false)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application posts.costly 100% 40/41")
		a = restart()
		use(160)
		store.want(t)
		use(205) // two at once: the higher is told of
		use(205)
		store.want(t, "webhook 2000-01-01 | application posts.create 100% 205/200")
		time.Sleep(time.Until(c.today().End))
		use(150)
		store.want(t, "webhook 2000-01-02 | application posts.create 75% 150/200")
	})
}

func TestAlertsByTheirChannels(t *testing.T) {
	for _, test := range []struct {
		ways []usage.AlertWay
		want []string
	}{
		{nil, nil},
		{hooks, []string{"webhook 2000-01-01 | application * 60% 6/10"}},
		{[]usage.AlertWay{usage.MailWay, usage.WebhookWay}, []string{"webhook 2000-01-01 | application * 60% 6/10", "mail:a@b.example 2000-01-01 | application * 60% 6/10", "mail:c@d.example 2000-01-01 | application * 60% 6/10"}},
	} {
		watching(t, test.ways, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
			a.Called(c.today().Date, "mails", "*", 6, 10, false)
			time.Sleep(soon)
			store.want(t, test.want...)
		})
	}
}

// A test goes to every channel by which something can be delivered, and tells of no limit.
func TestAlertTest(t *testing.T) {
	watching(t, hooks, func(_ *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		store.testing = true
		for application, want := range map[string][]string{"mails": {"webhook 2000-01-01"}, "nobody": nil} {
			if sent, err := a.Test(t.Context(), application); sent != len(want) || err != nil {
				t.Errorf("%s: %d, %v", application, sent, err)
			}
			store.want(t, want...)
		}
		store.fail(errors.New("down"))
		if _, err := a.Test(t.Context(), "mails"); err == nil {
			t.Error("a test that was not kept")
		}
	})
}

// Members are summed up: at once, then after a minute, then after two.
func TestAlertsOfMembers(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, restart func() *usage.Alerts) {
		near := func(endpoint, member string, percent int) {
			a.Near(usage.Near{Day: c.today().Date, Application: "acme", Endpoint: endpoint, Member: member, Percent: percent})
		}
		near("posts.create", "m-1", 74)
		near("posts.create", "m-2", 75)
		near("posts.create", "m-3", 80)
		near("posts.create", "m-4", 95)
		near("posts.find", "m-2", 100)
		a.Called(c.today().Date, "acme", "posts.find", 9, 10, false)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application posts.find 90% 9/10 | member posts.create 75% m-2:75 m-3:80 | member posts.create 90% m-4:95 | member posts.find 100% m-2:100")
		near("posts.create", "m-1", 75)
		near("posts.create", "m-4", 96)
		time.Sleep(30 * time.Second)
		near("posts.create", "m-1", 92)
		a.Called(c.today().Date, "acme", "posts.find", 10, 10, false) // an application's waits for nothing
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application posts.find 100% 10/10")
		time.Sleep(30 * time.Second)
		store.want(t, "webhook 2000-01-01 | member posts.create 90% m-1:92")
		near("posts.create", "m-5", 100)
		time.Sleep(time.Minute + 50*time.Second)
		store.want(t)
		time.Sleep(15 * time.Second)
		store.want(t, "webhook 2000-01-01 | member posts.create 100% m-5:100")
		a = restart()
		near("posts.create", "m-1", 94)
		near("posts.create", "m-5", 100)
		time.Sleep(soon)
		store.want(t)
	})
}

// A member who waits is told of with the percentage of the limit that holds, or not at all.
func TestAlertsOfMembersWhoseLimitIsChanged(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		first := c.today()
		near := func(endpoint, member string, limit quota.Limit, percent int) {
			a.Near(usage.Near{Day: first.Date, Application: "acme", Endpoint: endpoint, Member: member, Limit: limit, Percent: percent})
		}
		for _, endpoint := range []string{"changed", "crowded", "kept", "removed"} {
			store.raiseTo(endpoint, 50)
		}
		near("kept", "first", 50, 76)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | member kept 75% first:76")
		near("changed", "calls", 50, 96) // these wait for a minute
		near("changed", "waits", 50, 96)
		near("removed", "waits", 50, 96)
		near("kept", "waits", 50, 90)
		for i := range usage.MaxNear {
			near("crowded", fmt.Sprint("m-", i), 50, 96)
		}
		store.raiseTo("changed", 500)
		store.raiseTo("crowded", 500)
		store.raiseTo("removed", 0)
		near("changed", "calls", 500, 76)
		near("changed", "calls", 500, 75) // told late: it stays the higher
		near("crowded", "calls", 500, 76)
		time.Sleep(time.Minute)
		store.want(t, "webhook 2000-01-01 | member changed 75% calls:76 | member crowded 75% calls:76 | member kept 90% waits:90")
		time.Sleep(time.Until(first.End) - 10*time.Second)
		near("kept", "second", 50, 76)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | member kept 75% second:76")
		near("kept", "third", 50, 80) // these wait for the end of the day
		near("changed", "third", 500, 80)
		store.raiseTo("changed", 1000)
		time.Sleep(time.Until(first.End) + soon)
		if alerts := store.take(t); len(alerts) != 1 || len(alerts[0].Data.Limits) != 1 || alerts[0].Data.Limits[0].Endpoint != "kept" || alerts[0].Data.MoreMembers != 0 {
			t.Errorf("at the end of the day %+v was told", alerts)
		}
	})
}

// At the end of a day everything is told of that waited, or came in its last second; then the store forgets who was told of.
func TestAlertsAtTheEndOfTheDay(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		first := c.today()
		near := func(member string, percent int) {
			a.Near(usage.Near{Day: first.Date, Application: "acme", Endpoint: "*", Member: member, Percent: percent})
		}
		time.Sleep(time.Until(first.End) - 10*time.Second)
		near("m-1", 80)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | member * 75% m-1:80")
		near("m-2", 90) // it waits with others for a minute
		time.Sleep(time.Until(first.End) - 10*time.Millisecond)
		a.Called(first.Date, "acme", "*", 80, 100, false)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application * 75% 80/100 | member * 90% m-2:90")
		if of := store.days(); len(of) != 0 {
			t.Errorf("the store knows who was told of on %v", of)
		}
		a.Called(first.Date, "acme", "posts.find", 80, 100, false) // decided before the end, and told after it
		a.Called(first.Date+1, "acme", "posts.find", 75, 100, false)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application posts.find 75% 80/100", "webhook 2000-01-02 | application posts.find 75% 75/100")
		time.Sleep(2 * time.Minute)
		near("m-3", 90)
		time.Sleep(soon)
		store.want(t)
		if of := store.days(); len(of) != 1 || of[0] != first.Date+1 {
			t.Errorf("the store knows who was told of on %v", of)
		}
	})
}

// However many members come near their limits, they are a few messages, of a bounded size.
func TestAlertsAreNoFlood(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		for minute := range 60 {
			for i := range 100 {
				for _, endpoint := range []string{"a", "b", "c"} {
					a.Near(usage.Near{Day: c.today().Date, Application: "acme", Endpoint: endpoint, Member: fmt.Sprintf("m-%d-%d", minute, i), Percent: 80})
				}
			}
			time.Sleep(time.Minute)
		}
		if len(store.messages) > 7 {
			t.Errorf("%d messages in an hour", len(store.messages))
		}
		told := map[string]int{}
		for _, m := range store.messages {
			var alert usage.Alert
			if err := json.Unmarshal([]byte(m.Body), &alert); err != nil {
				t.Fatal(err)
			}
			inThis := 0
			for _, l := range alert.Data.Limits {
				told[l.Endpoint] += len(l.Members)
				inThis += len(l.Members)
			}
			if inThis > 100 {
				t.Errorf("a message of %d members", inThis)
			}
		}
		if diff := cmp.Diff(map[string]int{"a": 100, "b": 100, "c": 100}, told); diff != "" {
			t.Errorf("told of (-want +got):\n%s", diff)
		}
	})
}

// A hundred thousand applications call, of which a thousand have alerts: the store is asked a few times a second, and everybody is told of in one.
func TestAlertsOfManyApplications(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		for i := range 1000 {
			store.set(fmt.Sprint("alerted-", i), usage.AlertSettings{WebhookURL: "https://acme.example", WebhookSecret: hookSecret})
		}
		time.Sleep(soon)
		asked := store.asks()
		for i := range 99_000 {
			a.Called(c.today().Date, fmt.Sprint("other-", i), "*", 80, 100, false)
		}
		for i := range 1000 {
			a.Called(c.today().Date, fmt.Sprint("alerted-", i), "*", 80, 100, false)
		}
		time.Sleep(soon)
		if told := store.told(t); len(told) != 1000 {
			t.Errorf("told of %d applications, want 1000", len(told))
		}
		if asked = store.asks() - asked; asked > 10 {
			t.Errorf("the store was asked %d times in two seconds", asked)
		}
	})
}

// Settings hold within a second of their change, whoever made it, for those who are near a limit already.
func TestAlertsFollowTheirSettings(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		a.Called(c.today().Date, "beta", "*", 80, 100, false)
		a.Near(usage.Near{Day: c.today().Date, Application: "beta", Endpoint: "*", Member: "m-1", Percent: 92})
		time.Sleep(soon)
		store.want(t)
		store.near = []usage.Near{{Day: c.today().Date, Application: "beta", Endpoint: "*", Member: "m-1", Percent: 92}}
		store.set("beta", usage.AlertSettings{WebhookURL: "https://beta.example", WebhookSecret: hookSecret})
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | member * 90% m-1:92")
		a.Called(c.today().Date, "beta", "*", 80, 100, false)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application * 75% 80/100")
		store.set("beta", usage.AlertSettings{})
		time.Sleep(soon)
		a.Called(c.today().Date, "beta", "*", 100, 100, false)
		time.Sleep(soon)
		store.want(t)
	})
}

// Of more members than are told of a day, those with the highest percentages are.
func TestAlertsTellOfTheNearest(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		near := func(member string, percent int) {
			a.Near(usage.Near{Day: c.today().Date, Application: "acme", Endpoint: "*", Member: member, Percent: percent})
		}
		for i := range 40 {
			near(fmt.Sprint("first-", i), 75)
		}
		time.Sleep(soon)
		for i := range 5000 {
			percent := 75 + i*7919%20
			if i%100 == 0 {
				percent = 95 + i/1000
			}
			near(fmt.Sprint("m-", i), percent)
		}
		for i := range 40 {
			near(fmt.Sprint("first-", i), 91) // who was told of is told of again
		}
		time.Sleep(time.Hour)
		told := store.told(t)["acme"]
		members := map[string]int{}
		for _, l := range told {
			for _, m := range l.Members {
				members[m.ID] = m.Percent
			}
		}
		for i := range 40 {
			if members[fmt.Sprint("first-", i)] != 91 {
				t.Errorf("first-%d: %d%%", i, members[fmt.Sprint("first-", i)])
			}
		}
		for i := 0; i < 5000; i += 100 {
			if members[fmt.Sprint("m-", i)] < 95 {
				t.Errorf("m-%d is not told of", i)
			}
		}
		if len(members) != usage.MaxNear {
			t.Errorf("told of %d members, want %d", len(members), usage.MaxNear)
		}
	})
}

// What waits while the store fails is bounded, and the store is left in peace.
func TestAlertsAreBoundedWhileTheStoreFails(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		const applications, members = 1100, 100
		for i := range applications {
			store.set(fmt.Sprint("app-", i), usage.AlertSettings{WebhookURL: "https://acme.example", WebhookSecret: hookSecret})
		}
		time.Sleep(soon)
		boom := errors.New("boom")
		store.fail(boom)
		for i := range applications {
			for m := range 2 * members {
				a.Near(usage.Near{Day: c.today().Date, Application: fmt.Sprint("app-", i), Endpoint: "*", Member: fmt.Sprint("m-", m), Percent: 80})
			}
		}
		time.Sleep(time.Minute)
		if asked := store.asks(); asked > 1000 {
			t.Errorf("the store that fails was asked %d times in a minute", asked)
		}
		store.fail(nil)
		time.Sleep(time.Minute)
		sum := 0
		for _, limits := range store.told(t) {
			for _, l := range limits {
				sum += len(l.Members)
			}
		}
		if sum != 100_000 {
			t.Errorf("told of %d members, want 100,000", sum)
		}
	})
}

// Members of a few applications who wait keep no other application's own limit, nor its members, from being told of.
func TestAlertsOfMembersWhoWaitHoldUpNoOthers(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		const full, endpoints, members = 5, 220, 100
		near := func(application, endpoint, member string, percent int) {
			a.Near(usage.Near{Day: c.today().Date, Application: application, Endpoint: endpoint, Member: member, Percent: percent})
		}
		for i := range full {
			store.set(fmt.Sprint("full-", i), usage.AlertSettings{WebhookURL: "https://full.example", WebhookSecret: hookSecret})
		}
		time.Sleep(soon)
		for i := range full {
			near(fmt.Sprint("full-", i), "first", "m", 80) // from now on others wait for a minute
		}
		time.Sleep(soon)
		for i := range full {
			for e := range endpoints {
				for m := range members {
					near(fmt.Sprint("full-", i), fmt.Sprint("e-", e), fmt.Sprint("m-", m), 80)
				}
			}
		}
		near("full-0", "last", "m", 99) // in place of one of its own who is farther
		a.Called(c.today().Date, "acme", "*", 100, 100, false)
		near("acme", "*", "m-1", 80)
		near("acme", "*", "m-2", 90)
		time.Sleep(soon)
		told := store.told(t)
		want := []usage.AlertLimit{
			{Kind: "application", Endpoint: "*", Threshold: 100, Limit: 100, Used: 100},
			{Kind: "member", Endpoint: "*", Threshold: 75, Members: []usage.NearMember{{ID: "m-1", Percent: 80}}},
			{Kind: "member", Endpoint: "*", Threshold: 90, Members: []usage.NearMember{{ID: "m-2", Percent: 90}}},
		}
		if diff := cmp.Diff(want, told["acme"]); diff != "" {
			t.Errorf("told of the other application (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		if limits := store.told(t)["full-0"]; !slices.ContainsFunc(limits, func(l usage.AlertLimit) bool { return l.Endpoint == "last" }) {
			t.Error("the nearest of those who wait is not told of")
		}
	})
}

// A call of the next day that comes while the old one is being looked at is told of when that day's end is known.
func TestAlertsOfADayThatBeginsDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newCalling(t, "UTC", "00:00"), newAlertMemory()
		var during atomic.Pointer[func()] // what happens right after the day was asked for
		a, err := usage.OpenAlerts(t.Context(), usage.AlertOptions{Store: store, Ways: hooks, Now: time.Now, Log: slog.New(slog.DiscardHandler), Day: func() quota.Day {
			day := c.today()
			if f := during.Swap(nil); f != nil {
				(*f)()
			}
			return day
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { a.Follow(ctx); close(done) }()
		next := c.today().Date + 1
		time.Sleep(time.Until(c.today().End) - 1500*time.Millisecond)
		during.Store(new(func() {
			a.Called(next-1, "acme", "*", 90, 100, false)
			a.Called(next, "acme", "*", 80, 100, false)
		}))
		time.Sleep(1400 * time.Millisecond)
		if alerts := store.take(t); len(alerts) != 1 || alerts[0].Data.Day != (next-1).String() {
			t.Errorf("told of %+v before the day's end is known, want the day before", alerts)
		}
		time.Sleep(soon)
		if alerts := store.take(t); len(alerts) != 1 || alerts[0].Data.ResetsAt != time.Date(2000, 1, 3, 0, 0, 0, 0, time.UTC) {
			t.Errorf("told of %+v", alerts)
		}
		cancel()
		<-done
	})
}

// An application that comes to bear the id of one that was removed is told of what that one was told of before.
func TestAlertsOfARemovedApplication(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		use := func() {
			a.Called(c.today().Date, "acme", "*", 80, 100, false)
			a.Near(usage.Near{Day: c.today().Date, Application: "acme", Endpoint: "*", Member: "m-1", Percent: 80})
			time.Sleep(soon)
		}
		use()
		store.want(t, "webhook 2000-01-01 | application * 75% 80/100 | member * 75% m-1:80")
		a.Near(usage.Near{Day: c.today().Date, Application: "acme", Endpoint: "*", Member: "m-2", Percent: 80}) // who waits
		store.remove("acme")
		time.Sleep(soon)
		store.set("acme", usage.AlertSettings{WebhookURL: "https://acme.example", WebhookSecret: hookSecret})
		time.Sleep(soon)
		store.want(t)
		use()
		store.want(t, "webhook 2000-01-01 | application * 75% 80/100 | member * 75% m-1:80")
		time.Sleep(2 * time.Minute)
		store.want(t)
		store.fill(errors.New("the disk is full"))
		time.Sleep(time.Until(c.today().End))
		a.Near(usage.Near{Day: c.today().Date, Application: "acme", Endpoint: "*", Member: "m-3", Percent: 80}) // who waits, too
		time.Sleep(soon)
		store.remove("acme")
		time.Sleep(soon)
		store.set("acme", usage.AlertSettings{WebhookURL: "https://acme.example", WebhookSecret: hookSecret})
		time.Sleep(soon)
		store.fill(nil)
		time.Sleep(2 * time.Minute)
		store.want(t)
	})
}

// Members of applications that were removed, however many waited, take no room from those of others.
func TestAlertsOfRemovedApplicationsMakeRoom(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		near := func(application, endpoint, member string) {
			a.Near(usage.Near{Day: c.today().Date, Application: application, Endpoint: endpoint, Member: member, Percent: 80})
		}
		const applications, endpoints, members = 10, 100, 100
		for i := range applications {
			store.set(fmt.Sprint("full-", i), usage.AlertSettings{WebhookURL: "https://full.example", WebhookSecret: hookSecret})
		}
		time.Sleep(soon)
		fill := func(endpoint, member int) {
			for i := range applications {
				near(fmt.Sprint("full-", i), fmt.Sprint("e-", endpoint), fmt.Sprint("m-", member))
			}
		}
		fill(endpoints, 0) // from now on others wait for a minute
		near("acme", "*", "m-0")
		time.Sleep(soon)
		for e := range endpoints {
			for m := range members {
				fill(e, m)
			}
		}
		for i := range applications {
			store.remove(fmt.Sprint("full-", i))
		}
		time.Sleep(soon)
		store.take(t)
		for m := range members {
			near("acme", "*", fmt.Sprint("m-", m))
		}
		time.Sleep(time.Minute)
		told := 0
		for _, l := range store.told(t)["acme"] {
			told += len(l.Members)
		}
		if told != members-1 {
			t.Errorf("%d members of the application that stays are told of, want %d", told, members-1)
		}
	})
}

// However many members wait when a day ends, their application gets one message more: of the nearest, and how many others there are.
func TestAlertsAtTheEndOfADayOfManyMembers(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		first := c.today()
		near := func(endpoint, member string, percent int) {
			a.Near(usage.Near{Day: first.Date, Application: "acme", Endpoint: endpoint, Member: member, Percent: percent})
		}
		time.Sleep(time.Until(first.End) - 10*time.Second)
		near("first", "m", 80)
		time.Sleep(soon)
		store.take(t)
		for e := range 7 {
			for m := range 100 {
				near(fmt.Sprint("e-", e), fmt.Sprint("m-", m), 76)
			}
		}
		for m := range 90 {
			near("near", fmt.Sprint("m-", m), 95)
		}
		store.fail(errors.New("boom"))
		time.Sleep(time.Until(first.End) + soon)
		store.fail(nil)
		time.Sleep(soon)
		near("late", "m", 100)
		time.Sleep(time.Minute)
		alerts := store.take(t)
		if len(alerts) != 1 {
			t.Fatalf("%d messages, want one", len(alerts))
		}
		alert, told := alerts[0], map[int]int{}
		for _, l := range alert.Data.Limits {
			told[l.Threshold] += len(l.Members)
		}
		if diff := cmp.Diff(map[int]int{90: 90, 75: 10}, told); diff != "" || alert.Data.MoreMembers != 690 || alert.Data.Day != "2000-01-01" {
			t.Errorf("%d more members of %s, told of (-want +got):\n%s", alert.Data.MoreMembers, alert.Data.Day, diff)
		}
	})
}

// BenchmarkCalled has an application called that has no alerts, and one that has.
func BenchmarkCalled(b *testing.B) {
	store := newAlertMemory()
	for i := range 1000 {
		store.set(fmt.Sprint("alerted-", i), usage.AlertSettings{WebhookURL: "https://acme.example", WebhookSecret: hookSecret})
	}
	today := day("2026-11-23")
	a, err := usage.OpenAlerts(b.Context(), usage.AlertOptions{Store: store, Day: numbers().day, Ways: hooks, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for _, application := range []string{"other-", "alerted-"} {
		names := make([]string, 100_000)
		for i := range names {
			names[i] = fmt.Sprint(application, i%1000)
		}
		b.Run(application, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				a.Called(today.Date, names[i%len(names)], "*", 80, 100, false)
			}
		})
	}
}

func TestAlertsWhileTheStoreFails(t *testing.T) {
	watching(t, hooks, func(c *calling, store *alertMemory, a *usage.Alerts, _ func() *usage.Alerts) {
		boom := errors.New("boom")
		store.fail(boom)
		a.Called(c.today().Date, "acme", "*", 75, 100, false)
		time.Sleep(time.Minute)
		a.Called(c.today().Date, "acme", "*", 80, 100, false)
		time.Sleep(time.Minute)
		store.want(t)
		store.fail(nil)
		time.Sleep(soon)
		store.want(t, "webhook 2000-01-01 | application * 75% 80/100")
		store.fail(boom)
		if _, err := usage.OpenAlerts(t.Context(), usage.AlertOptions{Store: store, Day: c.today, Now: time.Now, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, boom) {
			t.Errorf("OpenAlerts: %v", err)
		}
		store.fail(nil)
	})
	if _, err := usage.OpenAlerts(t.Context(), usage.AlertOptions{}); err == nil {
		t.Error("no options are taken")
	}
}

func TestAlertSettings(t *testing.T) {
	hook := func(u, secret string) usage.AlertSettings {
		return usage.AlertSettings{WebhookURL: u, WebhookSecret: secret}
	}
	mail := func(addresses ...string) usage.AlertSettings { return usage.AlertSettings{Mail: addresses} }
	many := make([]string, 11)
	for i := range many {
		many[i] = fmt.Sprintf("a%d@b.example", i)
	}
	for _, test := range []struct {
		name     string
		settings usage.AlertSettings
		ok       bool
	}{
		{"none", usage.AlertSettings{}, true},
		{"thresholds", usage.AlertSettings{Thresholds: []int{50, 51, 100}}, true},
		{"a low threshold", usage.AlertSettings{Thresholds: []int{49}}, false},
		{"a high threshold", usage.AlertSettings{Thresholds: []int{101}}, false},
		{"a threshold twice", usage.AlertSettings{Thresholds: []int{75, 75}}, false},
		{"thresholds in disorder", usage.AlertSettings{Thresholds: []int{90, 75}}, false},
		{"many thresholds", usage.AlertSettings{Thresholds: []int{50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60}}, false},
		{"addresses", mail("ops@acme.example", "o'ps+x@acme.example"), true},
		{"many addresses", mail(many...), false},
		{"an address twice", mail("a@b.example", "a@b.example"), false},
		{"an empty address", mail(""), false},
		{"an address with a name", mail("Ops <ops@acme.example>"), false},
		{"an address with a second header", mail("ops@acme.example\r\nBcc: all@acme.example"), false},
		{"an address with a quoted line", mail("\"a\r\nb\"@acme.example"), false},
		{"two addresses in one", mail("a@b.example,c@d.example"), false},
		{"an address with a space", mail("\"a b\"@acme.example"), false},
		{"an address beyond ASCII", mail("日@acme.example"), false},
		{"a long address", mail(strings.Repeat("a", 250) + "@b.example"), false},
		{"a webhook", hook("https://acme.example:8443/a?b=c", hookSecret), true},
		{"a webhook without TLS", hook("http://acme.example", hookSecret), true},
		{"a webhook without a secret", hook("https://acme.example", ""), false},
		{"a secret without a webhook", hook("", hookSecret), false},
		{"a short secret", hook("https://acme.example", "whsec_c2VjcmV0"), false},
		{"a long secret", hook("https://acme.example", "whsec_"+strings.Repeat("c2Vj", 22)), false},
		{"a secret without its prefix", hook("https://acme.example", hookSecret[6:]), false},
		{"a secret that is no base64", hook("https://acme.example", hookSecret+"!"), false},
		{"a file", hook("file:///etc/passwd", hookSecret), false},
		{"no host", hook("https:///x", hookSecret), false},
		{"a path alone", hook("/x", hookSecret), false},
		{"a user", hook("https://a:b@acme.example", hookSecret), false},
		{"a fragment", hook("https://acme.example/#x", hookSecret), false},
		{"a second line", hook("https://acme.example/\r\nX: y", hookSecret), false},
		{"a long webhook", hook("https://acme.example/"+strings.Repeat("a", 2000), hookSecret), false},
	} {
		err := test.settings.Validate()
		if (err == nil) != test.ok || err != nil && (fault.KindOf(err) != fault.Invalid || len(err.Error()) > 1000) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil && test.settings.WebhookSecret != "" && strings.Contains(err.Error(), test.settings.WebhookSecret[6:]) {
			t.Errorf("%s: the error tells the secret: %v", test.name, err)
		}
	}
}

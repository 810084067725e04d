package registrytest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// AlertRegistry is a registry that keeps alerts, too, and who is near a limit.
type AlertRegistry interface {
	registry.Registry
	usage.AlertStore
	usage.NearStore
}

// RunAlerts runs the suite of stores of alerts. Each call of open returns an empty one of its own, which the suite closes.
func RunAlerts(t *testing.T, open func(t *testing.T, clock *Clock) AlertRegistry) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fixture, AlertRegistry)
	}{
		{"settings", testAlertSettings},
		{"settings under concurrency", testAlertSettingsUnderConcurrency},
		{"all settings", testAllAlertSettings},
		{"what is lost with an application", testLosses},
		{"crossings", testCrossings},
		{"messages", testAlertMessages},
		{"deliveries", testDeliveries},
		{"a removed application's", testAlertsOfRemoved},
	} {
		t.Run(test.name, func(t *testing.T) {
			clock := NewClock()
			r := open(t, clock)
			t.Cleanup(func() {
				if err := r.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, &fixture{Registry: r, clock: clock}, r)
		})
	}
}

// setAlerts sets an application's settings, whatever they were.
func setAlerts(t *testing.T, s usage.AlertStore, application string, to usage.AlertSettings, actor string) error {
	t.Helper()
	kept, err := s.EditAlertSettings(t.Context(), application, func(usage.AlertSettings) (usage.AlertSettings, error) { return to, nil }, actor)
	if err == nil && !cmp.Equal(kept, to) {
		t.Errorf("%+v is kept, want %+v", kept, to)
	}
	return err
}

func testAlertSettings(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	want := func(application string, want usage.AlertSettings) {
		t.Helper()
		got, err := s.AlertSettings(ctx, application)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("settings of %s: %v (-want +got):\n%s", application, err, diff)
		}
	}
	want("acme", usage.AlertSettings{})
	want("nobody", usage.AlertSettings{})
	secret := "whsec_" + strings.Repeat("c2Vj", 8)
	whole := usage.AlertSettings{
		Thresholds: []int{50, 100}, Mail: []string{"ops@acme.example"}, WebhookURL: "https://acme.example/hooks/hidden?x=1", WebhookSecret: secret,
	}
	for range 2 { // the second changes nothing
		if err := setAlerts(t, s, "acme", whole, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	want("acme", whole)
	want("beta", usage.AlertSettings{})
	changed := whole
	changed.WebhookSecret = "whsec_" + strings.Repeat("bmV3", 8)
	if err := setAlerts(t, s, "acme", changed, "ann"); err != nil {
		t.Fatal(err)
	}
	changed.WebhookURL = "https://acme.example/hooks/other"
	if err := setAlerts(t, s, "acme", changed, "ann"); err != nil {
		t.Fatal(err)
	}
	changed.WebhookURL = "https://elsewhere.example:8443/hooks/other"
	if err := setAlerts(t, s, "acme", changed, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := setAlerts(t, s, "acme", usage.AlertSettings{}, "bob"); err != nil {
		t.Fatal(err)
	}
	want("acme", usage.AlertSettings{})
	entries, err := f.Audit(ctx, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %s %s: %s -> %s", e.Actor, e.Action, e.Subject, e.Before, e.After))
	}
	const with = "at 50% 100% mail to ops@acme.example webhook to acme.example"
	const elsewhere = "at 50% 100% mail to ops@acme.example webhook to elsewhere.example:8443"
	if diff := cmp.Diff([]string{
		"bob alerts.set alerts of application acme: " + elsewhere + " -> at 75% 90% 100%",
		"ann alerts.set alerts of application acme: " + with + " -> " + elsewhere,
		"ann alerts.set alerts of application acme: " + with + " -> " + with + " at another address of it",
		"ann alerts.set alerts of application acme: " + with + " -> " + with + " with a new secret",
		"ann alerts.set alerts of application acme: at 75% 90% 100% -> " + with + " with a new secret",
	}, got); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
	wantKind(t, "an unknown application", setAlerts(t, s, "nobody", whole, ""), fault.NotFound)
	whole.WebhookSecret = "secret"
	wantKind(t, "settings that cannot be", setAlerts(t, s, "acme", whole, ""), fault.Invalid)
}

// Many edit at once: none overwrites what another has set.
// testLosses removes applications, by the file and at run time: whoever looks first is told what goes with them.
func testLosses(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	f.edit(t, registry.PutApplication{ID: "new"})
	f.account(t, "ann@example.com")
	f.account(t, "bob@example.com")
	for _, application := range []string{"acme", "beta", "new"} {
		f.issue(t, registry.NewToken{Application: application})
		f.issue(t, registry.NewToken{Application: application, Member: "m-1", Expires: f.clock.Now().Add(2 * time.Hour)})
		f.issue(t, registry.NewToken{Application: application, Expires: f.clock.Now().Add(time.Hour)})
		if err := f.RevokeToken(ctx, f.issue(t, registry.NewToken{Application: application}).ID, ""); err != nil {
			t.Fatal(err)
		}
		f.grant(t, "ann@example.com", application, registry.Admin)
		f.grant(t, "bob@example.com", application, registry.Viewer)
		if err := setAlerts(t, s, application, usage.AlertSettings{Mail: []string{"ops@acme.example"}}, ""); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.Advance(time.Hour) // the third of each has expired
	if err := f.SetOverride(ctx, "new", "*", Limits(1, 1), ""); err != nil {
		t.Fatal(err)
	}

	remove := registry.Remove{Noun: registry.Application, ID: "new"}
	look := func() registry.Edited {
		t.Helper()
		edited, err := f.Edit(ctx, remove, registry.EditOptions{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		return edited
	}
	seen := look()
	wantLines(t, seen, "- application new", "- application new overrides 1", "- application new tokens 2", "- application new grants 2", "- application new alert settings 1")
	if look().Digest != seen.Digest {
		t.Error("the digest of the same is another")
	}
	f.issue(t, registry.NewToken{Application: "new"})
	if _, err := f.Edit(ctx, remove, registry.EditOptions{Expect: seen.Digest}); !errors.Is(err, registry.ErrOvertaken) {
		t.Errorf("with one more token than was looked at: %v", err)
	}
	wantLines(t, f.edit(t, remove), "- application new", "- application new overrides 1", "- application new tokens 3", "- application new grants 2", "- application new alert settings 1")
	entries, err := f.Audit(ctx, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range entries {
		said = append(said, fmt.Sprintf("%s %s: %s -> %s", e.Action, e.Subject, e.Before, e.After))
	}
	if diff := cmp.Diff([]string{
		"remove application new:  -> removed", "override.clear overrides of application new:  -> 1 cleared",
		"alerts.set alerts of application new: at 75% 90% 100% mail to ops@acme.example -> removed",
		"token.revoke tokens of application new:  -> 4 revoked", "grant.withdraw grants of application new:  -> 2 withdrawn",
	}, said); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}

	without := Catalog()
	without.Applications = nil
	want := []string{
		"- application acme", "- application beta",
		"- application acme tokens 2", "- application acme grants 2", "- application acme alert settings 1",
		"- application beta tokens 2", "- application beta grants 2", "- application beta alert settings 1",
	}
	if got := f.apply(t, without); !slices.Equal(got, want) {
		t.Errorf("the file without them: %q, want %q", got, want)
	}
}

func testAlertSettingsUnderConcurrency(t *testing.T, f *fixture, s AlertRegistry) {
	f.apply(t, Catalog())
	boom := errors.New("boom")
	if kept, err := s.EditAlertSettings(t.Context(), "acme", func(was usage.AlertSettings) (usage.AlertSettings, error) {
		return usage.AlertSettings{Mail: []string{"lost@acme.example"}}, boom
	}, ""); !errors.Is(err, boom) || len(kept.Mail) > 0 {
		t.Errorf("an edit that fails: %+v, %v", kept, err)
	}
	var editing sync.WaitGroup
	for i := range 10 {
		editing.Go(func() {
			if _, err := s.EditAlertSettings(t.Context(), "acme", func(was usage.AlertSettings) (usage.AlertSettings, error) {
				was.Mail = append(was.Mail, fmt.Sprintf("a%d@acme.example", i))
				return was, nil
			}, ""); err != nil {
				t.Error(err)
			}
		})
	}
	editing.Wait()
	got, err := s.AlertSettings(t.Context(), "acme")
	if err != nil || len(got.Mail) != 10 {
		t.Errorf("%d of 10 addresses are kept: %v, %v", len(got.Mail), got.Mail, err)
	}
}

func testAllAlertSettings(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	known := int64(0)
	want := func(what string, changed bool, want map[string]usage.AlertSettings) {
		t.Helper()
		got, version, err := s.AllAlertSettings(ctx, known)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || (version != known) != changed || version == 0 {
			t.Errorf("%s: version %d after %d, %v (-want +got):\n%s", what, version, known, err, diff)
		}
		known = version
	}
	want("at first", true, map[string]usage.AlertSettings{})
	want("at first, again", false, nil)
	acme, beta := usage.AlertSettings{Mail: []string{"ops@acme.example"}}, usage.AlertSettings{Thresholds: []int{60}, Mail: []string{"ops@beta.example"}}
	set := func(application string, to usage.AlertSettings) {
		t.Helper()
		if err := setAlerts(t, s, application, to, ""); err != nil {
			t.Fatal(err)
		}
	}
	set("acme", acme)
	set("beta", beta)
	want("two are set", true, map[string]usage.AlertSettings{"acme": acme, "beta": beta})
	set("beta", beta)
	want("one is set to what it is", false, nil)
	beta.Thresholds = nil
	set("beta", beta)
	want("one is changed", true, map[string]usage.AlertSettings{"acme": acme, "beta": beta})
	without := Catalog()
	without.Applications = without.Applications[1:]
	f.apply(t, without)
	want("an application is removed", true, map[string]usage.AlertSettings{"beta": beta})
}

func testCrossings(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	raise := func(day quota.Date, crossings ...usage.Crossing) {
		t.Helper()
		if err := s.RaiseAlerts(ctx, day, crossings, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := func(day quota.Date, want ...usage.Crossing) {
		t.Helper()
		got, err := s.RaisedAlerts(ctx, day)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("crossings of %s: %v (-want +got):\n%s", day, err, diff)
		}
	}
	own := usage.Crossing{Application: "acme", Endpoint: "*", Threshold: 75}
	member := usage.Crossing{Application: "acme", Endpoint: "*", Member: "日'; --", Threshold: 90}
	want(historyDay)
	raise(historyDay, own, member)
	want(historyDay, own, member)
	own.Threshold = 100
	lower := member
	lower.Threshold = 75
	raise(historyDay, own, lower)
	want(historyDay, own, member)
	want(historyDay + 1)
	raise(historyDay+1, member)
	want(historyDay)
	want(historyDay+1, member)
}

func testAlertMessages(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	f.edit(t, registry.PutApplication{ID: "many"})
	now := f.clock.Now()
	due := func(at time.Time, limit int, want ...usage.AlertMessage) {
		t.Helper()
		for _, way := range []usage.AlertWay{usage.WebhookWay, usage.MailWay} {
			var by []usage.AlertMessage
			for _, m := range want {
				if m.Channel.Way() == way {
					by = append(by, m)
				}
			}
			got, err := s.DueAlerts(ctx, way, at, limit)
			if diff := cmp.Diff(by, got); diff != "" || err != nil {
				t.Errorf("due by %s at %v: %v (-want +got):\n%s", way, at, err, diff)
			}
		}
	}
	due(now, 1)
	first := usage.AlertMessage{ID: "msg_1", Application: "acme", Channel: usage.ByWebhook, Body: `{"a": "日"}`, Created: now, Due: now}
	second := usage.AlertMessage{ID: "msg_2", Application: "acme", Channel: usage.ByMail("ops@acme.example"), Body: "{}", Created: now, Due: now.Add(time.Second)}
	if err := s.RaiseAlerts(ctx, historyDay, nil, []usage.AlertMessage{second, first}); err != nil {
		t.Fatal(err)
	}
	again := usage.Crossing{Application: "acme", Endpoint: "*", Threshold: 75}
	if err := s.RaiseAlerts(ctx, historyDay, []usage.Crossing{again}, []usage.AlertMessage{first}); err == nil {
		t.Error("an id was taken twice")
	}
	if got, err := s.RaisedAlerts(ctx, historyDay); got != nil || err != nil {
		t.Errorf("crossings of what was not raised: %v, %v", got, err)
	}
	due(now.Add(-time.Millisecond), 10)
	due(now, 10, first)
	due(now.Add(time.Second), 10, first, second)
	due(now.Add(time.Second), 1, first, second)
	if err := s.NoteDelivery(ctx, first, usage.Delivery{Channel: first.Channel, At: now, Problem: "It hung.", Again: now.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	first.Due, first.Attempts = now.Add(time.Minute), 1
	due(now.Add(time.Hour), 10, second, first)
	third := second
	third.ID = "msg_3" // there is no such message
	for _, m := range []usage.AlertMessage{second, second, third} {
		if err := s.NoteDelivery(ctx, m, usage.Delivery{Channel: m.Channel, At: now}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.NoteDelivery(ctx, third, usage.Delivery{Channel: third.Channel, At: now, Problem: "It hung.", Again: now}); err != nil {
		t.Error(err)
	}
	due(now.Add(time.Hour), 10, first)

	// However many there are of one application, others are heard of.
	var many []usage.AlertMessage
	for i := range usage.MaxDueAlerts + 1 {
		many = append(many, usage.AlertMessage{
			ID: fmt.Sprintf("msg_many_%03d", i), Application: "many", Channel: usage.ByWebhook, Body: "{}", Created: now, Due: now.Add(time.Duration(i) * time.Millisecond),
		})
	}
	late := usage.AlertMessage{ID: "msg_late", Application: "beta", Channel: usage.ByWebhook, Body: "{}", Created: now, Due: now.Add(time.Hour)}
	if err := s.RaiseAlerts(ctx, historyDay, nil, append(many, late)); err != nil {
		t.Fatal(err)
	}
	due(now.Add(time.Hour), usage.MaxDueAlerts, append(append([]usage.AlertMessage{}, many[:usage.MaxDueAlertsOf]...), late, first)...)
	due(now.Add(time.Hour), 2, many[:2]...)

	// Old ones are forgotten, whatever their way and whenever they are due.
	byMail := usage.AlertMessage{ID: "msg_mail", Application: "beta", Channel: usage.ByMail("ops@beta.example"), Body: "{}", Created: now.Add(time.Second), Due: now.Add(time.Second)}
	young := usage.AlertMessage{ID: "msg_young", Application: "beta", Channel: usage.ByWebhook, Body: "{}", Created: now.Add(time.Minute), Due: now.Add(time.Minute)}
	if err := s.RaiseAlerts(ctx, historyDay, nil, []usage.AlertMessage{byMail, young}); err != nil {
		t.Fatal(err)
	}
	forgotten := map[string]usage.AlertMessage{}
	for _, want := range []int{0, usage.MaxDueAlerts, 4, 0} { // the first time nothing is that old
		upTo := now.Add(time.Second)
		if want == 0 && len(forgotten) == 0 {
			upTo = now.Add(-time.Millisecond)
		}
		some, err := s.ForgetAlerts(ctx, upTo)
		if len(some) != want || err != nil {
			t.Fatalf("%d were forgotten, want %d: %v", len(some), want, err)
		}
		for _, m := range some {
			forgotten[m.ID] = m
		}
	}
	for _, want := range []usage.AlertMessage{many[0], first, late, byMail} {
		if diff := cmp.Diff(want, forgotten[want.ID]); diff != "" {
			t.Errorf("forgotten (-want +got):\n%s", diff)
		}
	}
	due(now.Add(time.Hour), usage.MaxDueAlerts, young)
	for _, limit := range []int{0, -1, usage.MaxDueAlerts + 1} {
		_, err := s.DueAlerts(ctx, usage.WebhookWay, now, limit)
		wantKind(t, fmt.Sprintf("limit %d", limit), err, fault.Invalid)
	}
}

// testDeliveries notes deliveries by channels that come and go.
func testDeliveries(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	now := f.clock.Now()
	want := func(step string, want ...usage.Delivery) {
		t.Helper()
		got, err := s.Deliveries(ctx, "acme")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", step, err, diff)
		}
	}
	note := func(d usage.Delivery) {
		t.Helper()
		if err := s.NoteDelivery(ctx, usage.AlertMessage{ID: "msg_1", Application: "acme", Channel: d.Channel}, d); err != nil {
			t.Fatal(err)
		}
	}
	set := usage.AlertSettings{Mail: []string{"ann@acme.example", "bob@acme.example"}, WebhookURL: "https://acme.example/1", WebhookSecret: usage.NewWebhookSecret()}
	edit := func() {
		t.Helper()
		if err := setAlerts(t, s, "acme", set, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	toAnn, toBob := usage.ByMail("ann@acme.example"), usage.ByMail("bob@acme.example")
	taken := usage.Delivery{Channel: toAnn, At: now}
	hung := usage.Delivery{Channel: usage.ByWebhook, At: now.Add(time.Second), Problem: "It hung: 日.", Again: now.Add(time.Minute)}

	note(taken)
	want("nobody is to be warned")
	edit()
	want("nothing was tried")
	note(usage.Delivery{Channel: toAnn, At: now.Add(-time.Hour), Problem: "It hung.", Again: now})
	note(taken)
	note(hung)
	want("one taken, one not", taken, hung)
	if got, err := s.Deliveries(ctx, "beta"); len(got) != 0 || err != nil {
		t.Errorf("another application has %+v, %v", got, err)
	}

	set.Thresholds, set.Mail = []int{60}, []string{"bob@acme.example"}
	edit()
	want("an address has gone", hung)
	note(taken)
	want("what was under way to it is over", hung)
	set.Mail = []string{"ann@acme.example"}
	edit()
	want("it has come again", hung)
	note(usage.Delivery{Channel: toBob, At: now})
	set.WebhookSecret = usage.NewWebhookSecret()
	edit()
	want("a new secret is for the same webhook", hung)
	set.WebhookURL = "https://acme.example/2"
	edit()
	want("another webhook")
}

// testAlertsOfRemoved has an application leave the catalog in each way, and another come to bear its id.
func testAlertsOfRemoved(t *testing.T, f *fixture, s AlertRegistry) {
	ctx := t.Context()
	f.apply(t, Catalog())
	without := Catalog()
	without.Applications = without.Applications[1:]
	now := f.clock.Now()
	for _, way := range []struct {
		name         string
		application  string
		remove, anew func()
	}{
		{"by a file", "acme", func() { f.apply(t, without) }, func() { f.apply(t, Catalog()) }},
		{
			"at run time", "made",
			func() { f.edit(t, registry.Remove{Noun: registry.Application, ID: "made"}) },
			func() { f.edit(t, registry.PutApplication{ID: "made"}) },
		},
	} {
		way.anew()
		raise := func(application string) {
			t.Helper()
			m := usage.AlertMessage{ID: "msg_" + application, Application: application, Channel: usage.ByMail("ops@acme.example"), Created: now, Due: now}
			crossing := usage.Crossing{Application: application, Endpoint: "*", Member: "m-1", Threshold: 75}
			if err := s.RaiseAlerts(ctx, historyDay, []usage.Crossing{crossing}, []usage.AlertMessage{m}); err != nil {
				t.Fatal(err)
			}
			near := usage.NearList{Application: application, Endpoint: "*", Members: []usage.NearMember{{ID: "m-1", Percent: 80}}}
			keepNear(t, s, historyDay, near)
		}
		for _, application := range []string{way.application, "beta"} {
			if err := setAlerts(t, s, application, usage.AlertSettings{Mail: []string{"ops@acme.example"}}, ""); err != nil {
				t.Fatal(err)
			}
			raise(application)
			m := usage.AlertMessage{ID: "msg_" + application, Application: application, Channel: usage.ByMail("ops@acme.example")}
			if err := s.NoteDelivery(ctx, m, usage.Delivery{Channel: m.Channel, At: now, Problem: "It hung.", Again: now}); err != nil {
				t.Fatal(err)
			}
		}
		way.remove()
		raise(way.application) // by a node that has not heard of it yet
		way.anew()
		for application, want := range map[string]int{way.application: 0, "beta": 1} {
			if settings, err := s.AlertSettings(ctx, application); len(settings.Mail) != want || err != nil {
				t.Errorf("%s: %s has the settings %+v, %v", way.name, application, settings, err)
			}
		}
		if due, err := s.DueAlerts(ctx, usage.MailWay, now, 10); len(due) != 1 || due[0].Application != "beta" || err != nil {
			t.Errorf("%s: the messages are %+v, %v", way.name, due, err)
		}
		if crossings, err := s.RaisedAlerts(ctx, historyDay); len(crossings) != 1 || crossings[0].Application != "beta" || err != nil {
			t.Errorf("%s: the crossings are %+v, %v", way.name, crossings, err)
		}
		if near, err := s.NearOn(ctx, historyDay); len(near) != 1 || near[0].Application != "beta" || err != nil {
			t.Errorf("%s: near are %+v, %v", way.name, near, err)
		}
		for application, want := range map[string]int{way.application: 0, "beta": 1} {
			if deliveries, err := s.Deliveries(ctx, application); len(deliveries) != want || err != nil {
				t.Errorf("%s: %s has the deliveries %+v, %v", way.name, application, deliveries, err)
			}
		}
		if err := s.NoteDelivery(ctx, usage.AlertMessage{ID: "msg_beta", Application: "beta"}, usage.Delivery{At: now}); err != nil {
			t.Fatal(err)
		}
	}
}

package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/perdiem/perdiem/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a store of messages.
type store struct {
	usage.AlertStore
	mu       sync.Mutex
	messages map[string]usage.AlertMessage // guarded by mu
	err      error                         // guarded by mu
	keeps    error                         // guarded by mu: why nothing is forgotten
	looks    int                           // guarded by mu: how often what is due was asked for
	forgets  int                           // guarded by mu: how often what is old was to be forgotten
	log      bytes.Buffer                  // what the outbox logs: see [store.logged]

	deliveries map[usage.AlertChannel]usage.Delivery // guarded by mu: the last of each
}

func (s *store) AlertSettings(_ context.Context, application string) (usage.AlertSettings, error) {
	if application == "quiet" {
		return usage.AlertSettings{}, nil
	}
	settings := usage.AlertSettings{WebhookURL: "https://" + application + ".example", WebhookSecret: secret, Mail: []string{"ann@acme.example"}}
	for i := range 9 {
		settings.Mail = append(settings.Mail, fmt.Sprintf("ann%d@acme.example", i))
	}
	return settings, nil
}

func (s *store) put(id, application string) { s.putBy(usage.ByWebhook, id, application, time.Now()) }

func (s *store) putBy(channel usage.AlertChannel, id, application string, created time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[id] = usage.AlertMessage{ID: id, Application: application, Channel: channel, Created: created, Due: created}
}

func (s *store) DueAlerts(_ context.Context, way usage.AlertWay, now time.Time, limit int) (due []usage.AlertMessage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	of := map[string]int{}
	for _, id := range slices.SortedFunc(maps.Keys(s.messages), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.messages[a].Attempts, s.messages[b].Attempts), cmp.Compare(a, b))
	}) {
		if m := s.messages[id]; m.Channel.Way() == way && !m.Due.After(now) && len(due) < limit && of[m.Application] < usage.MaxDueAlertsOf {
			due = append(due, m)
			of[m.Application]++
		}
	}
	return due, s.err
}

func (s *store) NoteDelivery(_ context.Context, m usage.AlertMessage, d usage.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deliveries == nil {
		s.deliveries = map[usage.AlertChannel]usage.Delivery{}
	}
	s.deliveries[m.Channel] = d
	if d.Problem == "" {
		delete(s.messages, m.ID)
		return s.err
	}
	m.Due = d.Again
	m.Attempts++
	s.messages[m.ID] = m
	return s.err
}

func (s *store) ForgetAlerts(_ context.Context, upTo time.Time) (old []usage.AlertMessage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgets++
	if err := cmp.Or(s.err, s.keeps); err != nil {
		return nil, err
	}
	for id, m := range s.messages {
		if !m.Created.After(upTo) && len(old) < usage.MaxDueAlerts {
			old = append(old, m)
			delete(s.messages, id)
		}
	}
	return old, nil
}

func (s *store) last(c usage.AlertChannel) usage.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deliveries[c]
}

// logged returns how many times something was logged, once the outbox waits.
func (s *store) logged(what string) int {
	synctest.Wait()
	return strings.Count(s.log.String(), what)
}

func (s *store) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// post is a channel that takes messages, or fails, or hangs.
type post struct {
	mu    sync.Mutex
	sent  []string                                   // guarded by mu: ids, in order
	at    []time.Time                                // guarded by mu
	fails func(ctx context.Context, id string) error // nil: never
}

func (p *post) send(ctx context.Context, s usage.AlertSettings, m usage.AlertMessage) error {
	if !strings.Contains(s.WebhookURL, m.Application) {
		return errors.New("another's settings")
	}
	p.mu.Lock()
	p.sent, p.at = append(p.sent, m.ID), append(p.at, time.Now())
	p.mu.Unlock()
	if p.fails == nil {
		return nil
	}
	return p.fails(ctx, m.ID)
}

func (p *post) times() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.at)
}

// delivering runs f while an outbox delivers by p, on a faked clock.
func delivering(t *testing.T, p *post, f func(s *store)) {
	deliveringBy(t, map[usage.AlertWay]Send{usage.WebhookWay: p.send, usage.MailWay: p.send}, f)
}

func deliveringBy(t *testing.T, ways map[usage.AlertWay]Send, f func(s *store)) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{messages: map[string]usage.AlertMessage{}}
		b, err := New(Options{Store: s, Now: time.Now, Log: slog.New(slog.NewTextHandler(&s.log, nil)), Send: ways})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Follow(ctx); close(done) }()
		f(s)
		cancel()
		<-done
	})
}

func TestOutbox(t *testing.T) {
	p := &post{}
	delivering(t, p, func(s *store) {
		s.put("msg_1", "acme")
		s.put("msg_2", "quiet") // it has no webhook any more
		time.Sleep(2 * time.Second)
		if s.left() != 0 || !slices.Equal(p.sent, []string{"msg_1"}) {
			t.Errorf("sent %v, %d are left", p.sent, s.left())
		}
		time.Sleep(time.Hour)
		if len(p.sent) != 1 {
			t.Errorf("sent %v", p.sent)
		}
	})
}

// A message is tried again, less and less often, for a day.
func TestOutboxTriesAgain(t *testing.T) {
	p := &post{fails: func(context.Context, string) error { return errors.New("boom") }}
	delivering(t, p, func(s *store) {
		s.put("msg_1", "acme")
		began := time.Now()
		time.Sleep(23 * time.Hour)
		if s.left() != 1 {
			t.Error("it is given up within the day")
		}
		if d := s.last(usage.ByWebhook); d.Problem != "It could not be reached." || d.At.Before(began.Add(20*time.Hour)) || !d.Again.After(d.At.Add(time.Hour)) {
			t.Errorf("the last attempt is noted as %+v", d)
		}
		time.Sleep(time.Hour + 2*time.Second)
		if s.left() != 0 {
			t.Error("it is not given up after a day")
		}
		at := p.times()
		if len(at) < 15 || len(at) > 22 || at[0].Sub(began) > 2*time.Second || at[1].Sub(at[0]) > 8*time.Second || at[len(at)-1].Sub(began) < 21*time.Hour || at[len(at)-1].Sub(began) >= 24*time.Hour {
			t.Errorf("%d attempts: %v", len(at), at)
		}
		for i := 2; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap > 133*time.Minute || i < 6 && gap < 2*at[i-1].Sub(at[i-2]) {
				t.Errorf("attempt %d came after %v", i, gap)
			}
		}
	})
	heals := &post{}
	heals.fails = func(context.Context, string) error {
		if len(heals.times()) < 4 {
			return errors.New("boom")
		}
		return nil
	}
	delivering(t, heals, func(s *store) {
		s.put("msg_1", "acme")
		time.Sleep(10 * time.Minute)
		if s.left() != 0 || len(heals.sent) != 4 {
			t.Errorf("sent %v, %d are left", heals.sent, s.left())
		}
		if d := s.last(usage.ByWebhook); d.Problem != "" || !d.Again.IsZero() || !d.At.Equal(heals.at[3]) {
			t.Errorf("what was taken is noted as %+v", d)
		}
	})
}

// A webhook that hangs holds up no other application's; what is under way at a stop stays due.
func TestOutboxWithAHangingWebhook(t *testing.T) {
	p := &post{fails: func(ctx context.Context, id string) error {
		if strings.HasPrefix(id, "a") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	delivering(t, p, func(s *store) {
		for i := range 50 {
			s.put(fmt.Sprintf("a%02d", i), "acme")
			s.put(fmt.Sprintf("b%02d", i), "beta")
		}
		time.Sleep(time.Minute)
		p.mu.Lock()
		well := len(slices.DeleteFunc(slices.Clone(p.sent), func(id string) bool { return strings.HasPrefix(id, "a") }))
		p.mu.Unlock()
		if s.left() != 50 || well != 50 {
			t.Errorf("%d of the other were sent, %d are left", well, s.left())
		}
	})
}

// A mail server that swallows what it gets, and many webhooks that do, hold up no one else's webhook for long.
func TestOutboxIsolatesWhatHangs(t *testing.T) {
	p := &post{fails: func(ctx context.Context, id string) error {
		if strings.HasPrefix(id, "hangs") {
			ctx, cancel := context.WithTimeout(ctx, mailTime)
			defer cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	delivering(t, p, func(s *store) {
		for i := range 200 {
			s.putBy(usage.ByMail("ann@acme.example"), fmt.Sprintf("hangs-mail-%03d", i), fmt.Sprint("mail", i), time.Now())
		}
		for i := range 20 {
			s.put(fmt.Sprintf("hangs-hook-%02d", i), fmt.Sprint("hook", i))
		}
		s.put("well", "acme")
		time.Sleep(2 * time.Second)
		p.mu.Lock()
		sent := slices.Contains(p.sent, "well")
		p.mu.Unlock()
		if !sent {
			t.Error("a webhook that answers waits for what hangs")
		}
		time.Sleep(time.Minute)
		p.mu.Lock()
		defer p.mu.Unlock()
		tried := 0
		for i := range 200 {
			if slices.Contains(p.sent, fmt.Sprintf("hangs-mail-%03d", i)) {
				tried++
			}
		}
		if tried < 100 {
			t.Errorf("%d mails were tried in a minute: a first attempt hangs for too long", tried)
		}
	})
}

// What is a day old when the node starts is sent to nobody.
func TestOutboxSendsNothingOld(t *testing.T) {
	p := &post{}
	delivering(t, p, func(s *store) {
		s.putBy(usage.ByWebhook, "old", "acme", time.Now().Add(-24*time.Hour))
		s.putBy(usage.ByWebhook, "young", "acme", time.Now().Add(-23*time.Hour))
		time.Sleep(2 * time.Second)
		if s.left() != 0 || !slices.Equal(p.sent, []string{"young"}) {
			t.Errorf("sent %v, %d are left", p.sent, s.left())
		}
	})
}

// Where there is more that is old than is forgotten at a time, what is left of it is sent to nobody either.
func TestOutboxSendsNothingOldOfMany(t *testing.T) {
	p := &post{}
	delivering(t, p, func(s *store) {
		for i := range 3 * usage.MaxDueAlerts {
			s.putBy(usage.ByWebhook, fmt.Sprint("old-", i), fmt.Sprint("app-", i), time.Now().Add(-25*time.Hour))
		}
		s.put("young", "acme")
		time.Sleep(5 * time.Second)
		if s.left() != 0 || !slices.Equal(p.sent, []string{"young"}) {
			t.Errorf("%d were sent, %d are left", len(p.sent), s.left())
		}
	})
}

// What is old is sent to nobody while the store cannot forget it, as on a disk that is full.
func TestOutboxSendsNothingOldThatStays(t *testing.T) {
	p := &post{}
	delivering(t, p, func(s *store) {
		s.mu.Lock()
		s.keeps = errors.New("the disk is full")
		s.mu.Unlock()
		s.putBy(usage.ByWebhook, "old", "acme", time.Now().Add(-24*time.Hour))
		young := []string{"young-1", "young-2", "young-3"} // the last waits for room
		for _, id := range young {
			s.put(id, "acme")
		}
		time.Sleep(time.Minute)
		if s.left() != 1 || !slices.Equal(slices.Sorted(slices.Values(p.sent)), young) {
			t.Errorf("sent %v, %d are left", p.sent, s.left())
		}
		if warned := s.logged("cannot be read"); warned != 1 {
			t.Errorf("that the store fails is logged %d times", warned)
		}
		s.mu.Lock()
		s.keeps = nil
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		if s.left() != 0 {
			t.Error("it is not forgotten when it can be")
		}
	})
}

// What was to go by a way that there is no longer is kept for a day, as everything is.
func TestOutboxForgetsWhatHasNoWay(t *testing.T) {
	p := &post{}
	deliveringBy(t, map[usage.AlertWay]Send{usage.WebhookWay: p.send}, func(s *store) {
		s.putBy(usage.ByMail("ann@acme.example"), "mail", "acme", time.Now())
		time.Sleep(keptFor - time.Minute)
		if s.left() != 1 {
			t.Error("it is forgotten within the day")
		}
		time.Sleep(2 * time.Minute)
		if s.left() != 0 || len(p.sent) != 0 {
			t.Errorf("sent %v, %d are left", p.sent, s.left())
		}
	})
}

// Where a server answers, the last of an application's addresses hears little later than the first, two at a time.
func TestOutboxOfManyAddresses(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	flying := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		now += by
		most = max(most, now)
	}
	p := &post{fails: func(context.Context, string) error {
		flying(1)
		time.Sleep(50 * time.Millisecond)
		flying(-1)
		return nil
	}}
	delivering(t, p, func(s *store) {
		began := time.Now()
		s.putBy(usage.ByMail("ann@acme.example"), "mail", "acme", began)
		for i := range 9 {
			s.putBy(usage.ByMail(fmt.Sprintf("ann%d@acme.example", i)), fmt.Sprint("mail-", i), "acme", began)
		}
		time.Sleep(2 * time.Second)
		if len(p.times()) != 10 || s.left() != 0 {
			t.Errorf("%d of 10 were sent within two seconds, %d are left", len(p.times()), s.left())
		}
		if most != maxFlyingOf {
			t.Errorf("%d were sent at a time, want %d", most, maxFlyingOf)
		}
	})
}

// The store is asked for more when there is room again for what waited, and what is old is forgotten once a second, however much lands.
func TestOutboxLeavesTheStoreInPeace(t *testing.T) {
	p := &post{fails: func(ctx context.Context, id string) error {
		if id == "hangs" {
			<-ctx.Done()
			return ctx.Err()
		}
		time.Sleep(300 * time.Millisecond)
		return nil
	}}
	for _, test := range []struct {
		name               string
		inASecond          int // messages of an application that come each second, of which two are sent at a time
		leastLooks, atMost int // in four seconds
	}{
		{"one hangs, and others land", 1, 4, 4},
		{"some wait for room", 4, 8, 4 + 4*4},
	} {
		deliveringBy(t, map[usage.AlertWay]Send{usage.WebhookWay: p.send}, func(s *store) {
			s.put("hangs", "hangs")
			for second := range 4 {
				for i := range test.inASecond {
					s.put(fmt.Sprintf("m-%d-%d", second, i), "acme")
				}
				time.Sleep(lookEvery)
			}
			time.Sleep(lookEvery * 9 / 10)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.looks < test.leastLooks || s.looks > test.atMost || s.forgets != 4 || len(s.messages) != 1 {
				t.Errorf("%s: %d looks, %d times what is old was to be forgotten, %d are left", test.name, s.looks, s.forgets, len(s.messages))
			}
		})
	}
}

// What is taken while the outbox stops is not sent again by the next.
func TestOutboxStopsWhileItSends(t *testing.T) {
	p := &post{fails: func(ctx context.Context, _ string) error {
		select {
		case <-time.After(lastMoment * 9 / 10):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	var at *store
	delivering(t, p, func(s *store) {
		at = s
		s.put("msg_1", "acme")
		time.Sleep(lookEvery)
		synctest.Wait() // it is being sent
	})
	if len(p.sent) != 1 || at.left() != 0 {
		t.Errorf("%d were sent, %d are left", len(p.sent), at.left())
	}
}

func TestOutboxWhileTheStoreFails(t *testing.T) {
	p := &post{}
	delivering(t, p, func(s *store) {
		s.mu.Lock()
		s.err = errors.New("boom")
		s.mu.Unlock()
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.err = nil
		s.mu.Unlock()
		s.put("msg_1", "acme")
		time.Sleep(2 * time.Second)
		if s.left() != 0 {
			t.Error("it is not delivered")
		}
	})
	if _, err := New(Options{}); err == nil {
		t.Error("no options are taken")
	}
}

// Package notify delivers alerts: it takes the messages that package usage raises out of the registry and sends them, by webhook and
// mail, until each was taken or is a day old.
//
// A message is sent at least once. It keeps its id however often it is sent, by which whoever gets it can tell.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/perdiem/perdiem/usage"
)

// Options are what an [Outbox] needs. All are required.
type Options struct {
	Store usage.AlertStore
	Send  map[usage.AlertWay]Send // by each way by which messages can be delivered
	Now   func() time.Time
	Log   *slog.Logger
}

// Send sends a message by its channel, which is one of the settings', and returns an error where it was not taken. It gives up when ctx ends.
type Send = func(ctx context.Context, s usage.AlertSettings, m usage.AlertMessage) error

// Outbox delivers what is due. It is safe for concurrent use.
type Outbox struct {
	o Options

	mu     sync.Mutex
	flying map[string]bool // guarded by mu: messages that are being sent, by id; false: they were, and may be in what was read before
	of     map[string]int  // guarded by mu: how many are being sent, by application
	all    int             // guarded by mu: how many are being sent
}

const (
	lookEvery = time.Second
	storeTime = 4 * time.Second
	// lastMoment is how long what is under way may take when the outbox stops.
	lastMoment = time.Second
	// maxFlying is how many messages are sent at a time, and maxFlyingOf how many of one application: one whose webhook hangs holds up no other.
	maxFlying   = 16
	maxFlyingOf = 2
	// keptFor is how old a message gets that nobody takes.
	keptFor    = 24 * time.Hour
	firstDelay = 5 * time.Second
	lastDelay  = 2 * time.Hour
)

// New returns an Outbox that sends nothing yet: see [Outbox.Follow].
func New(o Options) (*Outbox, error) {
	if o.Store == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("notify: Options need a Store, Now and Log")
	}
	return &Outbox{o: o, flying: map[string]bool{}, of: map[string]int{}}, nil
}

// Follow delivers until ctx ends, and then waits for what is under way, which gives up after a second: nearly all of it has been taken by then, and
// would be sent again by the next start.
func (b *Outbox) Follow(ctx context.Context) {
	var sending sync.WaitGroup
	send, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		late := time.AfterFunc(lastMoment, giveUp)
		sending.Wait()
		late.Stop()
		giveUp()
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		b.forgetLanded()
		due, err := b.due(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			b.o.Log.Warn("alerts that are to be delivered cannot be read", "err", err)
		}
		failing = err != nil
		for _, m := range due {
			if b.take(m) {
				sending.Go(func() {
					defer b.release(m)
					b.deliver(send, m)
				})
			}
		}
	}
}

func (b *Outbox) due(ctx context.Context) ([]usage.AlertMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return b.o.Store.DueAlerts(ctx, b.o.Now(), usage.MaxDueAlerts)
}

// take reports whether a message may be sent now, and notes that it is.
func (b *Outbox) take(m usage.AlertMessage) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.flying[m.ID]; known || b.all >= maxFlying || b.of[m.Application] >= maxFlyingOf {
		return false
	}
	b.flying[m.ID] = true
	b.of[m.Application]++
	b.all++
	return true
}

func (b *Outbox) release(m usage.AlertMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying[m.ID] = false
	b.all--
	if b.of[m.Application]--; b.of[m.Application] == 0 {
		delete(b.of, m.Application)
	}
}

// forgetLanded forgets the messages of which the store knows by now what became of them.
func (b *Outbox) forgetLanded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.flying, func(_ string, flying bool) bool { return !flying })
}

// deliver sends a message, and notes in the store what became of it. A message whose channel its application no longer has goes to nobody.
func (b *Outbox) deliver(ctx context.Context, m usage.AlertMessage) {
	log := b.o.Log.With("application", m.Application, "way", m.Channel.Way(), "message", m.ID)
	settings, err := b.o.Store.AlertSettings(ctx, m.Application)
	if err == nil {
		err = b.send(ctx, settings, m)
	}
	if err != nil && ctx.Err() != nil {
		return // it is due still
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	now := b.o.Now()
	switch {
	case err == nil:
		err = b.o.Store.RemoveAlert(ctx, m.ID)
	case now.Sub(m.Created) >= keptFor:
		log.Error("an alert could not be delivered for a day: it is given up", "err", err)
		err = b.o.Store.RemoveAlert(ctx, m.ID)
	default:
		if m.Attempts == 0 {
			log.Warn("an alert could not be delivered: it is tried again for a day", "err", err)
		}
		err = b.o.Store.DelayAlert(ctx, m.ID, now.Add(delay(m.Attempts)))
	}
	if err != nil {
		log.Warn("what became of an alert cannot be noted", "err", err)
	}
}

func (b *Outbox) send(ctx context.Context, settings usage.AlertSettings, m usage.AlertMessage) error {
	send := b.o.Send[m.Channel.Way()]
	if send == nil || !slices.Contains(settings.Channels(), m.Channel) {
		return nil
	}
	return send(ctx, settings, m)
}

// delay returns how long to wait after so many attempts and one more have failed: 5 s, 20 s, 80 s, and so on up to two hours, give or take a tenth.
func delay(attempts int) time.Duration {
	d := lastDelay
	if attempts < 6 {
		d = min(lastDelay, firstDelay<<(2*attempts))
	}
	return d*9/10 + rand.N(d/5)
}

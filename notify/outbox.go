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

// Outbox delivers what is due, by each way for itself: one by which nothing comes through holds up no other. It is safe for concurrent use.
type Outbox struct {
	o    Options
	ways []*way
}

// way is one by which messages are delivered.
type way struct {
	name usage.AlertWay
	max  int // messages that are sent at a time

	mu     sync.Mutex
	flying map[string]bool // guarded by mu: messages that are being sent, by id; false: they were, and may be in what was read before
	of     map[string]int  // guarded by mu: how many are being sent, by application
	all    int             // guarded by mu: how many are being sent
}

const (
	lookEvery = time.Second
	// lookAgain is how soon the outbox looks again where it left something due and has room for it since.
	lookAgain = 100 * time.Millisecond
	storeTime = 4 * time.Second
	// lastMoment is how long what is under way may take when the outbox stops.
	lastMoment = time.Second
	// maxFlying is how many messages are sent at a time by each way but mail, whose server has them all, and maxFlyingOf how many of one
	// application: those whose webhooks hang hold up no others. [usage.MaxDueAlerts] is more than all that the applications of maxFlying
	// messages have read.
	maxFlying     = 64
	maxFlyingMail = 16
	maxFlyingOf   = 2
	// firstTime is how long the first attempt may take: whoever answers at all does so within that, and those who do not have fewer slots.
	firstTime = 5 * time.Second
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
	b := &Outbox{o: o}
	for _, name := range slices.Sorted(maps.Keys(o.Send)) {
		w := &way{name: name, max: maxFlying, flying: map[string]bool{}, of: map[string]int{}}
		if name == usage.MailWay {
			w.max = maxFlyingMail
		}
		b.ways = append(b.ways, w)
	}
	return b, nil
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
	landed := make(chan struct{}, 1) // a message was sent, or is to be tried again
	rest, failing := false, false
	for {
		var errs []error
		ticked := false
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			ticked = true
			errs = append(errs, b.forgetOld(ctx))
		case <-landed:
			if !rest {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookAgain):
			}
		}
		rest = false
		for _, w := range b.ways {
			w.forgetLanded()
			due, err := b.due(ctx, w)
			errs = append(errs, err)
			old := b.old()
			for _, m := range due {
				if !m.Created.After(old) {
					continue // later looks forget it: there are more than are forgotten at a time, or forgetting fails
				}
				taken, waits := w.take(m)
				rest = rest || waits
				if !taken {
					continue
				}
				sending.Go(func() {
					noted := b.deliver(send, m)
					w.release(m)
					if !noted {
						return // it may be due still, and would be sent again at once
					}
					select {
					case landed <- struct{}{}:
					default: // there is one that was not heard of yet
					}
				})
			}
		}
		err := errors.Join(errs...)
		if err != nil && !failing && ctx.Err() == nil {
			b.o.Log.Warn("alerts that are to be delivered cannot be read", "err", err)
		}
		failing = err != nil || failing && !ticked // what fails at each tick is told of once
	}
}

// old returns up to when messages were made that are sent to nobody any more.
func (b *Outbox) old() time.Time { return b.o.Now().Add(-keptFor) }

// forgetOld gives up what is a day old, by whichever way it was to be delivered: it may have members' ids in it. Perhaps no node ran for days, or
// the way is no longer there.
func (b *Outbox) forgetOld(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	old, err := b.o.Store.ForgetAlerts(ctx, b.old())
	for _, m := range old {
		b.o.Log.Error("an alert could not be delivered for a day: it is given up",
			"application", m.Application, "way", m.Channel.Way(), "message", m.ID, "attempts", m.Attempts)
	}
	return err
}

func (b *Outbox) due(ctx context.Context, w *way) ([]usage.AlertMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return b.o.Store.DueAlerts(ctx, w.name, b.o.Now(), usage.MaxDueAlerts)
}

// take reports whether a message may be sent now, and notes that it is; else, whether something waits for the room that there is when another has
// landed. For one that is being sent nothing does; behind one that was sent since it was read there may be others of its application.
func (w *way) take(m usage.AlertMessage) (taken, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if flying, known := w.flying[m.ID]; known {
		return false, !flying
	}
	if w.all >= w.max || w.of[m.Application] >= maxFlyingOf {
		return false, true
	}
	w.flying[m.ID] = true
	w.of[m.Application]++
	w.all++
	return true, false
}

func (w *way) release(m usage.AlertMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying[m.ID] = false
	w.all--
	if w.of[m.Application]--; w.of[m.Application] == 0 {
		delete(w.of, m.Application)
	}
}

// forgetLanded forgets the messages of which the store knows by now what became of them.
func (w *way) forgetLanded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.flying, func(_ string, flying bool) bool { return !flying })
}

// deliver sends a message, and notes in the store what became of it, unless that fails. A message whose channel its application no longer has goes
// to nobody.
func (b *Outbox) deliver(ctx context.Context, m usage.AlertMessage) (noted bool) {
	log := b.o.Log.With("application", m.Application, "way", m.Channel.Way(), "message", m.ID)
	err := b.attempt(ctx, m)
	if err != nil && ctx.Err() != nil {
		return false // it is due still
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	d := usage.Delivery{Channel: m.Channel, At: b.o.Now()}
	if err != nil {
		if m.Attempts == 0 {
			log.Warn("an alert could not be delivered: it is tried again for a day", "err", err)
		}
		d.Problem, d.Again = problem(m.Channel.Way(), err), d.At.Add(delay(m.Attempts))
	}
	if err = b.o.Store.NoteDelivery(ctx, m, d); err != nil {
		log.Warn("what became of an alert cannot be noted", "err", err)
	}
	return err == nil
}

// attempt sends a message.
func (b *Outbox) attempt(ctx context.Context, m usage.AlertMessage) error {
	settings, err := b.o.Store.AlertSettings(ctx, m.Application)
	if err != nil {
		return err
	}
	if m.Attempts == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, firstTime)
		defer cancel()
	}
	if !slices.Contains(settings.Channels(), m.Channel) {
		return nil
	}
	return b.o.Send[m.Channel.Way()](ctx, settings, m)
}

// delay returns how long to wait after so many attempts and one more have failed: 5 s, 20 s, 80 s, and so on up to two hours, give or take a tenth.
func delay(attempts int) time.Duration {
	d := lastDelay
	if attempts < 6 {
		d = min(lastDelay, firstDelay<<(2*attempts))
	}
	return d*9/10 + rand.N(d/5)
}

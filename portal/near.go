package portal

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/perdiem/perdiem/usage"
)

// nearEvery is how often the members near their limits are read, for all who look at an application together.
const nearEvery = 5 * time.Second

// nearMembers reads who is near their limit, for any number of viewers at the cost of one. The zero value has read nothing.
type nearMembers struct {
	mu   sync.Mutex
	kept map[string]*nearReading // guarded by mu: by application
}

// nearReading is what was read of an application. Whoever asks while it is read waits for it.
type nearReading struct {
	mu      sync.Mutex
	at      time.Time          // guarded by mu: zero: nothing was read
	members []usage.MemberNear // guarded by mu
}

// of returns the members near their limits, as of at most nearEvery ago. The caller changes nothing in it.
func (n *nearMembers) of(ctx context.Context, application string, now time.Time, read func(ctx context.Context, application, endpoint string) ([]usage.MemberNear, error)) ([]usage.MemberNear, error) {
	r := n.reading(application, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && now.Sub(r.at) < nearEvery && !now.Before(r.at) {
		return r.members, nil
	}
	members, err := read(ctx, application, "")
	if err != nil {
		return nil, err
	}
	r.at, r.members = now, members
	return members, nil
}

// reading returns that of an application. Those that nobody has asked for lately are forgotten.
func (n *nearMembers) reading(application string, now time.Time) *nearReading {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.kept[application]
	if r == nil {
		maps.DeleteFunc(n.kept, func(_ string, r *nearReading) bool { return r.isOld(now) })
		if n.kept == nil {
			n.kept = map[string]*nearReading{}
		}
		r = &nearReading{}
		n.kept[application] = r
	}
	return r
}

// isOld reports whether a reading is of no use any more. One that is under way is.
func (r *nearReading) isOld(now time.Time) bool {
	if !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	return now.Sub(r.at) >= nearEvery
}

// nearBody is what the list of members near their limits is told.
type nearBody struct {
	Endpoint string // whose members are listed; empty: those of all together
	Rows     []nearRow
	More     int64  // that are not listed, and are if their endpoint is chosen
	Others   int64  // of other endpoints
	All      string // the path of the tab with all of them
}

// maxNearRows is how many members the page lists: as many as there are at most of one endpoint.
const maxNearRows = usage.MaxNear

// nearRow is a member near its limit for an endpoint.
type nearRow struct {
	usage.MemberNear
	Meter meter
	Link  string // the query that looks the member up
}

// readNear returns the members who are near their limits for an endpoint today, or for any where that is empty, the nearest first.
func (p *Portal) readNear(ctx context.Context, application, endpoint string, reset time.Time) (*nearBody, error) {
	members, err := p.near.of(ctx, application, p.Now(), p.Usage.MembersNear)
	if err != nil {
		return nil, err
	}
	body := &nearBody{Endpoint: endpoint, All: p.applicationPath(application, "analytics")}
	if endpoint != "" {
		all := len(members)
		members = slices.DeleteFunc(slices.Clone(members), func(m usage.MemberNear) bool { return m.Endpoint != endpoint })
		body.Others = int64(all - len(members))
	}
	body.More = int64(max(0, len(members)-maxNearRows))
	for _, m := range members[:min(len(members), maxNearRows)] {
		body.Rows = append(body.Rows, nearRow{m, newMeter(m.Endpoint, m.Limit, m.Used, reset), "?" + url.Values{"member": {m.ID}}.Encode() + "#member-title"})
	}
	return body, nil
}

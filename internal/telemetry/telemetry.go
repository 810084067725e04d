// Package telemetry shows operators how a node is: /metrics for Prometheus, /healthz (the process answers), and /readyz (it could
// decide every request now; if not, it says why).
//
// All metrics of perdiem's own begin with perdiem_. Their labels come from fixed lists and from the endpoints of the running catalog:
// their number is bounded, none has a member's id or a token, and what leaves the catalog leaves the metrics.
package telemetry

import (
	"errors"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/puzpuzpuz/xsync/v4"
)

// Options are what a [Telemetry] needs. Ready and Figures are required.
type Options struct {
	Version  string // of the program
	Revision string // of the repository that it was built from
	// Ready returns why the node could not decide every request now; nil when it could. The text is shown.
	Ready func() error
	// Figures returns the node's figures as they stand.
	Figures func() Figures
}

// Figures are what other parts of a node count themselves.
type Figures struct {
	LedgerUp       bool   // the last request to the ledger was answered
	Incomplete     bool   // the running day's counters lack what was granted between a backup and its restoration
	LedgerRequests int64  // requests to the ledger to borrow
	LedgerAsks     int64  // counters named in them
	LedgerWrites   int64  // batches written, synced if durability is disk
	LedgerBytes    uint64 // of disk taken by the ledger
	FreeBytes      uint64 // of the ledger's disk that are free
	Returned       int64  // calls returned to the ledger
	Unbacked       int64  // calls admitted while the ledger was down
	Unrecorded     int64  // calls that are lost to the history
	Accounts       int64  // members' accounts in memory
	CatalogVersion int64
	Protection     *ProtectionFigures // nil: there is none
	// Certificates are when the certificate that clients get ends, by the listener's name.
	Certificates map[string]time.Time
}

// ProtectionFigures are what infrastructure protection counts.
type ProtectionFigures struct {
	Limiting     bool          // calls are refused where they are more than Limit
	Limit        int           // calls that may wait for the upstream at a time
	InFlight     int           // calls that do
	Refused      int64         // calls refused so far
	Latency      time.Duration // of the upstream's last few answers, to the first byte
	UsualLatency time.Duration // that three of four of such answers stay below, when all is well
}

// Request is what became of a request.
type Request struct {
	Outcome  string // from a fixed list
	Endpoint string // its id; empty where the request was not decided
	Limit    string // the kind of limit that refused it, or would have but for the shadow: from a fixed list
	Duration time.Duration
}

// Telemetry counts requests and serves what it knows. It is an [http.Handler], safe for concurrent use.
type Telemetry struct {
	ready   func() error
	mux     *http.ServeMux
	metrics *prometheus.Registry

	current   atomic.Pointer[current]
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	decisions prometheus.Histogram
}

// current is what is counted by while one catalog runs.
type current struct {
	endpoints map[string]bool
	series    *xsync.Map[labels, *series] // those found so far: finding one in the registry takes longer than to count by it
}

type labels struct{ outcome, endpoint, limit string }

// series is where requests of the same labels are counted.
type series struct {
	requests  prometheus.Counter
	durations prometheus.Observer
}

func newCurrent(endpoints map[string]bool) *current {
	return &current{endpoints, xsync.NewMap[labels, *series]()}
}

// New returns a Telemetry with a registry of metrics of its own, or an error that says which option is missing.
func New(o Options) (*Telemetry, error) {
	switch {
	case o.Ready == nil:
		return nil, errors.New("telemetry: nobody to say whether the node is ready")
	case o.Figures == nil:
		return nil, errors.New("telemetry: no figures")
	}
	t := &Telemetry{
		ready: o.Ready,
		mux:   http.NewServeMux(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perdiem_requests_total",
			Help: "Requests at the gateway by what became of them; limit is the kind that refused, or would have but for the shadow.",
		}, []string{"outcome", "endpoint", "limit"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "perdiem_request_duration_seconds",
			Help:    "Time from a request's headers to the last byte of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 14), // to 75 s
		}, []string{"outcome"}),
		decisions: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "perdiem_decision_duration_seconds",
			Help:    "Time to decide a call for both its limits, waiting for the ledger included.",
			Buckets: prometheus.ExponentialBuckets(0.000001, 4, 12), // to 4 s
		}),
	}
	t.current.Store(newCurrent(nil))
	t.metrics = prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		t.requests, t.durations, t.decisions,
		newFigureCollector(o),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := t.metrics.Register(c); err != nil {
			return nil, err
		}
	}
	t.mux.Handle("GET /metrics", promhttp.HandlerFor(t.metrics, promhttp.HandlerOpts{}))
	t.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	t.mux.HandleFunc("GET /readyz", t.serveReady)
	return t, nil
}

// ServeHTTP serves /metrics, /healthz and /readyz.
func (t *Telemetry) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.mux.ServeHTTP(w, r) }

func (t *Telemetry) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := t.ready(); err != nil {
		say(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
		return
	}
	say(w, http.StatusOK, "ok")
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // an error means that whoever asked is gone
}

// SetEndpoints tells the ids of the running catalog's endpoints. The series of others end.
func (t *Telemetry) SetEndpoints(ids []string) {
	now := make(map[string]bool, len(ids))
	for _, id := range ids {
		now[id] = true
	}
	before := t.current.Swap(newCurrent(now))
	for id := range before.endpoints {
		if !now[id] {
			t.requests.DeletePartialMatch(prometheus.Labels{"endpoint": id})
		}
	}
}

// Request counts a request.
func (t *Telemetry) Request(r Request) {
	now := t.current.Load()
	s, ok := now.series.Load(labels{r.Outcome, r.Endpoint, r.Limit})
	if !ok {
		s = t.find(now, labels{r.Outcome, r.Endpoint, r.Limit})
	}
	s.requests.Inc()
	s.durations.Observe(r.Duration.Seconds())
}

// find finds the series of a request in the registry, and keeps it at hand.
func (t *Telemetry) find(now *current, l labels) *series {
	if !now.endpoints[l.endpoint] {
		l.endpoint = "" // not decided, or of an endpoint that has left the catalog meanwhile
	}
	s := &series{t.requests.WithLabelValues(l.outcome, l.endpoint, l.limit), t.durations.WithLabelValues(l.outcome)}
	now.series.Store(l, s)
	return s
}

// Decision counts a decision that took d.
func (t *Telemetry) Decision(d time.Duration) { t.decisions.Observe(d.Seconds()) }

// figureCollector shows Figures as metrics.
type figureCollector struct {
	figures      func() Figures
	metrics      []figureMetric
	certificates *prometheus.Desc // one figure for each
}

// figureMetric is one of the figures.
type figureMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Figures) float64
	// protection says that the figure is one of Protection's: there is none without it.
	protection bool
}

func newFigureCollector(o Options) *figureCollector {
	c := &figureCollector{
		figures: o.Figures,
		certificates: prometheus.NewDesc("perdiem_certificate_expiry_seconds", "When the certificate of a listener expires, in Unix time.",
			[]string{"listener"}, nil),
	}
	add := func(kind prometheus.ValueType, name, help string, value func(*Figures) float64) {
		c.metrics = append(c.metrics, figureMetric{desc: prometheus.NewDesc("perdiem_"+name, help, nil, nil), kind: kind, value: value})
	}
	count, gauge := prometheus.CounterValue, prometheus.GaugeValue
	add(gauge, "ledger_up", "1 while the ledger answers, 0 while it is down.", func(f *Figures) float64 { return truth(f.LedgerUp) })
	add(gauge, "ledger_incomplete", "1 until the reset of the day in which the stores were restored from a backup: what was granted in between is not counted.",
		func(f *Figures) float64 { return truth(f.Incomplete) })
	add(count, "ledger_requests_total", "Requests to the ledger to borrow.", func(f *Figures) float64 { return float64(f.LedgerRequests) })
	add(count, "ledger_asks_total", "Counters named in requests to borrow.", func(f *Figures) float64 { return float64(f.LedgerAsks) })
	add(count, "ledger_writes_total", "Batches that the ledger wrote.", func(f *Figures) float64 { return float64(f.LedgerWrites) })
	add(gauge, "ledger_disk_bytes", "Disk that the ledger takes.", func(f *Figures) float64 { return float64(f.LedgerBytes) })
	add(gauge, "ledger_free_disk_bytes", "Disk that is free where the ledger is; below 256 MiB nothing is granted.", func(f *Figures) float64 { return float64(f.FreeBytes) })
	add(count, "returned_calls_total", "Calls that were borrowed and returned unused.", func(f *Figures) float64 { return float64(f.Returned) })
	add(count, "unbacked_calls_total", "Calls admitted while the ledger was down.", func(f *Figures) float64 { return float64(f.Unbacked) })
	add(count, "unrecorded_calls_total", "Calls that are lost to the history, since it could not be written.", func(f *Figures) float64 { return float64(f.Unrecorded) })
	add(gauge, "accounts", "Accounts of members in memory.", func(f *Figures) float64 { return float64(f.Accounts) })
	add(gauge, "catalog_version", "The registry's number of the catalog that holds.", func(f *Figures) float64 { return float64(f.CatalogVersion) })
	protection := func(kind prometheus.ValueType, name, help string, value func(*ProtectionFigures) float64) {
		add(kind, "protection_"+name, help, func(f *Figures) float64 { return value(f.Protection) })
		c.metrics[len(c.metrics)-1].protection = true
	}
	protection(gauge, "limiting", "1 while the upstream is in trouble and calls to it are limited.", func(f *ProtectionFigures) float64 { return truth(f.Limiting) })
	protection(gauge, "limit", "Calls that may wait for the upstream at a time.", func(f *ProtectionFigures) float64 { return float64(f.Limit) })
	protection(gauge, "in_flight", "Calls that wait for the upstream.", func(f *ProtectionFigures) float64 { return float64(f.InFlight) })
	protection(count, "refused_total", "Calls that infrastructure protection refused.", func(f *ProtectionFigures) float64 { return float64(f.Refused) })
	protection(gauge, "latency_seconds", "Mean time to the first byte of the upstream's last few answers.",
		func(f *ProtectionFigures) float64 { return f.Latency.Seconds() })
	protection(gauge, "usual_latency_seconds", "What three of four answers of the same endpoints stay below when all is well.",
		func(f *ProtectionFigures) float64 { return f.UsualLatency.Seconds() })
	build := prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()}
	c.metrics = append(c.metrics, figureMetric{
		desc: prometheus.NewDesc("perdiem_build_info", "From what the program was built; always 1.", nil, build),
		kind: gauge, value: func(*Figures) float64 { return 1 },
	})
	return c
}

// truth is 1 for true and 0 for false.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements [prometheus.Collector].
func (c *figureCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		to <- m.desc
	}
	to <- c.certificates
}

// Collect implements [prometheus.Collector].
func (c *figureCollector) Collect(to chan<- prometheus.Metric) {
	f := c.figures()
	for _, m := range c.metrics {
		if m.protection && f.Protection == nil {
			continue
		}
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&f))
	}
	for listener, expires := range f.Certificates {
		to <- prometheus.MustNewConstMetric(c.certificates, prometheus.GaugeValue, float64(expires.Unix()), listener)
	}
}

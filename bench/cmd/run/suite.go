package main

import "github.com/perdiem/perdiem/bench/gateway"

// suite is what is measured by turns, and what is promised of it.
type suite struct {
	name     string
	title    string
	sources  []source // measured one after the other in each round, which begins with another each time
	promises []promise
	asked    bool // it runs only where it is asked for
}

// source is something that yields benchmarks' results.
type source struct {
	module module
	pkg    string         // whose tests hold the benchmarks
	bench  string         // which: as go test -bench takes it
	times  string         // how often: as -benchtime takes it; a fixed number, so that all that is compared does equally much
	target gateway.Target // a load through it is measured instead of tests
}

// module is where a package's path begins.
type module int

const (
	benchModule module = iota
	rootModule
)

// promise is a bound on a figure of a benchmark or, where a floor is named, on its ratio to the floor's in the same round.
type promise struct {
	says    string
	subject string // a benchmark's name, without Benchmark and the number of processors
	floor   string
	unit    string
	most    bool // bound is the most that is promised; otherwise the least
	bound   float64
	allowed string // a unit whose figure, where it is less, takes the bound's place
}

// targets returns what loads go through.
func (s suite) targets() (all []gateway.Target) {
	for _, c := range s.sources {
		if c.target != "" {
			all = append(all, c.target)
		}
	}
	return all
}

func suites() []suite {
	const (
		warm   = "TakeWarm"
		shard  = "FloorShardedMap"
		seth   = "SethvargoMemorystore"
		admits = "Take/admitted"
	)
	return []suite{
		{
			name: "warm", title: "decisions of 1,000,000 members' counters that hold enough",
			sources: []source{
				{pkg: "./floors", bench: "^BenchmarkFloorShardedMap$", times: "5000000x"},
				{module: rootModule, pkg: "./lease", bench: "^BenchmarkTakeWarm$", times: "5000000x"},
				{pkg: "./floors", bench: "^BenchmarkSethvargoMemorystore$", times: "5000000x"},
			},
			promises: []promise{
				{says: "time / sharded map's", subject: warm, floor: shard, unit: "ns/op", most: true, bound: 1.2},
				{says: "time / sethvargo's", subject: warm, floor: seth, unit: "ns/op", most: true, bound: 1},
				{says: "allocations", subject: warm, unit: "allocs/op", most: true, bound: 0},
				{says: "borrows a decision", subject: warm, unit: "borrows/op", most: true, bound: 0.001},
			},
		},
		{
			name: "refusal", title: "remembered refusals",
			sources: []source{
				{module: rootModule, pkg: "./lease", bench: "^BenchmarkTake$/^admitted$", times: "5000000x"},
				{module: rootModule, pkg: "./lease", bench: "^BenchmarkTake$/^refused=application$", times: "5000000x"},
				{module: rootModule, pkg: "./lease", bench: "^BenchmarkTake$/^refused=member$", times: "5000000x"},
			},
			promises: []promise{
				{says: "application's / admitted call's", subject: "Take/refused=application", floor: admits, unit: "ns/op", most: true, bound: 1},
				{says: "member's / admitted call's", subject: "Take/refused=member", floor: admits, unit: "ns/op", most: true, bound: 1},
			},
		},
		{
			name: "production", title: "block policy of production from cold, durability disk",
			sources: []source{
				{pkg: "./decision", bench: "^BenchmarkProduction$/^uniform$", times: "1000000x"},
				{pkg: "./decision", bench: "^BenchmarkProduction$/^zipf$", times: "1000000x"},
				{pkg: "./decision", bench: "^BenchmarkRefused$", times: "1000000x"},
				{pkg: "./decision", bench: "^BenchmarkAdmit$", times: "1000000x"},
			},
		},
		{
			name: "cold", title: "first calls of members that the ledger does not hold",
			sources: []source{{pkg: "./cold", bench: "^BenchmarkCold$", times: "500000x"}},
			promises: []promise{
				{says: "process, 64 goroutines", subject: "Cold/process/goroutines=64", unit: "decisions/s", bound: 100_000},
				{says: "disk, 64 goroutines", subject: "Cold/disk/goroutines=64", unit: "decisions/s", bound: 50_000, allowed: "disk-allows/s"},
				{says: "disk, 512 goroutines", subject: "Cold/disk/goroutines=512", unit: "decisions/s", bound: 100_000, allowed: "disk-allows/s"},
			},
		},
		{
			name: "gateway", title: "member tokens, warm",
			sources: []source{{target: gateway.Floor}, {target: gateway.Perdiem}},
			promises: []promise{
				{says: "requests/s / bare proxy's", subject: "Gateway/perdiem", floor: "Gateway/floor", unit: "requests/s", bound: 0.9},
			},
		},
		{
			name: "tokens", title: "perdiem's own tokens, the same in requests as long as with a JWT, JWTs (ES256), introspected tokens, and TLS; warm",
			sources: []source{
				{target: gateway.Perdiem}, {target: gateway.JWT}, {target: gateway.Introspection}, {target: gateway.Padded}, {target: gateway.TLS},
			},
			promises: []promise{
				{says: "JWT / perdiem's own", subject: "Gateway/jwt", floor: "Gateway/perdiem", unit: "requests/s", bound: 0.95},
				{says: "introspected / perdiem's own", subject: "Gateway/introspection", floor: "Gateway/perdiem", unit: "requests/s", bound: 0.95},
			},
		},
		{
			name: "nginx", title: "member tokens, warm, beside nginx, which knows nobody and counts nothing",
			sources: []source{{target: gateway.Floor}, {target: gateway.Perdiem}, {target: gateway.Nginx}},
			asked:   true,
		},
	}
}

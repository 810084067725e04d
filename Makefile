# Each target says what it does after its name: see `make help`.
.DEFAULT_GOAL := help
.PHONY: help run test race check fuzz proof bench bench-size debian

GO ?= go
LINT := $(GO) tool -modfile=tools/go.mod golangci-lint
MODULES := . bench
FUZZTIME ?= 20s
# What the fuzzer is to be run on whenever the tests are; `make fuzz` runs it on all.
FUZZED := ./catalog:FuzzMatch ./catalog:FuzzParse ./identity:FuzzToken ./lease/embedledger:FuzzKey

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## starts the demo: a sample API behind the gateway, everything in a temporary folder
	$(GO) run ./cmd/perdiem demo

test: debian ## runs all tests, again with the race detector, and the fuzzer for 20 s a target
	$(GO) test ./...
	cd bench && $(GO) test ./...
	$(MAKE) race
	@for t in $(FUZZED); do \
	  $(GO) test -run '^$$' -fuzz "^$${t#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$${t%%:*}" || exit 1; done

race: debian ## runs all tests with the race detector, the model of the leases at a tenth of its length
	PERDIEM_MODEL_OPERATIONS=10000 $(GO) test -race ./...

check: ## looks at format, lint, and the modules' lists of what they need
	@for m in $(MODULES); do (cd $$m && $(GO) mod tidy -diff) || exit 1; done
	$(GO) vet ./...
	$(LINT) run ./...

fuzz: ## runs the fuzzer on every target, FUZZTIME each
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r d; do \
	  for f in $$(cat $$d/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z]*\).*/\1/p'); do \
	    echo "$$d $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$d || exit 1; done; done

proof: ## kills, resets and pauses the real program under load, and counts at the upstream
	$(GO) run ./proof

bench: ## measures what is promised of speed beside its floors, by turns; needs wrk, and a quiet machine
	cd bench && $(GO) run ./cmd/run

bench-size: ## calls ten million members in a day: memory, disk, restart, and dropping the day
	cd bench && $(GO) run ./size

# The race detector needs a C compiler.
debian:
	@command -v gcc >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq gcc libc6-dev; \
	else echo "the tests need a C compiler for the race detector: install gcc and libc6-dev" >&2; exit 1; fi

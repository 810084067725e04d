# perdiem's tasks. `make help` lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.PHONY: help run test check format race screenshots proof bench bench-size bench-overload bench-abuse bench-viewers fuzz compiler issuer browser mailpit

GO       ?= go
PKG      ?= ./...
FUZZTIME ?= 20s
TOOL     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod
LINT     := $(TOOL) golangci-lint
MODULES  := . bench tools

# $(call need,PROGRAM,PACKAGES) makes sure that a program is there: it installs Debian's packages where that is possible, and says what to
# install where it is not.
define need
command -v $(1) >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(2) >/dev/null; \
else echo "make: there is no $(1): install it (on Debian: sudo apt-get install $(2)), then run this again" >&2; exit 1; fi
endef

help: ## List the tasks
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r task text; do printf '  %-14s %s\n' "$$task" "$$text"; done

run: ## Start a demo: a sample API behind the gateway, with tokens and a curl to try
	$(GO) run ./cmd/perdiem demo

test: compiler issuer browser mailpit ## Run all tests, again under the race detector, and every fuzz target for FUZZTIME (20s); installs what they need
	$(GO) test $(PKG)
	cd bench && $(GO) test ./...
	$(MAKE) race fuzz

check: ## Format, lint, and see that the modules are tidy
	$(LINT) run --allow-parallel-runners ./...
	cd bench && $(LINT) run --allow-parallel-runners --config ../.golangci.yml ./...
	for m in $(MODULES); do (cd $$m && $(GO) mod tidy -diff); done

format: ## Format all code
	$(LINT) fmt ./...
	cd bench && $(LINT) fmt --config ../.golangci.yml ./...

# Looking at every page with axe-core and walking it by the keyboard takes minutes, and has nothing to do with races: test does both without the detector.
race: compiler issuer browser mailpit ## Run all tests under the race detector, the model of the leases at a fifth of its length (PKG=./lease: those of a package)
	PERDIEM_MODEL_OPERATIONS=20000 $(GO) test -race -timeout 20m -skip '^(TestAccessibility|TestKeyboard)$$' $(PKG)

# One processor a target, and as many targets at a time as there are processors. Before Go 1.27 the end of FUZZTIME may be told as a failure, with no input
# that fails (go.dev/issue/75804): then the target runs again, once.
fuzz: ## Run every fuzz target for FUZZTIME (20s)
	@grep -roE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' --exclude-dir=bench . | sort | sed -E 's|/[^/]*:func | |' | \
	xargs -P "$$(getconf _NPROCESSORS_ONLN)" -n 2 $(SHELL) -c 'run() { said=$$($(GO) test -run "^$$" -fuzz "^$$1$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x -parallel 1 "$$0" 2>&1 < /dev/null); }; \
		ended() { grep -q "^    context deadline exceeded$$" <<< "$$said" && ! grep -q "Failing input" <<< "$$said"; }; \
		run "$$@" || { ended && run "$$@"; } || { echo "$$said"; echo "FAIL $$1 of $$0"; exit 1; }; echo "ok   $$1 of $$0: $$(grep -o "execs: [0-9]*" <<< "$$said" | tail -n 1)"'

screenshots: browser ## Make pictures of the portal's pages, with much, little and no data, into ./screenshots, and the README's
	PERDIEM_SCREENSHOTS=$(CURDIR)/screenshots PERDIEM_PICTURE=$(CURDIR)/docs/images/analytics.png $(GO) test -count 1 -run TestScreenshots ./portal

proof: ## Show on the real program what is promised: kill -9 under load, the reset, a pause, the history (some minutes)
	$(GO) run ./proof

bench: ## Measure every promise of speed beside its floor, in ten rounds (an hour; needs wrk and a quiet machine)
	@$(call need,wrk,wrk)
	cd bench && $(GO) run ./cmd/run

bench-size: ## Ten million members in a day: memory, disk, restart, and a day dropped under load
	cd bench && $(GO) run ./size

bench-overload: ## An upstream that slows down a hundredfold under four times what it can do, with protection and without (three minutes)
	cd bench && $(GO) run ./overload

bench-abuse: ## Slow headers and bodies, floods of headers and of random tokens, 10 GB in one body: memory, and what good clients keep (two minutes)
	cd bench && $(GO) run ./abuse

bench-viewers: ## The gateway's requests/s with a thousand live viewers of the portal, and without (three minutes; needs wrk)
	@$(call need,wrk,wrk)
	cd bench && $(GO) run ./viewers

# The race detector needs a C compiler.
compiler:
	@$(call need,gcc,gcc libc6-dev)

# Tests run against an issuer of tokens, and look at pages with axe-core: both are written in JavaScript.
issuer:
	@$(call need,node,nodejs)
	@$(call need,npm,npm)

# The portal's pages are looked at by a real browser.
browser:
	@$(call need,chromium,chromium)

# Mail is sent to a real server, which is built here once: packages' tests would do it at the same time.
mailpit:
	@$(TOOL) -n mailpit >/dev/null

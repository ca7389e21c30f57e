# make demo   the main job on the embedded engine, to be watched
# make test   everything, with the race detector; installs what it needs
# make lint   gofmt, go vet and golangci-lint
# make platforms   go build and go vet, of the tests too, for the other systems
# make crash  kills processes for ROUNDS rounds on each kind of store, with bad networks and clocks, counts what is lost
# make exactly-once  transfers money from database to database while everything is killed, for ROUNDS rounds on each pair, counts what is wrong
# make long   the tests on Redis at full length: 200,000 events, a million jobs, 30 s outages; more sequences of faults
# make bench  how fast it is, beside the raw net/http limit; BENCH adds flags
# make bench-quick   the same in under a minute, less exactly
# make bench-postgres   what PostgreSQL as an engine and the outbox have to stand, beside River
# make bench-against REF=COMMIT   the working tree beside another commit; BENCH adds flags
# make isolation  what sick endpoints cost the others: 1,000 endpoints, 900 of which hang
# make fuzz   each fuzz test for FUZZTIME
# make vuln   known vulnerabilities (asks the Go vulnerability database)

SHELL := /bin/bash
TOOLS := $(CURDIR)/.tools
GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.1.4
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
# SQLite is C translated to Go; the race detector makes it several times as slow,
# though it doesn't watch the memory that SQLite gets by itself. Our own code
# around it is watched. No package may be left out that has instances of generic
# types of the standard library, such as sync.Map: the linker keeps one of each for
# the whole program, and one that the detector doesn't see makes it find races
# where there are none.
RACE := -race '-gcflags=modernc.org/sqlite/lib=-race=false'
# make lint runs go vet, and nobody debugs these binaries: linking them is quicker
# without what debuggers need.
QUICK := -vet=off -ldflags=-w
PLATFORMS := linux/arm64 darwin/arm64 windows/amd64 freebsd/amd64
FUZZTIME ?= 30s
EVENTS ?= 1000
ROUNDS ?= 200
SEED ?= 0

.PHONY: demo test test-race test-apart bench bench-quick bench-postgres bench-against long crash exactly-once isolation setup lint fmt fuzz vuln build clean

demo:
	go run ./cmd/toot demo --events $(EVENTS)

# What toot version prints, also where Go does not look into the repository: in a
# worktree of git, and with -buildvcs=false.
VERSION ?= $(shell git describe --tags --match 'v*' --dirty=+dirty 2>/dev/null)
REVISION ?= $(shell git describe --always --exclude '*' --abbrev=40 --dirty=+dirty 2>/dev/null)

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)' -o bin/toot ./cmd/toot

# The tests build programs without cgo, several at once, from the packages that
# are built first. -buildmode=archive: nothing is linked.
test: setup
	CGO_ENABLED=0 go build -buildmode=archive ./...
	@$(MAKE) --no-print-directory -j 2 test-race test-apart
	cd bench && CGO_ENABLED=0 go test -mod=mod ./...

# Many tests wait for most of their time, so more packages than there are cores are
# tested at once.
test-race:
	CGO_ENABLED=1 go test -p $$(($$(getconf _NPROCESSORS_ONLN) + 1)) $(RACE) $(QUICK) -timeout 20m ./...

# What needs no race detector: the examples, and some inputs for each fuzz test.
test-apart:
	cd examples && CGO_ENABLED=0 go test -mod=mod ./...
	@CGO_ENABLED=0 scripts/fuzz 300x

long: setup
	TOOT_TEST_LONG=1 go test -count=1 -timeout 30m -v -run 'TestApps|TestNoCallIsSlow|TestManyProcesses|TestMemory' ./engine/redisengine
	TOOT_TEST_LONG=1 go test -count=1 -timeout 30m -v -run 'TestAStoreThatFails|TestAProcessThatDies' .

crash: setup
	@mkdir -p $(TOOLS)
	@go test -c -o $(TOOLS)/crashtest ./internal/testing/crashtest
	@$(TOOLS)/crashtest -test.timeout 2h -rounds $(ROUNDS) -seed $(SEED)

exactly-once: setup
	@mkdir -p $(TOOLS)
	@go test -c -o $(TOOLS)/exactlyonce ./internal/testing/exactlyonce
	@$(TOOLS)/exactlyonce -test.timeout 6h -test.run TestMoneyArrivesExactlyOnce -rounds $(ROUNDS) -seed $(SEED) -pause 50ms

isolation:
	@mkdir -p $(TOOLS)
	@go test -c -o $(TOOLS)/isolation ./internal/testing/isolation
	@$(TOOLS)/isolation -test.run 'TestIsolation|TestABacklog' -full

# The tests start real redis-servers, PostgreSQL and MariaDB servers and
# PgBouncers, and ask promtool about the alerts; the race detector needs a C
# compiler.
setup:
	@scripts/setup

# Without cgo, so that what make test has compiled need not be compiled again.
lint: export CGO_ENABLED = 0
lint: $(GOLANGCI)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	cd bench && go vet -mod=mod ./...
	cd examples && go vet -mod=mod ./...
	$(GOLANGCI) run ./...

.PHONY: platforms $(PLATFORMS)
platforms: $(PLATFORMS)
$(PLATFORMS): export CGO_ENABLED = 0
$(PLATFORMS): export GOOS = $(@D)
$(PLATFORMS): export GOARCH = $(@F)
$(PLATFORMS):
	go build ./... && go vet ./...
	cd bench && go build -mod=mod ./... && go vet -mod=mod ./...
	cd examples && go build -mod=mod ./... && go vet -mod=mod ./...

fmt:
	gofmt -w $$(git ls-files '*.go')

$(GOLANGCI):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(TOOLS)/golangci-lint $(GOLANGCI)

bench: bin/bench
	bin/bench $(BENCH)

bench-quick: bin/bench
	bin/bench --quick $(BENCH)

# Rounds of 5 s: shorter ones hide vacuum.
bench-postgres: bin/bench
	bin/bench --set postgres --time 5s $(BENCH)

bench-against:
	@test -n "$(REF)" || { echo "usage: make bench-against REF=COMMIT [BENCH='--only NAME,… --pairs N']"; exit 2; }
	@cd bench && go build -mod=mod -trimpath -o ../bin/bench-against ./against
	@bin/bench-against $(BENCH) "$(REF)"

# A module of its own, so that users don't get what it compares with. -mod=mod:
# it follows the versions of the main module.
.PHONY: bin/bench
bin/bench:
	cd bench && CGO_ENABLED=0 go build -mod=mod -trimpath -o ../bin/bench .

fuzz:
	@scripts/fuzz $(FUZZTIME)

vuln:
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

clean:
	rm -rf bin

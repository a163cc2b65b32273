# culvert: see README.md. `make help` lists the targets.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X main.version=$(VERSION)
PKGS     ?= ./...
FLAGS    ?=
FUZZTIME ?= 10s
SOAK     ?= 30m
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The product is one static binary; only the race detector needs a C compiler.
export CGO_ENABLED = 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/culvert, static
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/culvert ./cmd/culvert

.PHONY: demo
demo: build ## show it all work in under a minute; changes nothing on the host (BREAK=gateway|sha|refuse must fail)
	bin/culvert demo $(if $(BREAK),--break $(BREAK))

.PHONY: test
test: ## run the tests; what this machine lacks is skipped and listed at the end
	@$(GO) test -json -count=1 $(FLAGS) $(PKGS) | $(GO) run ./test/report

.PHONY: test-race
test-race: ## run the tests under the race detector (needs a C compiler)
	@CGO_ENABLED=1 $(GO) test -race -json -count=1 $(FLAGS) $(PKGS) | $(GO) run ./test/report

.PHONY: test-load
test-load: ## run the tests of load and faults at full size, one package at a time; prints what they measured
	@CULVERT_TEST_LOAD=1 $(GO) test -json -count=1 -p 1 -timeout 60m -run '^TestLoad' $(FLAGS) $(PKGS) | $(GO) run ./test/report

.PHONY: soak
soak: ## both ends at full rate for SOAK (default 30m); a line a minute, and a verdict on costs and memory (as root)
	CULVERT_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run '^TestLoadSoak$$' ./test/soak

.PHONY: conformance
conformance: ## run the tests of the conformance list; say what passed, does not apply, or is missing
	@$(GO) run ./test/conformance -go $(GO)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (default 10s)
	@test/fuzz.sh $(FUZZTIME)

.PHONY: vet
vet: ## go vet and gofmt
	$(GO) vet $(PKGS)
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi

.PHONY: lint
lint: ## golangci-lint with .golangci.yml
	$(GO) run $(LINT) run $(PKGS)

.PHONY: check
check: vet ## what a reviewer expects to be green: vet, format, short tests
	@$(GO) test -short -json $(PKGS) | $(GO) run ./test/report

# The Go programs that culvert is measured against, of a module of their own;
# the others are the system's packages.
bench/out/tun2socks: bench/peers/go.mod
	$(GO) build -C bench/peers -o ../out/tun2socks github.com/xjasonlyu/tun2socks/v2

bench/out/sing-box: bench/peers/go.mod
	$(GO) build -C bench/peers -tags with_gvisor -o ../out/sing-box github.com/sagernet/sing-box/cmd/sing-box

bench/out/bench: build FORCE
	$(GO) build -o $@ ./bench

.PHONY: FORCE
FORCE:

BENCH := bench/out/bench
PEERS := bench/out/tun2socks bench/out/sing-box

.PHONY: bench
bench: $(BENCH) $(PEERS) ## measure what the goals name against the field, about 15 minutes; writes docs/performance.md (as root)
	$(BENCH) -only goals -duration 650ms -page docs/performance.md -baseline bench/baseline.json run

.PHONY: bench-quick
bench-quick: $(BENCH) $(PEERS) ## a little of it, without idle flows, about two minutes
	$(BENCH) -only goals -load '^(down|up|connect|ping-pong|burst)' -rounds 2 -duration 300ms run

.PHONY: bench-full
bench-full: $(BENCH) $(PEERS) ## the whole matrix, as long as it takes
	$(BENCH) -page docs/performance.md run

.PHONY: bench-check
bench-check: $(BENCH) ## is a ratio worse than in bench/baseline.json, which `make bench` writes? about five minutes
	$(BENCH) -rounds 5 -duration 500ms -baseline bench/baseline.json check

.PHONY: bench-micro
bench-micro: ## Go micro-benchmarks beside the code, with allocations
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

.PHONY: bench-hops
bench-hops: $(BENCH) ## what three internal listeners cost in CPU seconds per GB, about four minutes
	$(BENCH) internal-hops

.PHONY: h2spec
h2spec: ## run h2spec against the HTTP/2 core
	test/h2spec/run.sh

.PHONY: generate
generate: ## regenerate protobuf messages and generated tables (needs protoc)
	configs/culvert/generate.sh
	configs/import_envoy.sh

.PHONY: vuln
vuln: ## known holes in what is called (needs the vulnerability database)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 $(PKGS)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist bench/out

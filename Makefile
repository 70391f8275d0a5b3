# What a person types. Everything is built by cargo; `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PREFIX ?= /usr
DESTDIR ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET)/release/shoal
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
DIST := dist

.PHONY: help build check test test-kernels bench-kernels bench bench-check soak demo demo-down install uninstall deb clean bench-build lint nextest

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## build the binary for installing
	packaging/needs build
	$(CARGO) build --release --locked -p shoal

check: ## format, lints and every test that needs no root
	packaging/needs build
	$(MAKE) --no-print-directory nextest lint
	$(CARGO) nextest run --locked --workspace --profile check
	$(CARGO) test --locked --workspace --doc --quiet

test: ## every test: root's and those on real dockerds too
	@[ "$$(id -u)" = 0 ] || { echo "make test needs root (namespaces, dockerd, eBPF); make check does not" >&2; exit 1; }
	packaging/needs build test
	$(MAKE) --no-print-directory nextest lint
	$(CARGO) build --locked -p shoal -p shoal-netbed --bins
	$(CARGO) test --locked --workspace --doc --quiet
	$(CARGO) nextest run --locked --workspace

test-kernels: ## the tests of the kernel's side on Debian's kernels 6.1 and 6.12, under qemu
	packaging/needs build kernels
	$(CARGO) run --locked --quiet -p shoal-kernels -- $(KERNELS)

bench: bench-build ## Shoal beside what users would pick instead, 20 minutes; results in OUT=target/bench
	$(TARGET)/release/bench run --shoal $(BINARY) --out $(or $(OUT),$(TARGET)/bench)

bench-check: bench-build ## the quick part, three minutes; fails if a ratio is 15 % worse than the committed one
	$(TARGET)/release/bench check --shoal $(BINARY) --against docs/reference/benchmarks.json

bench-kernels: ## what the data path costs over the kernel's WireGuard, on Debian's kernels under qemu
	packaging/needs build kernels
	$(CARGO) run --locked --quiet -p shoal-kernels -- --bench $(KERNELS)

soak: ## fresh stories in the simulator: MINUTES=10 by default
	packaging/needs build
	SHOAL_WORLD_FROM=$${FROM:-$$(date +%s)} SHOAL_WORLD_MINUTES=$(or $(MINUTES),10) \
	    $(CARGO) test --locked --release -p shoal-world --test seeds -- --nocapture further_seeds

demo: ## three hosts on this machine, a small application across them; KEEP=1 leaves it up
	@[ "$$(id -u)" = 0 ] || { echo "make demo needs root: it lays out hosts in namespaces" >&2; exit 1; }
	@packaging/needs build demo
	@$(CARGO) build --locked -p shoal -p shoal-netbed -p shoal-e2e --bins --example demo
	@$(TARGET)/debug/examples/demo

demo-down: ## end a demonstration that was left up
	@$(TARGET)/debug/netbed down

# Installs what is built; `make build` first, as yourself.
install: ## install to $(DESTDIR)$(PREFIX); run `make build` before
	@[ -x $(BINARY) ] || { echo "$(BINARY) is missing: run make build first" >&2; exit 1; }
	install -D -s -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/shoal
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/bin/shoal|$(PREFIX)/bin/shoal|' packaging/systemd/shoal.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/shoal.service
	install -m 644 packaging/systemd/shoal.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/shoal.socket
	install -D -m 644 packaging/network/10-shoal.network $(DESTDIR)$(PREFIX)/lib/systemd/network/10-shoal.network
	install -D -m 644 packaging/network/10-shoal.link $(DESTDIR)$(PREFIX)/lib/systemd/network/10-shoal.link
	install -D -m 644 packaging/network/10-shoal-networkmanager.conf $(DESTDIR)$(PREFIX)/lib/NetworkManager/conf.d/10-shoal.conf
	[ -e $(DESTDIR)/etc/shoal/config.toml ] || install -D -m 644 packaging/config.toml $(DESTDIR)/etc/shoal/config.toml
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/shoal/copyright
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/vendor-completions fish/vendor_completions.d)
	$(BINARY) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/shoal
	$(BINARY) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_shoal
	$(BINARY) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/shoal.fish

uninstall: ## remove what install put there, but not settings and state
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/shoal lib/systemd/system/shoal.service lib/systemd/system/shoal.socket \
	    lib/systemd/network/10-shoal.network lib/systemd/network/10-shoal.link lib/NetworkManager/conf.d/10-shoal.conf \
	    share/bash-completion/completions/shoal share/zsh/vendor-completions/_shoal \
	    share/fish/vendor_completions.d/shoal.fish share/doc/shoal/copyright)

deb: build ## a Debian package in dist/
	packaging/make-deb $(DIST) $(VERSION)

clean: ## remove what was built
	$(CARGO) clean
	rm -rf $(DIST)

bench-build:
	@[ "$$(id -u)" = 0 ] || { echo "the benchmarks need root: they lay out hosts in namespaces" >&2; exit 1; }
	packaging/needs build bench
	$(CARGO) build --release --locked -p shoal -p shoal-bench

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked

# All set-up is done here: a virtual environment of its own, pinned tools, a release build.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export CARGO_TERM_COLOR ?= never
unexport VIRTUAL_ENV
unexport PYTHONPATH

RUST := $(shell find rust Cargo.toml Cargo.lock -name target -prune -o -type f -print 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help build demo test test-faults lint test-rust test-python fuzz bench bench-full bench-docs bench-rust profile fmt clean

help: ## list what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(VENV)/tools: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "omem needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@command -v cargo >/dev/null || { echo "omem needs a Rust toolchain: https://rustup.rs"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/built: $(VENV)/tools pyproject.toml $(RUST)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --quiet
	@touch $@

build: $(VENV)/built ## build the release extension into .venv

demo: build ## remember, merge, save and restore real airports and cities
	$(BIN)/python examples/airports.py

test: lint test-rust test-python ## everything that must hold: lints, types, Rust, Python

lint: build ## formatting, lints and types
	cargo fmt --all --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo clippy --quiet --manifest-path rust/fuzz/Cargo.toml --target-dir target/fuzz --no-default-features -- -D warnings
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo doc --quiet --no-deps --document-private-items --workspace
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m mypy.stubtest omem._omem --allowlist tests/stubtest.allow

test-rust: ## the tests of the Rust core
	cargo test --quiet --package omem-core

test-python: build ## the tests of the library
	$(BIN)/python -m pytest -m "not faults"

# Without these tools, and where they cannot be installed, their tests skip and say why.
FAULT_TOOLS := command -v strace && command -v mkfs.ext4 && command -v mkfs.xfs

test-faults: build ## kills, full disks and power cuts, in earnest counts
	@{ $(FAULT_TOOLS); } >/dev/null || \
	    { apt-get update -qq && apt-get install -qq -y strace e2fsprogs xfsprogs; } || true
	$(BIN)/python -m pytest -m faults -rs

fuzz: ## ten minutes each: read, check, pickle (a nightly toolchain and cargo-fuzz)
	@for target in read check pickle; do \
	    cd $(CURDIR)/rust/fuzz && cargo +nightly fuzz run --fuzz-dir . $$target -- \
	        -max_total_time=600 -max_len=4096 || exit 1; \
	done

# The benchmarks measure what users install: a wheel of the release build, beside the peers.
BENCH := .venv-bench
$(BENCH)/tools: requirements-bench.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(BENCH)/built: $(BENCH)/tools pyproject.toml $(RUST) $(shell find python -name '*.py*' -not -path '*/__pycache__/*')
	rm -rf target/bench-wheel
	$(BENCH)/bin/maturin build --release --quiet --interpreter $(BENCH)/bin/python --out target/bench-wheel
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall target/bench-wheel/*.whl
	@touch $@

bench: $(BENCH)/built ## the quick benchmark suite against all peers, under five minutes
	$(BENCH)/bin/python -m benches quick $(ARGS)

bench-full: $(BENCH)/built ## up to ten million entities: an hour, 16 GB of memory, 30 GB of disk
	$(BENCH)/bin/python -m benches full $(ARGS)

bench-docs: $(BENCH)/built ## write docs/benchmarks.md and the README's table from the newest run
	$(BENCH)/bin/python -m benches docs $(ARGS)

bench-rust: ## the micro-benchmarks of the Rust core (criterion)
	cargo bench --package omem-core $(ARGS)

profile: $(BENCH)/built ## where the time goes: make profile CASE=load/first_get KIND=wide
	$(BENCH)/bin/python -m benches.profile $(CASE:%=--case %) $(KIND:%=--kind %) $(SIZE:%=--size %)

fmt: build ## format Rust and Python
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove everything that make made
	rm -rf $(VENV) $(BENCH) target python/omem/*.so

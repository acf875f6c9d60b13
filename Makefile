# Two commands do all the set-up on a fresh Debian or Ubuntu machine with Rust:
#
#   make demo    the main job on invented data, in local mode (ARGS="--once --rows 1000000" for more)
#   make test    everything that CI runs
#
# The others need what `make test` has set up: `make check`, `make mutants`, `make bench`,
# `make fuzz`, `make lint`.

SHELL := /bin/bash
ARGS ?=

.PHONY: demo test check lint mutants bench fuzz setup-demo setup-test

demo: setup-demo
	@set -a; . .setup/env; set +a; cargo run --quiet -- demo $(ARGS)

test: setup-test
	@set -a; . .setup/env; set +a; scripts/test.sh $(ARGS)

# Formatting, lints as errors, the schema, the import rules, licences and advisories.
check: setup-test lint
	@set -a; . .setup/env; set +a; cargo test --quiet --test it -- house:: api_schema::
	@scripts/dependencies.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

# Switches off each rule and each detector in turn, and prints what notices; part of `make test` too.
mutants: setup-test
	@set -a; . .setup/env; set +a; cargo test --quiet --test it -- mutants:: --nocapture --test-threads=1

# ARGS=peers measures other programs beside ours, ARGS=endpoint the endpoint.
bench: setup-test
	@set -a; . .setup/env; set +a; scripts/bench.sh $(ARGS)

# ARGS="TARGET SECONDS"; see fuzz/Cargo.toml.
fuzz:
	@scripts/fuzz.sh $(ARGS)

setup-demo:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh tests

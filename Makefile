# Two commands do all the set-up on a fresh Debian or Ubuntu machine with Rust:
#
#   make demo    the main job on invented data, in local mode (ARGS="--once --rows 1000000" for more)
#   make test    everything that CI runs
#
# The others need what `make test` has set up: `make check`, `make mutants`, `make chaos`, `make bench`,
# `make fuzz`, `make test-readers`, `make lint`.

SHELL := /bin/bash
ARGS ?=

.PHONY: demo test test-readers check lint mutants chaos bench fuzz setup-demo setup-test

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

# Faults against real processes, every row compared afterwards: the table of docs/reliability.md. Takes forty minutes;
# ARGS="only=kills kills=20 seed=1" does less, ARGS=short what `make test` does.
chaos: setup-test
	@set -a; . .setup/env; set +a; cargo test --quiet --test chaos -- long $(ARGS)

# ARGS=peers measures other programs beside ours, ARGS=memory what a process holds, ARGS=workers two processes beside one,
# ARGS=endpoint the endpoint, ARGS=state a million old jobs.
bench: setup-test
	@set -a; . .setup/env; set +a; scripts/bench.sh $(ARGS)

# Spark and DataFusion read the files of the tests of types too. Needs Java, which it installs from Debian's packages
# where it may, and 500 MB for Spark.
test-readers: setup-test
	@set -a; . .setup/env; set +a; scripts/readers.sh

# ARGS="TARGET SECONDS"; see fuzz/Cargo.toml.
fuzz:
	@scripts/fuzz.sh $(ARGS)

setup-demo:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh tests

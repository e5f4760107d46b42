# Two targets do everything on a fresh Debian machine with cargo: `make run` and `make test`.
# ARGS are passed on: make run ARGS="--data /srv/postroad --config postroad.toml"

.PHONY: run build test lint bench sim fuzz install-test-tools

run: build
	target/release/postroad serve $(ARGS)

build:
	cargo build --release --locked -p postroad

test: install-test-tools lint
	cargo build --locked -p postroad
	cargo nextest run --locked --workspace --no-fail-fast
	cargo test --locked --doc --workspace

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

install-test-tools:
	ci/install-debian.sh

# Figures, each beside the floor that the machine sets. About five minutes.
bench:
	cargo build --release --locked -p postroad -p postroad-bench
	target/release/postroad-bench all $(ARGS)
	cargo run --release --locked -p postroad-metabase --example metabase_cost

# Thousands of seeds of the simulator: make sim ARGS="--seeds 20000"
sim:
	cargo run --release --locked -p postroad-lab --example sim -- $(or $(ARGS),--seeds 5000)

# Each fuzz target for a minute, or make fuzz ARGS="settings ip_list". Needs cargo-fuzz (cargo install cargo-fuzz).
fuzz:
	ci/fuzz.sh $(ARGS)

# What CI runs, and what is handy. `just --list` shows it.

# All that has to hold before a change is merged
check: fmt clippy test doc-tests deny

fmt:
    rustfmt --edition 2024 --check $(git ls-files "*.rs")

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace --all-targets

doc-tests:
    cargo test --workspace --doc

# Licenses, sources, advisories (needs cargo-deny)
deny:
    cargo deny check

# Replay many events; the report has seconds, CPU seconds and peak memory
bench events="5000000":
    cargo run --release -- generate --events {{events}} --seed 7 --to target/bench.jsonl
    cargo run --release -- replay target/bench.jsonl --data-dir target/bench --quiet --format json

# Watch a generated shop live; gRPC is at 127.0.0.1:7117
demo *options:
    cargo run --release -- demo {{options}}

# Generate a shop, replay it, ask it
tour:
    cargo run --release -- generate --events 200000 --seed 7 --to target/shop.jsonl
    cargo run --release -- replay target/shop.jsonl --data-dir target/shop
    cargo run --release -- query sales --data-dir target/shop --group-by day --limit 7
    cargo run --release -- query funnel --data-dir target/shop
    cargo run --release -- query related_products --data-dir target/shop --limit 5
    cargo run --release -- query quality --data-dir target/shop --group-by rule

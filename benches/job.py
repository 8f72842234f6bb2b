#!/usr/bin/env python3
"""The whole job: from a file of JSON lines to answers, beside DuckDB's one recompute of the like job.

    cargo build --release && python3 benches/job.py [--events N] [--rounds R] [--no-duckdb]

Generates the events once (in arrival order, and the same lines shuffled with a fixed seed) under target/bench/, then runs each job R
times in turns and prints the median of the CPU seconds, so that what else the machine does falls on all alike.
"""

import argparse
import json
import pathlib
import random
import resource
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/millrace"
FOLDER = ROOT / "target/bench"
HEADLINE = ["--set", "views.enabled=sales,funnel,related_products", "--set", "lake.events=false"]
STATE = ["--set", "replay.state=true"]
EVERY_10_S = ["--set", "replay.checkpoint_ms=10000"]
GENERATE = ["--conflict-fraction", "0", "--malformed-fraction", "0", "--duplicate-fraction", "0.01", "--bot-fraction", "0"]


def generate(events: int) -> tuple[pathlib.Path, pathlib.Path]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    ordered, shuffled = FOLDER / f"ordered-{events}.jsonl", FOLDER / f"shuffled-{events}.jsonl"
    if not ordered.exists():
        command = [BINARY, "generate", "--events", str(events), "--seed", "1", *GENERATE, "--quiet", "--to", ordered]
        subprocess.run(command, check=True)
    if not shuffled.exists():
        lines = ordered.read_bytes().splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        shuffled.write_bytes(b"".join(lines))
    return ordered, shuffled


def replay(path: pathlib.Path, workers: int, settings: list[str]) -> dict:
    command = [BINARY, "replay", path, "--data-dir", FOLDER / "out", "--workers", str(workers), "--quiet"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime
    output = subprocess.run([*command, "--format", "json", *settings], check=True, capture_output=True)
    kernel = resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime - before
    return {**json.loads(output.stdout), "kernel_seconds": kernel}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-duckdb", action="store_true")
    arguments = parser.parse_args()
    ordered, shuffled = generate(arguments.events)
    jobs = {
        "sales, funnel, related; in order, 1 worker": (ordered, 1, HEADLINE),
        "sales, funnel, related; in order, 2 workers": (ordered, 2, HEADLINE),
        "sales, funnel, related; random order, 1 worker": (shuffled, 1, HEADLINE),
        "… and a state; a checkpoint at the end, 1 worker": (ordered, 1, [*HEADLINE, *STATE]),
        "… and a state; a checkpoint every 10 s, 1 worker": (ordered, 1, [*HEADLINE, *STATE, *EVERY_10_S]),
        "all views and event Parquet; in order, 1 worker": (ordered, 1, []),
        "all views, state and event Parquet; in order, 1 worker": (ordered, 1, STATE),
        "all views and event Parquet; in order, 2 workers": (ordered, 2, []),
    }
    runs: dict[str, list[dict]] = {name: [] for name in jobs}
    for _ in range(arguments.rounds):
        for name, (path, workers, settings) in jobs.items():
            runs[name].append(replay(path, workers, settings))
    print("| job | CPU seconds | of them kernel | records per CPU-second | wall seconds | peak memory |")
    print("|---|---|---|---|---|---|")
    for name, results in runs.items():
        median = statistics.median(result["cpu_seconds"] for result in results)
        kernel = statistics.median(result["kernel_seconds"] for result in results)
        wall = statistics.median(result["seconds"] for result in results)
        memory = max(result["peak_rss_bytes"] for result in results) / 1e6
        rate = results[0]["read"] / median / 1e6
        print(f"| {name} | {median:.2f} | {kernel:.2f} | {rate:.2f} M | {wall:.2f} | {memory:.0f} MB |", flush=True)
    if not arguments.no_duckdb:
        subprocess.run([sys.executable, ROOT / "benches/duckdb_job.py", ordered], check=True)


if __name__ == "__main__":
    main()

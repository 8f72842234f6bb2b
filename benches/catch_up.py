#!/usr/bin/env python3
"""Catching up from Kafka, beside a replay of the same records from a file.

    cargo build --release && cargo build --release -p millrace-parts && python3 benches/catch_up.py [--events N] [--rounds R]

Starts a broker, sends it the records of job.py once (12 partitions), and then, R times in turns, reads them all through the live
engine (`run --until-end`, horizons without end, the headline views, no lake) and through a replay. Prints the medians of the engine's CPU
seconds; the broker's are its own.
"""

import argparse
import json
import statistics
import subprocess

from job import BINARY, FOLDER, GENERATE, HEADLINE, ROOT, generate

PARTS = ROOT / "target/release/millrace-parts"
UNLIMITED = ["horizons.deduplication=unlimited", "horizons.sessions=unlimited", "serve.address="]


def run(*command: str) -> dict:
    return json.loads(subprocess.run([BINARY, *map(str, command)], check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    ordered, _ = generate(arguments.events)
    broker = subprocess.Popen([PARTS, "kafka"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    brokers = json.loads(broker.stdout.readline())["bootstrap"]
    sent = ["--events", str(arguments.events), "--seed", "1", *GENERATE, "--quiet", "--kafka", brokers, "--partitions", "12"]
    subprocess.run([BINARY, "generate", *sent], check=True)
    settings = [*UNLIMITED, "source.kind=kafka", f"source.kafka.brokers={brokers}", 'source.kafka.topics=[{name="events"}]']
    settings.append(f"live.workers={arguments.workers}")
    live = ["run", "--until-end", "--quiet", "--format", "json", *HEADLINE]
    live += [argument for setting in settings for argument in ("--set", setting)]
    replay = ["replay", ordered, "--data-dir", FOLDER / "out", "--quiet", "--format", "json", "--workers", arguments.workers, *HEADLINE]
    runs = {"from Kafka, live": [], "from a file, replay": []}
    for _ in range(arguments.rounds):
        runs["from Kafka, live"].append(run(*live))
        runs["from a file, replay"].append(run(*replay))
    print("| job | records | CPU seconds | records per CPU-second | wall seconds | peak memory |")
    print("|---|---|---|---|---|---|")
    rates = []
    for name, results in runs.items():
        cpu, wall, memory = (statistics.median(r[key] for r in results) for key in ("cpu_seconds", "seconds", "peak_rss_bytes"))
        read = results[0]["read"]
        rates.append(read / cpu)
        print(f"| {name} | {read:,} | {cpu:.2f} | {rates[-1] / 1e6:.2f} M | {wall:.2f} | {memory / 1e6:,.0f} MB |")
    print(f"\nfrom Kafka: {rates[0] / rates[1]:.2f} of the events per CPU-second of a replay")
    broker.stdin.close()
    broker.wait()


if __name__ == "__main__":
    main()

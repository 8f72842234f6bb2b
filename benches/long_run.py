#!/usr/bin/env python3
"""A long run with short horizons: what is held, what a repair and a check of everything take, and how fast it is back.

    cargo build --release && python3 benches/long_run.py [--events N] [--days N] [--products N] [--rate R] [--no-lake] [--workers W] [-- SETTING=VALUE…]

Generates a log of N events once, one in a thousand of them late, under target/bench/. Appends it to another log, R records a second,
which a live engine reads with a lake and horizons of a minute, and which merges what is pending every 30 seconds; looks at the engine
now and then, until nothing is pending; starts it again; verifies every answer against the lake's own events; makes all views anew, and
compares the answers with those of a replay of the log. Without a lake it shows the memory and ends. With a rate of 0 all is there at
once.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/millrace"
FOLDER = ROOT / "target/bench"
ADDRESS = "127.0.0.1:7188"
PRODUCTS = 10_000
HORIZONS = ["horizons.deduplication=1m", "horizons.sessions=1m", "views.allowed_lateness_ms=60000"]
QUESTIONS = [
    "sales --group-by day,category",
    "sales --group-by month,product_id,category_as_was",
    "sales",
    "funnel --group-by day,device",
    "funnel --group-by referrer,category",
    "related_products --where kind=viewed_together --rank-by n_ab",
    "related_products --where kind=bought_together --rank-by llr",
    "traffic --group-by hour",
    "traffic --group-by day",
    "quality --group-by rule",
]


def generate(events: int, days: int, products: int = PRODUCTS) -> pathlib.Path:
    log = FOLDER / f"late-{events}-{days}-days-{products}-products"
    if not log.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = FOLDER / "late-partial"
        shutil.rmtree(partial, ignore_errors=True)
        command = [BINARY, "generate", "--events", str(events), "--seed", "5", "--days", str(days), "--late-fraction", "0.001", "--products", str(products)]
        subprocess.run([*command, "--quiet", "--log", partial, "--partitions", "4"], check=True)
        partial.rename(log)
    return log


class Feeder(threading.Thread):
    """Appends one log to another, all partitions alike, so many records a second."""

    STEP_SECONDS = 0.05

    def __init__(self, source: pathlib.Path, target: pathlib.Path, records: int, rate: int):
        super().__init__(daemon=True)
        shutil.rmtree(target, ignore_errors=True)
        self.partitions = []
        for entry in sorted(source.iterdir()):
            if entry.is_dir():
                (target / entry.name).mkdir(parents=True)
                self.partitions.append((sorted(entry.iterdir()), target / entry.name))
        shutil.copy(source / "log.json", target)
        size = sum(segment.stat().st_size for segments, _ in self.partitions for segment in segments)
        self.bytes_a_step = size if rate == 0 else int(size * rate * self.STEP_SECONDS / records)

    def run(self) -> None:
        pending = [self.pieces(*partition) for partition in self.partitions]
        due = time.monotonic()
        while pending:
            pending = [pieces for pieces in pending if next(pieces, None)]
            due += self.STEP_SECONDS
            time.sleep(max(0, due - time.monotonic()))

    def pieces(self, segments: list[pathlib.Path], folder: pathlib.Path):
        share = max(1, self.bytes_a_step // len(self.partitions))
        for segment in segments:
            with open(segment, "rb") as source, open(folder / segment.name, "wb", buffering=0) as target:
                while piece := source.read(share):
                    target.write(piece)
                    yield True


def settings(*lists: list[str]) -> list[str]:
    return [argument for setting in sum(lists, []) for argument in ("--set", setting)]


def ask(*command: str) -> str | None:
    done = subprocess.run([BINARY, *command], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def peak_mb(process: subprocess.Popen) -> tuple[float, float]:
    """Waits for a process: its CPU seconds and the most memory it had, in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"it ended with {status}"
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def timed(title: str, *command: str) -> str:
    begun = time.monotonic()
    process = subprocess.Popen([BINARY, *command], stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    cpu, memory = peak_mb(process)
    print(f"| {title} | {time.monotonic() - begun:.1f} | {cpu:.1f} | {memory:,.0f} |")
    return said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=12_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--products", type=int, default=PRODUCTS)
    parser.add_argument("--rate", type=int, default=200_000)
    parser.add_argument("--no-lake", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("set", nargs="*")
    arguments = parser.parse_args()
    history, lake, whole = generate(arguments.events, arguments.days, arguments.products), FOLDER / "long-lake", FOLDER / "long-whole"
    for folder in (lake, whole):
        shutil.rmtree(folder, ignore_errors=True)
    log = FOLDER / "long-log"
    feeder = Feeder(history, log, arguments.events, arguments.rate)
    of_run = [f"serve.address={ADDRESS}", f"source.log.paths=['{log}']", f"live.workers={arguments.workers}"]
    of_lake = [] if arguments.no_lake else [f"lake.url={lake}", "lake.repair_every_ms=30000"]
    of_run = settings(of_run, of_lake, HORIZONS, arguments.set)

    print("| seconds | records read | event ids | sessions | orders | users | forgotten contributions | pending | memory, MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    begun = time.monotonic()
    process = subprocess.Popen([BINARY, "run", "--quiet", "--format", "json", *of_run], stdout=subprocess.PIPE, text=True)
    feeder.start()
    last_read = None
    while True:
        time.sleep(5)
        status = json.loads(ask("status", "--addr", ADDRESS, "--format", "json") or "{}")
        read, pending = status["accounting"]["read"], status["accounting"]["pending"]
        if read == last_read and not feeder.is_alive() and (pending == 0 or arguments.no_lake):
            break
        last_read = read
        held = [status["held"].get(name, 0) for name in ("event_ids", "sessions", "orders", "users", "settled_contributions")]
        row = [f"{time.monotonic() - begun:.0f}", read, *held, pending, status["memory_bytes"] // 1_000_000]
        print("| " + " | ".join(f"{value:,}" if isinstance(value, int) else value for value in row) + " |", flush=True)
    process.send_signal(signal.SIGTERM)
    summary = json.loads(process.stdout.read())
    cpu, memory = peak_mb(process)
    print(f"\n{json.dumps(summary)}\n")
    if arguments.no_lake:
        print(f"peak memory {memory:,.0f} MB, {cpu:.1f} CPU seconds")
        return

    print("| step | seconds | CPU seconds | peak memory, MB |")
    print("|---|---|---|---|")
    print(f"| run | {summary['seconds']:.1f} | {cpu:.1f} | {memory:,.0f} |")
    begun = time.monotonic()
    process = subprocess.Popen([BINARY, "run", "--quiet", "--format", "json", *of_run], stdout=subprocess.PIPE, text=True)
    first = None
    while True:
        status = ask("status", "--addr", ADDRESS, "--format", "json")
        now = time.monotonic() - begun
        if status is not None:
            first = first or now
            if not json.loads(status)["restored"]:
                break
        time.sleep(0.02)
    process.terminate()
    process.stdout.read()
    cpu, memory = peak_mb(process)
    print(f"| start again: first answers | {first:.2f} | | |")
    print(f"| … reading on | {now:.2f} | {cpu:.1f} | {memory:,.0f} |")
    before = timed("verify, everything", "verify", "--data-dir", lake)
    said = timed("all views anew", "repair", "--all", "--data-dir", lake, *settings(HORIZONS, [f"live.workers={arguments.workers}"]))
    verified = timed("verify, everything, again", "verify", "--data-dir", lake)
    replayed = timed("replay of the log, 1 worker", "replay", history, "--data-dir", whole, "--quiet", *settings([HORIZONS[2]], ["lake.events=false"]))
    print(f"\n{before.strip()}\n{said.strip()}\n{verified.strip()}\n{replayed.strip()}\n")
    differ = 0
    for question in QUESTIONS:
        answers = [ask("query", *question.split(), "--data-dir", str(place), "--format", "csv") for place in (lake, whole)]
        same = answers[0] == answers[1] is not None
        differ += not same
        print(f"{'equal' if same else 'DIFFERENT'}: {question} ({answers[1].count(chr(10)) - 1:,} rows)")
    raise SystemExit(differ > 0)


if __name__ == "__main__":
    main()

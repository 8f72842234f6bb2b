#!/usr/bin/env python3
"""A long run with short horizons: what is held, what a repair and a check of everything take, and how fast it is back.

    cargo build --release && python3 benches/long_run.py [--events N] [--workers W] [-- SETTING=VALUE…]

Generates a log of N events once, one in a thousand of them late, under target/bench/. Runs it through the live engine with a lake and
horizons of a minute, looking at the engine every two seconds; starts the engine again; repairs what is pending; verifies every
answer against the lake's own events; and compares the answers with those of a replay of the log.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/millrace"
FOLDER = ROOT / "target/bench"
ADDRESS = "127.0.0.1:7188"
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


def generate(events: int) -> pathlib.Path:
    log = FOLDER / f"late-{events}"
    if not log.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = FOLDER / "late-partial"
        shutil.rmtree(partial, ignore_errors=True)
        command = [BINARY, "generate", "--events", str(events), "--seed", "5", "--days", "30", "--late-fraction", "0.001"]
        subprocess.run([*command, "--quiet", "--log", partial, "--partitions", "4"], check=True)
        partial.rename(log)
    return log


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
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("set", nargs="*")
    arguments = parser.parse_args()
    log, lake, whole = generate(arguments.events), FOLDER / "long-lake", FOLDER / "long-whole"
    for folder in (lake, whole):
        shutil.rmtree(folder, ignore_errors=True)
    of_run = [f"serve.address={ADDRESS}", f"source.log.paths=['{log}']", f"live.workers={arguments.workers}", f"lake.url={lake}"]
    of_run = settings(of_run, HORIZONS, arguments.set)

    print("| seconds | records read | event ids | sessions | orders | users | forgotten contributions | memory, MB |")
    print("|---|---|---|---|---|---|---|---|")
    begun = time.monotonic()
    process = subprocess.Popen([BINARY, "run", "--until-end", "--quiet", "--format", "json", *of_run], stdout=subprocess.PIPE, text=True)
    while process.stdout.readable():
        time.sleep(2)
        status = ask("status", "--addr", ADDRESS, "--format", "json")
        if status is None:
            break
        status = json.loads(status)
        held = [status["held"].get(name, 0) for name in ("event_ids", "sessions", "orders", "users", "settled_contributions")]
        row = [f"{time.monotonic() - begun:.0f}", status["accounting"]["read"], *held, status["memory_bytes"] // 1_000_000]
        print("| " + " | ".join(f"{value:,}" if isinstance(value, int) else value for value in row) + " |", flush=True)
    summary = json.loads(process.stdout.read())
    cpu, memory = peak_mb(process)
    print(f"\n{json.dumps(summary)}\n")

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
    said = timed("repair", "repair", "--data-dir", lake, *settings(HORIZONS, [f"live.workers={arguments.workers}"]))
    verified = timed("verify, everything", "verify", "--data-dir", lake)
    replayed = timed("replay of the log, 1 worker", "replay", log, "--data-dir", whole, "--quiet", *settings([HORIZONS[2]], ["lake.events=false"]))
    print(f"\n{said.strip()}\n{verified.strip()}\n{replayed.strip()}\n")
    differ = 0
    for question in QUESTIONS:
        answers = [ask("query", *question.split(), "--data-dir", str(place), "--format", "csv") for place in (lake, whole)]
        same = answers[0] == answers[1] is not None
        differ += not same
        print(f"{'equal' if same else 'DIFFERENT'}: {question} ({answers[1].count(chr(10)) - 1:,} rows)")
    raise SystemExit(differ > 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What several processes cost beside one: CPU seconds, bytes between them, and a reckoning of larger clusters.

    cargo build --release && sudo python3 benches/cluster.py [--events N] [--rounds R] [--binary B]

A log of eight partitions is read to its end by clusters of several sizes, in turns: `millrace run` for one process, `millrace cluster` for
more, which has parents that serve, too. Three views, a lake with state, no event files. Each runs in a network namespace of its own, so that
the bytes on its loopback are those between its processes. CPU seconds are user and system time of all processes. Printed are medians, what
an exchanged event costs, and what the model at the end says of 2 x 2 before it was measured, and of 16 and 64 cores.
"""

import argparse
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import time

from job import BINARY, FOLDER, GENERATE

PLACE = FOLDER / "cluster"
SIZES = [(1, 1), (1, 2), (2, 1), (3, 1), (2, 2)]
SETTINGS = ["views.enabled=sales,funnel,related_products", "lake.events=false", "horizons.deduplication=unlimited",
            "horizons.sessions=unlimited", "lake.checkpoint_ms=5000", "serve.address="]
SPACE = "mrbench"


def inside(*command, **more):
    return subprocess.run(["ip", "netns", "exec", SPACE, *map(str, command)], check=True, **more)


def bytes_on_loopback() -> int:
    lines = inside("cat", "/proc/net/dev", capture_output=True, text=True).stdout.splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:"))


def run(binary, processes: int, workers: int) -> dict:
    shutil.rmtree(PLACE / "lake", ignore_errors=True)
    given = sum((["--set", one] for one in [*SETTINGS, f"lake.url={PLACE / 'lake'}", f"source.log.paths=['{PLACE / 'log'}']"]), [])
    if processes == 1:
        command = [binary, "run", "--quiet", "--until-end", "--set", f"live.workers={workers}", *given]
    else:
        command = [binary, "cluster", "--quiet", "--until-end", "--processes", processes, "-w", workers, *given]
    before, sent, begun = resource.getrusage(resource.RUSAGE_CHILDREN), bytes_on_loopback(), time.time()
    inside(*command, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "bytes": bytes_on_loopback() - sent, "wall": time.time() - begun}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY)
    arguments = parser.parse_args()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    sent = ["--events", str(arguments.events), "--seed", "1", *GENERATE, "--quiet", "--log", PLACE / "log", "--partitions", "8"]
    subprocess.run([arguments.binary, "generate", *sent], check=True)
    subprocess.run(["ip", "netns", "del", SPACE], capture_output=True)
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    inside("ip", "link", "set", "lo", "up")
    seen = {size: [] for size in SIZES}
    try:
        for _ in range(arguments.rounds):
            for size in SIZES:
                seen[size].append(run(arguments.binary, *size))
    finally:
        subprocess.run(["ip", "netns", "del", SPACE])
    summary = json.loads(subprocess.run([arguments.binary, "inspect", "--data-dir", PLACE / "lake", "--format", "json"],
                                        check=True, capture_output=True).stdout)
    records = summary.get("accounted", summary).get("read", arguments.events)
    median = {size: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for size, runs in seen.items()}
    base = median[1, 2]["cpu"]
    print(f"{records} records; medians of {arguments.rounds}\n")
    print(f"{'processes x workers':<20} {'CPU s':>7} {'records/CPU s':>14} {'of 1 x 2':>9} {'bytes/record':>13} {'wall s':>7}")
    for (processes, workers), one in median.items():
        print(f"{f'{processes} x {workers}':<20} {one['cpu']:>7.2f} {records / one['cpu']:>14,.0f} {base / one['cpu']:>8.0%} "
              f"{one['bytes'] / records:>13.1f} {one['wall']:>7.1f}")
    # cpu(P, W) = work + among(W) + crossing, where crossing grows with the share of records that leave their process, 1 - 1/P.
    one, two, mesh = median[1, 1]["cpu"], median[1, 2]["cpu"], median[2, 1]["cpu"]
    among, crossing = (two - one) / (1 - 1 / 2), (mesh - two) / (1 - 1 / 2)
    reckon = lambda processes, workers: one + among * (1 - 1 / (processes * workers)) + crossing * (1 - 1 / processes)
    real = median[2, 2]["cpu"]
    print(f"\nmodel: {one:.2f} s of work, {among:.2f} s x (1 - 1/workers) among workers, {crossing:.2f} s x (1 - 1/processes) between processes")
    print(f"2 x 2: reckoned {reckon(2, 2):.2f} s, measured {real:.2f} s: {real / reckon(2, 2) - 1:+.0%}")
    per_record = median[2, 1]["bytes"] / records * 2
    for processes, workers in [(4, 4), (16, 4)]:
        rate = records / reckon(processes, workers)
        cores = processes * workers
        out = per_record * (1 - 1 / processes) * rate * workers
        print(f"{processes} x {workers}: {rate:,.0f} records/CPU s, so {rate * cores / 1e6:.1f} M records/s on {cores} cores, "
              f"{out * 8 / 1e9:.2f} Gbit/s out of each process")


if __name__ == "__main__":
    main()

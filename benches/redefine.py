#!/usr/bin/env python3
"""What other views and settings on a lake that is there cost, and whether kills on the way change an answer.

    cargo build --release && python3 benches/redefine.py [--events N] [--kills N] [--before BINARY]

A lake is written from a log by `millrace run` (by BINARY where one is given: an earlier release). Copies of it go on with another
window of the funnel alone; with another zone and window and two more views; and once more with nothing left to make. Then a copy is
killed at random moments of the second, with 1 to 3 workers in turns, and begins again from the old lake whenever it gets through.
Every answer is compared with that of a lake that began under the new settings.
"""

import argparse
import json
import random
import shutil
import subprocess

from job import BINARY, FOLDER

PLACE = FOLDER / "redefine"
WINDOW = ["--set", "views.funnel.window=1h"]
VIEWS = "['sales','funnel','related_products','traffic','customers','trending']"
OTHERS = [*WINDOW, "--set", "store.time_zone=America/New_York", "--set", f"views.enabled={VIEWS}"]
# The default instant of scores is the watermark, which is another one of a shop that has come to rest.
INSTANT = ["--as-of", "2026-03-31T00:00:00Z", "--limit", "1000000", "--format", "csv"]
QUESTIONS = [
    "sales --group-by day,product_id,currency",
    "sales --group-by hour,category_as_was,currency",
    "sales --group-by month,category,currency",
    "funnel --group-by day,device",
    "funnel --group-by category,referrer",
    "traffic --group-by hour",
    "traffic --group-by day",
    "customers --group-by user_id,currency",
    "customers --group-by segment,currency",
    "customers --group-by day",
    "trending --group-by hour,product_id",
    "trending --group-by day,product_id",
    "quality --group-by day,rule",
    "quality --group-by hour,source",
    "related_products",
    "quarantine",
]


def command(binary, lake: str, *more: str) -> list:
    given = [f"source.log.paths=['{PLACE / 'log'}']", f"lake.url={PLACE / lake}", "serve.address="]
    return [binary, "run", "--quiet", "--until-end", "--format", "json", *sum((["--set", one] for one in given), []), *more]


def run(binary, lake: str, *more: str) -> dict:
    done = subprocess.run(command(binary, lake, *more), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def fresh_copy(lake: str) -> None:
    shutil.rmtree(PLACE / lake, ignore_errors=True)
    shutil.copytree(PLACE / "old", PLACE / lake)


def answers(lake: str) -> list[bytes]:
    def answer(question: str) -> bytes:
        asked = [BINARY, "query", *question.split(), "--data-dir", PLACE / lake, *OTHERS, *INSTANT]
        return subprocess.run(asked, check=True, capture_output=True).stdout

    return [answer(question) for question in QUESTIONS]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--before", default=BINARY)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    log = ["--events", str(arguments.events), "--seed", "1", "--log", PLACE / "log", "--partitions", "4", "--quiet"]
    subprocess.run([BINARY, "generate", *log], check=True)
    accepted = run(arguments.before, "old")["accepted"]
    print(f"{accepted:,} accepted events")

    for name, settings in (("the funnel", WINDOW), ("five views", OTHERS)):
        fresh_copy("other")
        made, idle = (run(BINARY, "other", *settings) for _ in range(2))
        took = made["cpu_seconds"] - idle["cpu_seconds"]
        print(f"{name}: {made['cpu_seconds']:.2f} CPU seconds, with nothing to make {idle['cpu_seconds']:.2f}:"
              f" {accepted / took / 1e6:.2f} million events per CPU-second", flush=True)
    longest = made["seconds"]

    chance, kills, through = random.Random(arguments.seed), 0, 0
    fresh_copy("killed")
    while kills < arguments.kills:
        workers = ["--set", f"live.workers={kills % 3 + 1}"]
        process = subprocess.Popen(command(BINARY, "killed", *OTHERS, *workers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert process.wait(chance.uniform(0.1, longest)) == 0, "the engine ended with an error"
            through += 1
            fresh_copy("killed")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    run(BINARY, "killed", *OTHERS)
    run(BINARY, "begun", *OTHERS)
    expected = answers("begun")
    rows = sum(answer.count(b"\n") - 1 for answer in expected)
    for lake in ("other", "killed"):
        differ = [question for question, one, other in zip(QUESTIONS, answers(lake), expected) if one != other]
        print(f"{lake}: {len(QUESTIONS)} questions, {rows:,} rows, {len(differ)} answers differ {differ or ''}")
        assert not differ
    print(f"killed {kills} times; it got through {through} times on the way")
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()

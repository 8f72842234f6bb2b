"""Runs real data into a lake and reads the listed files with another engine, before and after small files are merged.

    python lake.py --millrace BIN --shared DIR [--sets uci_online_retail,rees46_sample]

The events go, shuffled, into a log that grows while the engine makes a checkpoint many times a second, so that each day's events are in
many files. DuckDB computes the sales from the files that `millrace lake files` lists; they are compared with reference answers.
Then the engine runs on until it has merged the files, and they are compared again. The funnel is added up from the files of its rows, as
docs/guide.md says, and compared with the engine's own answer. The last line is `N passed, M failed`.
"""
import csv
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from compare import Tally
from engine import Engine
from real import SALES, SEED, compare_reference, open_text, parser_of, reference, root_of

PARTITIONS = 3
PARTS = 12
PATIENCE = 120
QUERY = """
with lines as (
    select e.*, event_date as day, strftime(event_date, '%Y-%m') as month, quantity >= 0 and event_type = 'purchase' as sold
    from read_parquet({files}, hive_partitioning = true) e where event_type in ('purchase', 'refund')
), latest as (
    select product_id, arg_max(category, (event_time, epoch, "partition", "offset")) as category
    from read_parquet({products}) where event_type = 'product' group by all
)
select {columns}, count(*) filter (sold) as lines, count(distinct order_id) filter (sold) as orders,
    coalesce(sum(quantity) filter (sold), 0) as units, coalesce(sum(abs(quantity)) filter (not sold), 0) as units_returned,
    coalesce(sum(price_paid) filter (sold), 0) as order_revenue,
    coalesce(sum(coalesce(amount, -price_paid)) filter (not sold), 0) as returns,
    order_revenue - returns as net_sales
from lines left join latest using (product_id) group by all
"""
COLUMNS = {"day": "cast(day as text) as day", "month": "month", "product_id": "product_id",
           "category": "coalesce(latest.category, '(none)') as category"}


def listed(engine, kind):
    text = engine.run("lake", "files", "--data-dir", engine.data_dir, "--kind", kind, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    return [row["path"] for row in rows], sum(int(row["rows"]) for row in rows)


def sales(engine, by):
    """What DuckDB makes of the listed files, as (header, rows) of texts."""
    (files, _), (products, _) = listed(engine, "events"), listed(engine, "dimensions")
    query = QUERY.format(files=files, products=products, columns=", ".join(COLUMNS[column] for column in by))
    answer = duckdb.sql(query)
    return answer.columns, [[str(cell) for cell in row] for row in answer.fetchall()]


FUNNEL = """
select device, sum(sessions) as sessions, sum(ordered_purchase) as ordered_purchase
from read_parquet({files}, union_by_name = true) where grain = 'counters' group by device order by device
"""


def judge_funnel(tally, label, engine):
    """The rows of the view's files, added up, against what the engine answers."""
    text = engine.run("lake", "files", "--data-dir", engine.data_dir, "--view", "funnel", "--format", "csv")
    listed = list(csv.DictReader(io.StringIO(text)))
    found = duckdb.sql(FUNNEL.format(files=[row["path"] for row in listed])).fetchall()
    text = engine.run("query", "funnel", "--data-dir", engine.data_dir, "--group-by", "device", "--format", "csv")
    answer = list(csv.DictReader(io.StringIO(text)))
    found = sorted((device, int(sessions), int(purchase)) for device, sessions, purchase in found if sessions)
    expected = sorted((row["device"], int(row["sessions"]), int(row["ordered_purchase"])) for row in answer)
    problems = [] if expected and found == expected else [f"{found} from {len(listed)} files, and {expected}"]
    tally.check(f"{label}: the funnel's files add up to its answer", problems)


def judge(tally, label, directory, engine):
    judge_funnel(tally, label, engine)
    for by in SALES:
        tally.attempt(f"{label}: sales by {','.join(by)}", lambda: compare_reference(
            reference(directory, "sales_" + "_".join(by)), by, *sales(engine, by)))


class Log:
    """Partitions of one segment each, which lines are added to."""

    def __init__(self, folder):
        self.paths = [folder / f"partition={number:05}" / f"{0:020}.jsonl" for number in range(PARTITIONS)]
        for path in self.paths:
            path.parent.mkdir(parents=True)
            path.touch()
        (folder / "log.json").write_text(json.dumps({"format": "millrace-log", "version": 1, "partitions": PARTITIONS}))

    def add(self, lines):
        for number, path in enumerate(self.paths):
            with open(path, "a", encoding="utf-8") as file:
                file.writelines(lines[number::PARTITIONS])


def run(engine, log, settings, grow):
    """Runs the engine while `grow` is called, until that says False."""
    arguments = ["run", "--quiet"]
    for setting in [f"source.log.paths=['{log}']", f"lake.url={engine.data_dir}", "serve.address=", "lake.checkpoint_ms=30",
                    "lake.sync=false", "live.workers=2", "live.epoch_records=5000", "horizons.deduplication=unlimited",
                    "horizons.sessions=unlimited", *settings]:
        arguments += ["--set", setting]
    process = subprocess.Popen([engine.binary, *arguments], stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    while grow():
        if process.poll() is not None or time.monotonic() - begun > PATIENCE:
            process.kill()
            raise RuntimeError("the engine has ended by itself, or takes too long")
    process.send_signal(signal.SIGINT)
    if process.wait() != 0:
        raise RuntimeError(f"the engine ended with {process.returncode}")


def check(tally, name, directory, binary, scratch):
    engine = Engine(binary, scratch / "lake")
    with open_text(directory / "products.jsonl.gz") as file:
        lines = file.readlines()
    with open_text(directory / "events.jsonl.gz") as file:
        events = file.readlines()
    random.Random(SEED).shuffle(events)
    log = Log(scratch / "log")
    log.add(lines)
    parts = [events[part::PARTS] for part in range(PARTS)]

    columns, counts = reference(directory, "accounting")
    accepted = int(counts[0][columns.index("accepted")])

    def all_events():
        time.sleep(0.3)
        if parts:
            log.add(parts.pop())
            return True
        return listed(engine, "events")[1] < accepted

    run(engine, scratch / "log", ["lake.compaction=false"], all_events)
    files, rows = listed(engine, "events")
    tally.check(f"{name}: every event once", [] if rows == accepted else [f"{rows} are there, {accepted} were accepted"])
    days = len({Path(file).parent for file in files})
    tally.check(f"{name}: {rows} events of {days} days are in {len(files)} files", [] if len(files) > 8 * days else ["too few to be merged"])
    judge(tally, f"{name}, before files are merged", directory, engine)

    number = 0

    def until_merged():
        nonlocal number
        # Something has to be read, or there is nothing to be made a checkpoint of.
        number += 1
        log.add([json.dumps({"event_type": "inventory", "product_id": "nothing", "updated_at": "2019-01-01T00:00:00Z", "on_hand": number}) + "\n"])
        time.sleep(0.3)
        return len(listed(engine, "events")[0]) > 2 * days

    run(engine, scratch / "log", [], until_merged)
    files, rows_merged = listed(engine, "events")
    tally.check(f"{name}: they are in {len(files)} files now", [] if rows_merged == rows else [f"{rows_merged} of {rows} events are left"])
    judge(tally, f"{name}, after files are merged", directory, engine)
    said = engine.run("verify", "--data-dir", engine.data_dir)
    tally.check(f"{name}: every answer follows from the files", [] if " 0 answers differ" in said else [said])


def main():
    options = parser_of(__doc__).parse_args()
    root = root_of(options)
    tally = Tally()
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="millrace-lake-") as scratch:
            check(tally, name, root / name, options.millrace, Path(scratch))
    sys.exit(tally.end())


if __name__ == "__main__":
    main()

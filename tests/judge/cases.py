"""Runs inputs that once failed and compares with the right answers, which stand here.

    python cases.py --millrace BIN --cases DIR [--only NAME,…] [--heavy]

DIR holds the inputs (by default cases/ beside this file; one that is not in DIR is taken from there). With --heavy those that
measure a cost run at their full size. Prints a line for each row, and `N passed, M failed`; exit code 1 on any miss.
"""
import argparse
import datetime
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import duckdb

from compare import Tally, same
from engine import Engine, EngineFailed
from judge import Judge, Question

OWN = Path(__file__).resolve().parent / "cases"
CASES = {}


def case(name):
    def add(function):
        CASES[name] = function
        return function
    return add


class Case:
    """A folder, the binary, and what differs so far."""

    def __init__(self, options, folder):
        self.binary, self.heavy, self.inputs = options.millrace, options.heavy, options.cases
        self.folder, self.differences, self.note = Path(folder), [], ""

    def input(self, name):
        given = Path(self.inputs) / name
        return (given if given.exists() else OWN / name).resolve()

    def write(self, name, lines):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    def log(self, name, lines):
        """A log of one partition, as `run` reads it."""
        folder = self.folder / name
        self.write(f"{name}/partition=00000/{0:020}.jsonl", lines)
        (folder / "log.json").write_text(json.dumps({"format": "millrace-log", "version": 1, "partitions": 1}))
        return folder

    def same(self, what, expected, found):
        if expected != found:
            self.differences.append(f"{what}: expected {expected}, is {found}")

    def engine(self, name="data"):
        return Engine(self.binary, self.folder / name)

    def replay(self, path, settings=(), name="data", workers=1):
        engine = self.engine(name)
        engine.replay([Path(path).resolve()], workers, settings)
        return engine

    def accounting(self, engine):
        counts = engine.accounting()
        return " ".join(str(counts[name]) for name in ("read", "accepted", "duplicates", "quarantined", "pending"))

    def cells(self, engine, view, columns, **question):
        """{group columns: the named columns} of an answer, as text; without groups the cells themselves."""
        header, rows = engine.query(view, **question)
        groups = len(question.get("group_by", ()))
        found = {tuple(row[:groups]): [row[header.index(column)] for column in columns.split()] for row in rows}
        if groups:
            return {" ".join(key): " ".join(cells) for key, cells in found.items()}
        return " ".join(found.get((), []))

    def rejected(self, engine):
        header, rows = engine.query("quarantine")
        places = [header.index("rule"), header.index("field")]
        return sorted(" ".join(row[place] for place in places).strip() for row in rows)

    def run_live(self, log, settings=(), lake=None):
        """`run --until-end`, with a lake or without; the report."""
        engine = Engine(self.binary, lake or self.folder / "none")
        arguments = ["run", "--quiet", "--until-end", "--format", "json"]
        given = [f"source.log.paths=['{log}']", "serve.address=", "live.workers=1", *settings]
        for setting in given + ([f"lake.url={lake}", "lake.checkpoint_ms=50"] if lake else []):
            arguments += ["--set", setting]
        engine.report = json.loads(engine.run(*arguments))
        return engine

    def verified(self, engine):
        said = engine.run("verify", "--data-dir", engine.data_dir)
        if " 0 answers differ" not in said:
            self.differences.append(f"verify: {said.strip()[-300:]}")


# --- rows -----------------------------------------------------------------------------------------------------------------

def purchase(number, **fields):
    record = {"event_id": f"e{number}", "event_type": "purchase", "event_time": "2026-03-01T10:00:00Z", "session_id": "s",
              "order_id": f"o{number}", "product_id": "p", "quantity": 1, "price_paid": 1}
    return json.dumps({name: value for name, value in (record | fields).items() if value is not None})


@case("amount-stops-engine.jsonl")
def amount_stops_engine(run):
    """Every line is accepted with exact sums or is over the stated limit; a lake takes checkpoints and starts again."""
    path = run.input("amount-stops-engine.jsonl")
    judge = Judge([path])
    engine = run.replay(path)
    expected = judge.accounting()
    run.same("accounting", list(expected.values()) + [0], list(map(int, run.accounting(engine).split())))
    run.same("rules", {"number_out_of_range"}, {rule.split()[0] for rule in run.rejected(engine)})
    columns = "lines order_revenue gross_sales"
    _, values, rows = judge.answer(Question("sales", []))
    header, found = engine.query("sales")
    run.same("rows", len(rows), len(found))
    for want, row in zip(rows, found):
        wanted = dict(zip((["currency"] if judge.several_currencies else []) + values, want))
        for column in columns.split():
            if not same(wanted[column], row[header.index(column)]):
                run.differences.append(f"{column}: expected {wanted[column]}, is {row[header.index(column)]}")
    log = run.log("log", path.read_text(encoding="utf-8").splitlines())
    for start in ("first", "second"):
        live = run.run_live(log, lake=run.folder / "lake")
        run.same(f"{start} start", run.accounting(engine), run.accounting(live))
    run.verified(live)


@case("huge-sums")
def huge_sums(run):
    """10^13 USD a line, 100 of each: sums are exact, or the lines are over the stated limit; so are sums just within it."""
    count = 10_000 if run.heavy else 2_000
    lines = [purchase(n, order_id=f"o{n // 3}", product_id=f"p{n % 7}", quantity=100, unit_price=10 ** 13, price_paid=10 ** 13,
                      event_time=f"2026-03-01T{n % 24:02}:00:00Z", currency="USD") for n in range(count)]
    engine = run.replay(run.write("huge.jsonl", lines))
    accepted, quarantined = (engine.accounting()[name] for name in ("accepted", "quarantined"))
    run.same("accounting", count, accepted + quarantined)
    found = run.cells(engine, "sales", "order_revenue gross_sales") or "0 0"
    run.same("sums", [accepted * 10 ** 13, accepted * 10 ** 15], [Decimal(cell) for cell in found.split()])
    run.same("rules", {"number_out_of_range"} if quarantined else set(), {rule.split()[0] for rule in run.rejected(engine)})
    run.verified(engine)
    lines = [purchase(n, product_id=f"p{n % 7}", unit_price=10 ** 11, price_paid=10 ** 11) for n in range(count)]
    engine = run.replay(run.write("large.jsonl", lines), name="large")
    run.same("at the limit", [count * 10 ** 11] * 2,
             [Decimal(cell) for cell in run.cells(engine, "sales", "order_revenue gross_sales").split()])
    run.verified(engine)


@case("return-line-positive-price.jsonl")
def return_line(run):
    engine = run.replay(run.input("return-line-positive-price.jsonl"))
    run.same("accounting", "2 1 0 1 0", run.accounting(engine))
    run.same("rejected", ["wrong_sign price_paid"], run.rejected(engine))
    run.same("sales", "3 30.00", run.cells(engine, "sales", "units net_sales"))


@case("refund-negative-quantity.jsonl")
def refund_quantity(run):
    engine = run.replay(run.input("refund-negative-quantity.jsonl"))
    run.same("accounting", "2 1 0 1 0", run.accounting(engine))
    run.same("rejected", ["wrong_sign quantity"], run.rejected(engine))
    run.same("sales", "0", run.cells(engine, "sales", "units_returned"))


@case("shipping-only.jsonl")
def shipping_only(run):
    """A refund of a whole order."""
    engine = run.replay(run.input("shipping-only.jsonl"))
    run.same("accounting", "2 2 0 0 0", run.accounting(engine))
    run.same("sales", "25.10 0 4.90", run.cells(engine, "sales", "net_sales units_returned returns_as_sold"))
    for column in ("product_id", "category", "category_as_was"):
        found = run.cells(engine, "sales", "returns units_returned", group_by=[column])
        run.same(f"by {column}", "4.90 0", found.get("(none)"))


@case("negative-cart.jsonl")
def negative_cart(run):
    engine = run.replay(run.input("negative-cart.jsonl"))
    run.same("accounting", "1 0 0 1 0", run.accounting(engine))
    run.same("rejected", ["wrong_sign quantity"], run.rejected(engine))


@case("known.jsonl")
def known(run, name="known.jsonl"):
    """One event in several spellings."""
    path = run.input(name)
    count = len(path.read_text(encoding="utf-8").splitlines())
    run.same("accounting", f"{count} 1 {count - 1} 0 0", run.accounting(run.replay(path)))


@case("unknown.jsonl")
def unknown(run):
    known(run, "unknown.jsonl")


@case("nested.jsonl")
def nested(run):
    known(run, "nested.jsonl")


@case("refund-in-another-currency.jsonl")
def refund_in_another_currency(run):
    engine = run.replay(run.input("refund-in-another-currency.jsonl"))
    found = run.cells(engine, "quality", "warned", group_by=["rule"])
    run.same("warnings", "1", found.get("returned_more_than_paid"))


@case("half-hour-shift.jsonl")
def half_hour_shift(run):
    engine = run.replay(run.input("half-hour-shift.jsonl"), ["store.time_zone=Australia/Lord_Howe"])
    run.same("traffic", {
        "2026-04-05T01:00:00+11:00": "2", "2026-04-05T01:30:00+10:30": "1", "2026-04-05T02:00:00+10:30": "1",
        "2026-10-04T01:00:00+10:30": "1", "2026-10-04T02:30:00+11:00": "1", "2026-10-04T03:00:00+11:00": "1",
    }, run.cells(engine, "traffic", "page_views", group_by=["hour"]))


@case("future-event-in-a-backlog")
def future_event(run):
    """One clock of 2150 in a log of 2026 makes nothing pending."""
    count = 4_000
    start = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    lines = [purchase(n, event_time=(start + datetime.timedelta(minutes=n)).isoformat(), session_id=f"s{n}") for n in range(count)]
    lines.insert(500, json.dumps({"event_id": "bad", "event_type": "page_view", "event_time": "2150-01-01T00:00:00Z",
                                  "session_id": "clock", "page_type": "home"}))
    log = run.log("log", lines)
    for lake in (None, run.folder / "lake"):
        live = run.run_live(log, ["live.epoch_records=100"], lake)
        run.same("with a lake" if lake else "without a lake", f"{count + 1} {count + 1} 0 0 0", run.accounting(live))
    run.same("sales", str(count), run.cells(live, "sales", "lines"))


def cpu_of(function):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = function()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result


@case("long-session")
def long_session(run):
    """A session whose events come newest first, or in any order, costs no more than thrice."""
    count = 300_000 if run.heavy else 20_000
    answers, seconds = {}, {}
    for mode in ("fore", "back", "mixed"):
        order = list(range(count))
        if mode == "back":
            order.reverse()
        elif mode == "mixed":
            import random
            random.Random(1).shuffle(order)
        lines = []
        for n in order:
            record = {"event_id": f"b{n}", "event_type": "page_view" if n % 3 else "add_to_cart", "session_id": "bot",
                      "event_time": f"2026-03-01T{n // 36000 % 24:02}:{n // 600 % 60:02}:{n // 10 % 60:02}.{n % 10 * 100:03}Z",
                      "product_id": f"p{n % 5000}"}
            lines.append(json.dumps(record | ({"page_type": "product"} if n % 3 else {"quantity": 1})))
        path = run.write(f"{mode}.jsonl", lines)
        seconds[mode], engine = cpu_of(lambda: run.replay(path, name=mode))
        answers[mode] = [engine.query("funnel", ["day"]), engine.query("traffic", ["hour"]),
                         engine.query("related_products", rank_by="n_ab")]
    for mode in ("back", "mixed"):
        run.same(f"answers of {mode}", True, answers[mode] == answers["fore"])
        # What starting costs is no part of it.
        if seconds[mode] > 3 * seconds["fore"] + 0.5:
            run.differences.append(f"{mode} takes {seconds[mode]:.1f} CPU seconds, fore {seconds['fore']:.1f}")
    run.note = ", ".join(f"{mode} {cpu:.1f} s" for mode, cpu in seconds.items())


@case("many-days")
def many_days(run):
    """Thousands of days, with few descriptors and little memory."""
    count, megabytes = (9_000, 400) if run.heavy else (1_500, 250)
    start = datetime.date(1999, 1, 1)
    lines = [purchase(n, event_time=f"{start + datetime.timedelta(days=n * 7919 % count)}T10:00:00Z", session_id=f"s{n}",
                      product_id=f"p{n % 10}", price_paid=1.25) for n in range(count)]
    path = run.write("days.jsonl", lines)
    arguments = [str(run.binary), "replay", str(path), "--data-dir", str(run.folder / "data"), "--workers", "1", "--format", "json"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))  # noqa: E731
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit)
    peak, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            peak = max(peak, int(peaks[0]) // 1024 if peaks else 0)
        except OSError:
            pass
        time.sleep(0.02)
    _, said = process.communicate()
    run.same("exit code", 0, process.returncode)
    if process.returncode:
        run.differences.append(said.decode(errors="replace").strip()[-300:])
        return
    run.note = f"peak {peak} MB"
    if peak >= megabytes:
        run.differences.append(f"peak memory is {peak} MB, {megabytes} are allowed")
    found = run.cells(run.engine(), "sales", "lines order_revenue")
    run.same("sales", [count, Decimal(count) * Decimal("1.25")], [Decimal(cell) for cell in found.split()])


PARQUET = {  # what `extra` must hold
    "map1": {"params": {"utm": "spring"}}, "map2": {"inner": {"m": {"a": 1}, "k": 2}}, "fsl": {"v": [1.5, 2.5]},
    "lom": {"v": [{"a": 1}]}, "time32": {"v": "09:30:00"}, "half": {"v": 1.5},
}


@case("parquet-map")
def parquet_map(run):
    """Every column of a Parquet file is in `extra`, as JSON; a map as an id is of the wrong type."""

    for name, expected in PARQUET.items():
        engine = run.replay(OWN / f"{name}.parquet", name=name)
        run.same(f"{name}: accounting", "1 1 0 0 0", run.accounting(engine))
        files = sorted(map(str, (run.folder / name / "events").rglob("*.parquet")))
        rows = duckdb.sql(f"SELECT extra FROM read_parquet({files})").fetchall() if files else []
        run.same(name, [expected], [json.loads(extra) if extra else None for (extra,) in rows])
    engine = run.replay(OWN / "user_map.parquet", name="user_map")
    run.same("user_map", ["wrong_type user_id"], run.rejected(engine))


BY_DAY = """SELECT CASE WHEN grain = 'cell' THEN CAST(hour AT TIME ZONE 'UTC' AS DATE) ELSE day END AS day, sum(lines), sum(orders)
FROM read_parquet({files}) WHERE grain IN ('cell', 'day') GROUP BY 1 ORDER BY 1"""


@case("columns-without-values")
def columns_without_values(run):
    """A column has one type in every file, whatever the data: files of a shop of one view, one sale or much are read as one."""

    view = {"event_id": "v", "event_type": "page_view", "event_time": "2026-03-01T10:00:00Z", "session_id": "s", "page_type": "home"}
    full = [purchase(n, order_id="o", product_id=f"p{n}", user_id="u", unit_price=2, currency=code, discount_code="d",
                     event_time=f"2026-03-0{n}T10:00:00Z", received_at="2026-03-02T10:00:00Z", note=1)
            for n, code in ((1, "EUR"), (2, "EUR"))]
    full += [json.dumps(view | {"user_id": "u", "product_id": "p1", "page_type": "product", "referrer": "r", "device": "d"}),
             json.dumps({"event_type": "product", "product_id": "p1", "updated_at": "2026-03-01T10:00:00Z", "category": "c", "price": 1}),
             json.dumps({"event_id": "r", "event_type": "refund", "event_time": "2026-03-04T10:00:00Z", "order_id": "o", "amount": 9}), "{"]
    lakes = {"full": full, "one sale": [purchase(1)], "one view": [json.dumps(view)], "rejected": ["{"]}
    types = {}
    for name, lines in lakes.items():
        engine = run.replay(run.write(f"{name}.jsonl", lines), name=name)
        for kind in ("events", "views/*", "quarantine"):
            for folder in sorted(Path(engine.data_dir).glob(kind)):
                for path in sorted(folder.rglob("*.parquet")):
                    described = duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{path}', hive_partitioning = false)").fetchall()
                    types.setdefault(folder.name, {})[name] = [(column[0], column[1]) for column in described]
    for folder, found in types.items():
        for name in found:
            differ = sorted(set(found[name]) ^ set(found["full"])) if "full" in found else []
            run.same(f"{folder} of {name}", [], differ)
    files = [str(path) for name in lakes for path in (run.folder / name / "views" / "sales").rglob("*.parquet")]
    by_day = duckdb.sql(BY_DAY.format(files=sorted(files))).fetchall()
    run.same("sales by day", [("2026-03-01", 2, 2), ("2026-03-02", 1, 1)],
             [(str(day), lines, orders) for day, lines, orders in by_day if lines])


@case("whole-numbers.jsonl")
def whole_numbers(run):
    """`2.0` and `2e0` are whole; ids are their decimal text."""
    engine = run.replay(run.input("whole-numbers.jsonl"))
    run.same("accounting", "4 2 1 1 0", run.accounting(engine))
    run.same("rejected", ["wrong_type quantity"], run.rejected(engine))
    run.same("sales", "4", run.cells(engine, "sales", "units"))


@case("currencies.jsonl")
def currencies(run):
    """A line in every currency of the standard, in its minor unit, and in codes that are none."""
    from decode import PLACES
    lines = [purchase(code, currency=code if n % 2 else code.lower(), price_paid=1.23456789)
             for n, code in enumerate(sorted(PLACES))]
    lines += [purchase(code, currency=code) for code in ("XAU", "XXX", "ABC")]
    engine = run.replay(run.write("currencies.jsonl", lines))
    run.same("accounting", f"{len(lines)} {len(PLACES)} 0 3 0", run.accounting(engine))
    expected = {code: f"{Decimal('1.23456789'):.{places}f}" for code, places in PLACES.items()}
    run.same("sales", expected, run.cells(engine, "sales", "order_revenue", group_by=["currency"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--millrace", required=True, help="the engine's binary")
    parser.add_argument("--cases", default=OWN, help="a folder with the inputs")
    parser.add_argument("--only", help="these rows alone, apart by commas")
    parser.add_argument("--heavy", action="store_true", help="at full size what measures a cost")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(CASES)
    tally = Tally()
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="millrace-case-") as folder:
            run = Case(options, folder)
            try:
                CASES[name](run)
            except (EngineFailed, ValueError, OSError, duckdb.Error) as failure:
                run.differences.append(str(failure))
            tally.check(name, run.differences, f" ({run.note})" if run.note else "")
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(tally.end())


if __name__ == "__main__":
    main()

"""Replays real data sets and compares with reference answers that another engine computed.

    python real.py --millrace BIN --shared DIR [--workers 1,2,3] [--sets uci_online_retail,rees46_sample]

DIR holds uci_online_retail/ and rees46_sample/ (or a data/ with them): events.jsonl.gz, products.jsonl.gz, reference/*.csv[.gz].
Each is replayed as it is, with its events shuffled, and with a tenth of them sent twice, at every number of workers. The
reference's columns are a part of the engine's. The last line is `N passed, M failed`.
"""
import argparse
import csv
import gzip
import json
import math
import random
import sys
import tempfile
from decimal import Decimal, InvalidOperation
from pathlib import Path

from compare import Tally
from engine import Engine, EngineFailed

SALES = [["day"], ["month"], ["day", "category"], ["month", "category"], ["day", "product_id"], ["month", "product_id"]]
SEED = 20101201


def open_text(path):
    return gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else open(
        path, encoding="utf-8", newline="")


def reference(directory, name):
    """(columns, rows) of reference/NAME.csv, packed or not."""
    for path in (directory / "reference" / f"{name}.csv", directory / "reference" / f"{name}.csv.gz"):
        if path.exists():
            with open_text(path) as file:
                rows = list(csv.reader(file))
            return rows[0], rows[1:]
    raise FileNotFoundError(f"{directory / 'reference' / name}.csv or .csv.gz")


def number(text):
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def compare_reference(reference_table, keys, header, rows, floats=(), only=lambda row: True):
    """Every row and column of the reference is the engine's, and the engine has no other rows."""
    columns, expected = reference_table
    missing = [c for c in columns if c not in header]
    if missing:
        return [f"columns {missing} are missing in {','.join(header)}"]
    places = {c: header.index(c) for c in columns}
    found, differences = {}, []
    for row in rows:
        if only({c: row[i] for c, i in places.items()} | {"kind": row[header.index("kind")] if "kind" in header else ""}):
            key = tuple(row[places[k]] for k in keys)
            if key in found:
                differences.append(f"{key} comes twice")
            found[key] = row
    for want in expected:
        want = dict(zip(columns, want))
        key = tuple(want[k] for k in keys)
        row = found.pop(key, None)
        if row is None:
            differences.append(f"{key} is missing; expected {want}")
            continue
        for column in columns:
            if column in keys:
                continue
            cell, value = row[places[column]], want[column]
            if column in floats:
                equal = cell != "" and math.isclose(float(cell), float(value), rel_tol=1e-12, abs_tol=0)
            elif column == "related_id":
                equal = cell == value  # ids are text: 007 is not 7
            else:
                equal = number(cell) == number(value)
            if not equal:
                differences.append(f"{key} {column}: expected {value}, is {cell!r}")
    return differences + [f"{key} should not be there" for key in found]


def quarantined(line):
    """The only fault that these data have: a sold line with a negative price."""
    if '"price_paid":-' not in line:
        return False
    record = json.loads(line)
    return record["quantity"] >= 0 and record["price_paid"] < 0


def variants(directory, scratch):
    """(name, events file, extra copies, extra quarantined) of each way to send one data set."""
    source = directory / "events.jsonl.gz"
    yield "as it is", source, 0, 0
    with open_text(source) as file:
        lines = file.readlines()
    shuffled = lines[:]
    random.Random(SEED).shuffle(shuffled)
    path = scratch / "shuffled.jsonl"
    path.write_bytes("".join(shuffled).encode())
    yield "shuffled", path, 0, 0
    twice = random.Random(SEED + 1).sample(lines, len(lines) // 10)
    path = scratch / "twice.jsonl"
    path.write_bytes("".join(lines + twice).encode())
    yield "a tenth sent twice", path, len(twice), sum(map(quarantined, twice))


def compare_accounting(directory, engine, copies, bad_copies):
    columns, rows = reference(directory, "accounting")
    counts = dict(zip(columns, map(int, rows[0])))
    with open_text(directory / "products.jsonl.gz") as file:
        products = sum(1 for _ in file)
    expected = {"read": counts["records"] + products + copies, "accepted": counts["accepted"] + products,
                "duplicates": copies - bad_copies, "quarantined": counts["quarantined"] + bad_copies, "pending": 0}
    found = engine.accounting()
    return [f"{name}: expected {expected[name]}, is {found[name]}" for name in expected if expected[name] != found[name]]


def judge_one(tally, label, directory, engine, copies, bad_copies):
    tally.attempt(f"{label}: accounting", lambda: compare_accounting(directory, engine, copies, bad_copies))
    for by in SALES:
        tally.attempt(f"{label}: sales by {','.join(by)}", lambda: compare_reference(
            reference(directory, "sales_" + "_".join(by)), by, *engine.query("sales", by)))
    tally.attempt(f"{label}: funnel by day", lambda: compare_reference(
        reference(directory, "funnel_day"), ["day"], *engine.query("funnel", ["day"])))
    together = reference(directory, "viewed_together_top200_by_count")
    listed = {row[together[0].index("product_id")] for row in together[1]}
    tally.attempt(f"{label}: viewed together by n_ab", lambda: compare_reference(
        together, ["product_id", "rank"], *engine.query("related_products", rank_by="n_ab"), floats=("cosine",),
        only=lambda row: row["kind"] == "viewed_together" and row["product_id"] in listed))


def parser_of(description):
    """The options that all who judge real data have."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--millrace", required=True, help="the engine's binary")
    parser.add_argument("--shared", required=True, type=Path, help="the directory of the data sets, or its parent")
    parser.add_argument("--sets", default="uci_online_retail,rees46_sample")
    return parser


def root_of(options):
    """The directory of the data sets."""
    root = options.shared.resolve()
    return root / "data" if (root / "data").is_dir() else root


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--workers", default="1,2,3", help="numbers of workers, separated by commas")
    options = parser.parse_args()
    root = root_of(options)

    tally = Tally()
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="millrace-real-") as scratch:
            for variant, events, copies, bad_copies in variants(root / name, Path(scratch)):
                for workers in map(int, options.workers.split(",")):
                    label = f"{name}, {variant}, {workers} worker(s)"
                    with tempfile.TemporaryDirectory(dir=scratch) as data:
                        engine = Engine(options.millrace, Path(data) / "data")
                        try:
                            engine.replay([root / name / "products.jsonl.gz", events], workers,
                                          ["views.funnel.window=unlimited"])
                        except (EngineFailed, ValueError) as failure:
                            tally.check(f"{label}: replay", [str(failure)])
                            continue
                        judge_one(tally, label, root / name, engine, copies, bad_copies)
    sys.exit(tally.end())


if __name__ == "__main__":
    main()

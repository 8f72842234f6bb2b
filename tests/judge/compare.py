"""Compares every answer of the engine with the judge's, row by row and column by column.

    python compare.py --millrace BIN --data DATADIR [--workers N] [--set k=v …] [--time-zone Z]

DATADIR is what make_data.py writes. Whole numbers, money and texts must be equal; floats within a relative 1e-9. Exit code
1 on any difference; the last line is `N passed, M failed`.
"""
import argparse
import math
import sys
import tempfile
from decimal import Decimal, InvalidOperation
from pathlib import Path

from engine import Engine, EngineFailed, instant
from judge import ANYTHING, SCORES, TOP, Judge, Question, files_of

SHOWN = 5
INSTANT_GROUPS = ("hour", "minute")
MONEY_COLUMNS = ("gross_sales", "discounts", "order_revenue", "returns", "returns_as_sold", "net_sales")


class Tally:
    """Counts checks, prints what failed."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, differences, note=""):
        if differences:
            self.failed += 1
            print(f"FAILED {name}: {len(differences)} difference(s)")
            for difference in differences[:SHOWN]:
                print(f"    {difference}")
        else:
            self.passed += 1
            print(f"ok     {name}{note}")
        sys.stdout.flush()

    def attempt(self, name, differences_of):
        """A question that the engine refuses is a failed check, not the end of the run."""
        try:
            result = differences_of()
        except EngineFailed as failure:
            result = ([str(failure)], "")
        self.check(name, *(result if isinstance(result, tuple) else (result, "")))

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


# --- one value ---------------------------------------------------------------------------------------------------------

def same(expected, cell, relative=1e-9, absolute=0.0):
    """Is the engine's cell the judge's value? An empty cell is null."""
    if expected is ANYTHING:
        return True
    if expected is None or cell == "":
        return expected is None and cell == ""
    try:
        if isinstance(expected, bool):
            return cell == str(expected).lower()
        if isinstance(expected, int):
            return int(cell) == expected
        if isinstance(expected, Decimal):
            return Decimal(cell) == expected
        if isinstance(expected, float):
            return math.isclose(float(cell), expected, rel_tol=relative, abs_tol=absolute)
    except (ValueError, InvalidOperation):
        return False
    return cell == expected


def group_text(column, text):
    """Z and +00:00 are one offset; everything else must be written alike."""
    if column in INSTANT_GROUPS and text.endswith("Z"):
        return text[:-1] + "+00:00"
    return text


# --- tables ------------------------------------------------------------------------------------------------------------

def compare_rows(columns, groups, expected, rows, skip=(), closes=()):
    """Differences of two tables keyed by their first `groups` columns, in no particular order."""
    differences = []
    keyed = {}
    for row in rows:
        if len(row) != len(columns):
            return [f"a row of {len(row)} cells instead of {len(columns)}: {row}"]
        key = tuple(group_text(c, text) for c, text in zip(columns, row[:groups]))
        if key in keyed:
            differences.append(f"{key} comes twice")
        keyed[key] = row[groups:]
    for row in expected:
        key, values = tuple("" if part is None else part for part in row[:groups]), row[groups:]
        cells = keyed.pop(key, None)
        if cells is None:
            differences.append(f"{key} is missing; expected {dict(zip(columns[groups:], map(str, values)))}")
            continue
        for column, value, cell in zip(columns[groups:], values, cells):
            if column in skip:
                continue
            if column in closes and value is not ANYTHING:
                value, cell = value, instant(cell) if cell else None
                if value != cell:
                    differences.append(f"{key} {column}: expected {value} µs, is {cell} µs")
            elif not same(value, cell):
                differences.append(f"{key} {column}: expected {value}, is {cell!r}")
    differences += [f"{key} should not be there: {cells}" for key, cells in keyed.items()]
    return differences


def compare_table(judge, engine, question, query_settings=()):
    groups, values, expected = judge.answer(question)
    header, rows = engine.ask(question, query_settings)
    if header != groups + values:
        return [f"columns: expected {','.join(groups + values)}", f"              is {','.join(header)}"]
    skip, note = (), ""
    if question.view == "funnel":
        watermark = engine.watermark()
        if judge.window is not None and watermark is None:
            skip, note = ("immature_until",), " (immature_until not compared: the replay's report has no watermark)"
        else:
            place = len(groups) + values.index("immature_until")
            still = [r[place] if r[place] is ANYTHING or (r[place] is not None and r[place] > watermark) else None
                     for r in expected] if judge.window is not None else [None] * len(expected)
            expected = [r[:place] + (s,) + r[place + 1:] for r, s in zip(expected, still)]
    expected = ordered(groups + values, expected, question)
    order = [tuple("" if part is None else part for part in row[:len(groups)]) for row in expected]
    if question.view == "traffic" and not question.days and not question.limit:
        # Whether a bucket whose every figure is 0 gets a row is nobody's business (a currency's return of 0.00).
        expected = [r for r in expected if any(r[len(groups):])]
        rows = [r for r in rows if any(Decimal(cell) for cell in r[len(groups):])]
        order = [key for key in order if key in {tuple(row[:len(groups)]) for row in expected}]
    differences = compare_rows(groups + values, len(groups), expected, rows, skip, ("immature_until",))
    found = [tuple(group_text(c, text) for c, text in zip(groups, row)) for row in rows]
    if not differences and found != order:
        place = next(place for place, pair in enumerate(zip(found, order)) if pair[0] != pair[1])
        differences = [f"row {place + 1} should be {order[place]}, is {found[place]}"]
    return differences, note


def ordered(columns, rows, question):
    """Sorted as asked, then by all columns from the left; nulls first, instants as instants, texts by their bytes."""
    def part(column, value):
        if value is None or value is ANYTHING:
            return (0,)
        if column in INSTANT_GROUPS:
            return (1, instant(value))
        return (1, value.encode() if isinstance(value, str) else value)

    def amount(row, name):
        """Amounts of one currency stand together: there is no saying which of two currencies is more."""
        value = part(name, row[columns.index(name)])
        return (row[columns.index("currency")], value) if "currency" in columns and name in MONEY_COLUMNS else value

    rows = sorted(rows, key=lambda row: [part(c, v) for c, v in zip(columns, row)])
    for asked in reversed(question.order_by):
        name, _, direction = asked.partition(":")
        # Equal ones keep their order, in a reversed sort, too.
        rows = sorted(rows, key=lambda row: amount(row, name), reverse=direction == "desc")
    return rows[: question.limit] if question.limit else rows


# --- ranked lists ------------------------------------------------------------------------------------------------------

def compare_ranked(judge, engine, question, query_settings=()):
    """Ranked lists. By n_ab they are exact. By a score, rows whose scores are mathematically so close that the last bit of a
    float decides (1e-12) may stand in either order, unless their counts are the same too: then the smaller id is first."""
    columns = ["kind", "product_id", "rank", "related_id", "n_ab", "n_a", "n_b"] + SCORES
    header, rows = engine.ask(question, query_settings)
    if header != columns:
        return [f"columns: expected {','.join(columns)}", f"              is {','.join(header)}"]
    lists, order = {}, []
    for row in rows:
        key = (row[0], row[1])
        if not order or order[-1] != key:
            order.append(key)
        lists.setdefault(key, []).append(row[2:])
    differences = []
    if len(order) != len(lists):
        differences.append("rows of one product do not stand together")
    for kind in {kind for kind, _ in order}:
        ids = [product.encode() for k, product in order if k == kind]
        if ids != sorted(ids):
            differences.append(f"{kind}: products do not come in the order of their ids")
    for key, candidates in judge.candidates(question).items():
        differences += compare_list(key, candidates, lists.pop(key, []), question.rank_by)
    differences += [f"{key} should have no list: {rows[:2]}" for key, rows in lists.items()]
    return differences


def compare_list(key, candidates, rows, rank_by):
    """One product's list against all of its candidates in the judge's order."""
    score = (["n_ab", "n_a", "n_b"] + SCORES).index(rank_by)
    known = {c[0]: c[1:] for c in candidates}
    wanted = candidates[:TOP]
    if len(rows) != len(wanted):
        return [f"{key}: {len(rows)} rows instead of {len(wanted)}"]
    differences, seen, before = [], set(), None
    for place, ((rank, related, *cells), want) in enumerate(zip(rows, wanted), 1):
        where = f"{key} rank {place}"
        if rank != str(place):
            differences.append(f"{where}: its rank is {rank!r}")
        if related not in known or related in seen:
            differences.append(f"{where}: expected {want[0]!r} ({rank_by} {want[1 + score]}), is {related!r}, "
                               f"{'which comes twice' if related in seen else 'no candidate'}")
            continue
        seen.add(related)
        values = known[related]
        for column, value, cell in zip(["n_ab", "n_a", "n_b"] + SCORES, values, cells):
            if not same(value, cell, absolute=1e-8 if column == "llr" else 0.0):
                differences.append(f"{where} {related!r} {column}: expected {value}, is {cell!r}")
        if related != want[0]:
            close = rank_by != "n_ab" and math.isclose(values[score], want[1 + score], rel_tol=1e-12, abs_tol=1e-10)
            if not close or values[:3] == want[1:4]:
                differences.append(f"{where}: expected {want[0]!r} ({rank_by} {want[1 + score]}), is {related!r} "
                                   f"({values[score]})")
        elif before and before[1][:3] == values[:3] and before[0].encode() > related.encode():
            differences.append(f"{where}: {before[0]!r} and {related!r} tie, the smaller id comes first")
        before = (related, values)
    return differences


# --- the run -----------------------------------------------------------------------------------------------------------

def setting_of(settings, name, default):
    values = [s.split("=", 1)[1] for s in settings if s.split("=", 1)[0] == name]
    return values[-1] if values else default


def judged_run(tally, options, window, questions_of, label=""):
    """One replay, and the questions asked of it."""
    settings = list(options.settings)
    if options.time_zone != "UTC":
        settings.append(f"{options.time_zone_setting}={options.time_zone}")
    if window != setting_of(settings, "views.funnel.window", "24h"):
        settings.append(f"views.funnel.window={window}")
    judge = Judge(files_of(options.data), options.time_zone, window, setting_of(settings, "store.currency", "USD"))
    query_settings = settings if options.set_on_query else ()
    with tempfile.TemporaryDirectory(prefix="millrace-judge-") as directory:
        engine = Engine(options.millrace, Path(directory) / "data")
        try:
            engine.replay([p.resolve() for p in files_of(options.data)], options.workers, settings)
        except (EngineFailed, ValueError) as failure:
            tally.check(f"{label}replay", [str(failure)])
            return
        tally.attempt(f"{label}accounting", lambda: compare_accounting(judge, engine))
        for question in questions_of(judge):
            compare = compare_ranked if question.view == "related_products" else compare_table
            if not options.views or question.view in options.views.split(","):
                tally.attempt(label + question.name, lambda: compare(judge, engine, question, query_settings))
        if not options.views and not label:
            tally.attempt("ranked lists, cut", lambda: compare_cut(engine, query_settings))
            tally.attempt("an unknown value", lambda: compare_unknown(engine, query_settings))


def compare_cut(engine, query_settings):
    """A limit leaves the first rows of the ranked lists, which were judged whole."""
    whole = Question("related_products", rank_by="cosine")
    _, rows = engine.ask(whole, query_settings)
    whole.limit = len(rows) // 2 + 1
    _, first = engine.ask(whole, query_settings)
    return [] if first == rows[: whole.limit] else [f"the first {whole.limit} of {len(rows)} rows are others"]


def compare_unknown(engine, query_settings):
    """A filter that nothing meets leaves no row, and the value that nothing has is named."""
    differences = []
    for view, column in (("sales", "product_id"), ("sales", "category"), ("funnel", "device"), ("quality", "source")):
        question = Question(view, ["day"], where={column: "no such thing"})
        _, rows = engine.ask(question, query_settings)
        differences += [f"{question.name}: {len(rows)} rows"] if rows else []
        differences += [] if "no such thing" in engine.said else [f"{question.name}: nothing is said of it"]
    return differences


def compare_accounting(judge, engine):
    expected, found = judge.accounting() | {"pending": 0}, engine.accounting()
    return [f"{name}: expected {expected[name]}, is {found[name]}" for name in expected if expected[name] != found[name]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--millrace", required=True, help="the engine's binary")
    parser.add_argument("--data", required=True, help="a directory with products.jsonl, users.jsonl and events.jsonl")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="k=v", help="passed to replay")
    parser.add_argument("--set-on-query", action="store_true", help="pass the settings to query too")
    parser.add_argument("--time-zone", default="UTC")
    parser.add_argument("--time-zone-setting", default="store.time_zone", help="the engine's name for it")
    parser.add_argument("--views", help="ask these alone, apart by commas")
    parser.add_argument("--no-filters", action="store_true", help="ask nothing with --where")
    options = parser.parse_args()

    tally = Tally()
    window = setting_of(options.settings, "views.funnel.window", "24h")
    judged_run(tally, options, window,
               lambda judge: judge.questions() + judge.range_questions() + judge.order_questions()
               + ([] if options.no_filters else judge.filter_questions()))
    if window != "unlimited" and not options.views:
        judged_run(tally, options, "unlimited", lambda judge: judge.funnel_questions(), "window unlimited: ")
    sys.exit(tally.end())


if __name__ == "__main__":
    main()

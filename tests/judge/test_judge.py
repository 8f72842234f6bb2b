"""The judge judged: a few answers worked out by hand, and a brute force in plain Python over small generated data.

    python -m unittest discover -s tests/judge
"""
import collections
import contextlib
import datetime
import io
import itertools
import json
import math
import sys
import tempfile
import textwrap
import unittest
import zoneinfo
from decimal import Decimal
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import compare  # noqa: E402
import real  # noqa: E402
from decode import rows_of  # noqa: E402
from judge import Judge, Question, files_of  # noqa: E402
from make_data import make  # noqa: E402

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DAY = 24 * 3_600_000_000


def judge_of(records, **settings):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
        return Judge([path], **settings)


def table(judge, view, group_by=(), columns=None, **more):
    """{group: value or values of the named columns}"""
    groups, values, rows = judge.answer(Question(view, list(group_by), **more))
    places = [len(groups) + values.index(c) for c in columns or values]
    return {row[: len(groups)]: tuple(row[p] for p in places) for row in rows}


def event(number, kind, time, **fields):
    return {"event_id": f"e{number}", "event_type": kind, "event_time": time, **fields}


def sale(number, time, order, product, price, quantity=1, **fields):
    return event(number, "purchase", time, session_id=f"s{order}", order_id=order, product_id=product,
                 quantity=quantity, price_paid=price, **fields)


def product(product_id, time, **fields):
    return {"event_type": "product", "product_id": product_id, "updated_at": time, **fields}


class ByHand(unittest.TestCase):
    def test_half_to_even_once_per_line(self):
        day = "2024-03-01T10:00:00Z"
        judge = judge_of([sale(1, day, "a", "p", 0.125), sale(2, day, "a", "p", 0.135), sale(3, day, "a", "p", 0.1251),
                          sale(4, day, "b", "p", -2.5, quantity=-1, currency="JPY"),
                          sale(5, day, "b", "p", 3.5, currency="JPY"), sale(6, day, "b", "p", 1.0005, currency="KWD")])
        found = table(judge, "sales", columns=["order_revenue", "returns"])
        self.assertEqual(found, {("USD",): (Decimal("0.39"), 0), ("JPY",): (4, 2), ("KWD",): (Decimal("1"), 0)})

    def test_category_now_and_then(self):
        judge = judge_of([
            product("p", "2024-03-02T00:00:00Z", category="first"), product("p", "2024-03-04T00:00:00Z", category="lost"),
            product("p", "2024-03-04T00:00:00Z", category="second"), product("p", "2024-03-06T00:00:00Z", deleted=True),
            product("q", "2024-03-02T00:00:00Z", deleted=True), product("q", "2024-03-03T00:00:00Z"),
            sale(1, "2024-03-01T00:00:00Z", "a", "p", 1), sale(2, "2024-03-03T23:59:59.999999Z", "a", "p", 2),
            sale(3, "2024-03-04T00:00:00Z", "a", "p", 4), sale(4, "2024-03-07T00:00:00Z", "a", "p", 8),
            sale(5, "2024-03-07T00:00:00Z", "a", "q", 16), sale(6, "2024-03-07T00:00:00Z", "a", "r", 32)])
        self.assertEqual(table(judge, "sales", ["category"], ["order_revenue", "orders"]),
                         {("second",): (15, 1), ("(none)",): (16, 1), ("(unknown)",): (32, 1)})
        self.assertEqual(table(judge, "sales", ["category_as_was"], ["order_revenue", "orders"]),
                         {("first",): (3, 1), ("second",): (12, 1), ("(none)",): (16, 1), ("(unknown)",): (32, 1)})

    def test_an_old_copy_of_a_version_changes_nothing(self):
        day = "2024-03-02T00:00:00Z"
        judge = judge_of([product("p", day, category="A"), product("p", day, category="B"), product("p", day, category="A"),
                          sale(1, day, "a", "p", 1)])
        self.assertEqual(table(judge, "sales", ["category"], ["lines"]), {("B",): (1,)})
        self.assertEqual(judge.accounting(), {"read": 4, "accepted": 3, "duplicates": 1, "quarantined": 0})

    def test_returns_as_sold(self):
        judge = judge_of([
            sale(1, "2024-03-01T00:00:00Z", "a", "p", 10), sale(2, "2024-03-02T00:00:00Z", "a", "q", 10),
            event(3, "refund", "2024-03-05T00:00:00Z", order_id="a", product_id="q", quantity=1, amount=1),
            event(4, "refund", "2024-03-05T00:00:00Z", order_id="a", product_id="r", quantity=1, amount=2),
            event(5, "refund", "2024-03-05T00:00:00Z", order_id="?", product_id="p", quantity=1, amount=4),
            sale(6, "2024-03-06T00:00:00Z", "a", "p", -8, quantity=-3)])
        found = table(judge, "sales", ["day"], ["lines", "units_returned", "returns", "returns_as_sold", "net_sales"])
        self.assertEqual(found, {("2024-03-01",): (1, 0, 0, 10, 10), ("2024-03-02",): (1, 0, 0, 1, 10),
                                 ("2024-03-05",): (0, 3, 7, 4, -7), ("2024-03-06",): (0, 3, 8, 0, -8)})
        self.assertEqual(table(judge, "sales", ["product_id"], ["returns_as_sold"]),
                         {("p",): (12,), ("q",): (1,), ("r",): (2,)})

    def test_discounts_and_quantity_zero(self):
        day = "2024-03-01T10:00:00Z"
        judge = judge_of([sale(1, day, "a", "p", 8, quantity=2, unit_price=5), sale(2, day, "a", "p", 3),
                          sale(3, day, "b", "p", 1, quantity=0, unit_price=7)])
        found = table(judge, "sales", columns=["lines", "orders", "units", "gross_sales", "discounts", "average_order_value"])
        self.assertEqual(found, {(): (3, 2, 3, 13, 1, 6.0)})

    def test_the_clock_of_london(self):
        judge = judge_of([sale(1, "2024-10-26T23:30:00Z", "a", "p", 1), sale(2, "2024-10-27T00:30:00Z", "a", "p", 2),
                          sale(3, "2024-10-27T01:30:00Z", "a", "p", 4)], time_zone="Europe/London")
        self.assertEqual(table(judge, "sales", ["hour"], ["order_revenue"]), {
            ("2024-10-27T00:00:00+01:00",): (1,), ("2024-10-27T01:00:00+01:00",): (2,), ("2024-10-27T01:00:00+00:00",): (4,)})
        self.assertEqual(set(table(judge, "sales", ["day"])), {("2024-10-27",)})
        closes = table(judge, "funnel", ["day"], ["immature_until"])[("2024-10-27",)][0]
        self.assertEqual(EPOCH + datetime.timedelta(microseconds=closes),
                         datetime.datetime(2024, 10, 29, tzinfo=datetime.timezone.utc))

    def test_a_refund_of_a_whole_order(self):
        judge = judge_of([
            product("p", "2024-03-01T00:00:00Z", category="tea"), sale(1, "2024-03-02T00:00:00Z", "a", "p", 30, quantity=3),
            sale(2, "2024-03-01T00:00:00Z", "a", "q", 1), sale(3, "2024-03-03T00:00:00Z", "a", "p", 1),
            event(4, "refund", "2024-03-05T00:00:00Z", order_id="a", amount=4.90, quantity=7),
            event(5, "refund", "2024-03-06T00:00:00Z", order_id="?", amount=1)])
        columns = ["lines", "units_returned", "returns", "returns_as_sold", "net_sales"]
        for by in ("product_id", "category", "category_as_was"):
            self.assertEqual(table(judge, "sales", [by], columns)[("(none)",)],
                             (0, 0, Decimal("5.9"), Decimal("5.9"), Decimal("-5.9")))
        found = {day: values[2:4] for (day,), values in table(judge, "sales", ["day"], columns).items()}
        self.assertEqual(found, {"2024-03-01": (0, Decimal("4.9")), "2024-03-02": (0, 0), "2024-03-03": (0, 0),
                                 "2024-03-05": (Decimal("4.9"), 0), "2024-03-06": (1, 1)})
        self.assertEqual(table(judge, "quality", ["rule"], ["warned"])[("returned_more_than_paid",)], (1,))

    def hours(self, zone, times):
        judge = judge_of([event(n, "page_view", time, session_id=f"s{n}", page_type="home") for n, time in enumerate(times)],
                         time_zone=zone)
        found = table(judge, "traffic", ["hour"], ["page_views"])
        days = {day for (day,) in table(judge, "traffic", ["day"])}
        self.assertEqual({hour[:10] for (hour,) in found}, days)
        return [f"{hour} {count}" for (hour,), (count,) in sorted(found.items(), key=lambda row: compare.instant(row[0][0]))]

    def test_hours_that_begin_within_an_hour(self):
        self.assertEqual(self.hours("Australia/Lord_Howe", [
            "2026-04-04T14:10:00Z", "2026-04-04T14:50:00Z", "2026-04-04T15:10:00Z", "2026-04-04T15:40:00Z",
            "2026-10-03T15:10:00Z", "2026-10-03T15:40:00Z", "2026-10-03T16:10:00Z"]), [
            "2026-04-05T01:00:00+11:00 2", "2026-04-05T01:30:00+10:30 1", "2026-04-05T02:00:00+10:30 1",
            "2026-10-04T01:00:00+10:30 1", "2026-10-04T02:30:00+11:00 1", "2026-10-04T03:00:00+11:00 1"])
        self.assertEqual(self.hours("Asia/Kathmandu", ["1985-12-31T18:29:59Z", "1985-12-31T18:30:00Z", "1985-12-31T19:15:00Z"]),
                         ["1985-12-31T23:00:00+05:30 1", "1986-01-01T00:15:00+05:45 1", "1986-01-01T01:00:00+05:45 1"])
        self.assertEqual(self.hours("Pacific/Chatham", ["2026-04-04T13:50:00Z", "2026-04-04T14:05:00Z", "2026-04-04T14:20:00Z"]),
                         ["2026-04-05T03:00:00+13:45 1", "2026-04-05T02:45:00+12:45 1", "2026-04-05T03:00:00+12:45 1"])
        self.assertEqual(self.hours("America/Goose_Bay", ["2010-11-07T03:00:30Z", "2010-11-07T03:01:00Z", "2010-11-07T04:00:00Z"]),
                         ["2010-11-07T00:00:00-03:00 1", "2010-11-06T23:01:00-04:00 1", "2010-11-07T00:00:00-04:00 1"])
        self.assertEqual(self.hours("Pacific/Apia", ["2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z"]),
                         ["2011-12-29T23:00:00-10:00 1", "2011-12-31T00:00:00+14:00 1"])

    def test_ranges_are_filled(self):
        judge = judge_of([sale(1, "2024-03-02T10:00:00Z", "a", "p", 1), sale(2, "2024-03-04T10:00:00Z", "b", "p", -1),
                          sale(3, "2024-03-04T10:00:00Z", "b", "p", 2, currency="eur")])
        days = ("2024-03-01", "2024-03-04")
        self.assertEqual(table(judge, "sales", ["day"], ["lines", "order_revenue"], days=days),
                         {(c, f"2024-03-0{d}"): ((1, 1) if (c, d) == ("USD", 2) else (1, 2) if (c, d) == ("EUR", 4) else (0, 0))
                          for c in ("USD", "EUR") for d in range(1, 5)})
        self.assertEqual(len(table(judge, "sales", ["hour"], days=days)), 2 * 4 * 24)
        self.assertEqual(table(judge, "sales", ["month"], ["lines"], days=("2024-02-28", "2024-04-01")),
                         {(c, m): (int(m == "2024-03"),) for c in ("USD", "EUR") for m in ("2024-02", "2024-03", "2024-04")})
        received = [dict(sale(n, "2024-03-02T10:00:00Z", "a", "p", price), received_at=f"2024-03-0{day}T10:00:00Z")
                    for n, (day, price) in enumerate([(2, 1), (3, 1), (3, -1)])]
        self.assertEqual(table(judge_of(received), "quality", ["day"], ["read", "quarantined", "late"],
                               where={"rule": "negative_price"}, days=days),
                         {("2024-03-01",): (0, 0, 0), ("2024-03-02",): (1, 0, 0), ("2024-03-03",): (2, 1, 0),
                          ("2024-03-04",): (0, 0, 0)})
        apia = judge_of([event(1, "page_view", "2011-12-30T09:00:00Z", session_id="s", page_type="home")], time_zone="Pacific/Apia")
        self.assertEqual(sorted(table(apia, "traffic", ["day"], ["page_views"], days=("2011-12-29", "2011-12-31"))),
                         [("2011-12-29",), ("2011-12-31",)])

    def test_quality(self):
        judge = judge_of([
            event(1, "page_view", "2024-03-01T10:00:00Z", session_id="s", page_type="teapot", product_id="p",
                  received_at="2024-03-01T10:10:00.000001Z"),
            event(1, "page_view", "2024-03-01T10:00:00Z", session_id="s", page_type="teapot", product_id="p"), "{",
            event(2, "page_view", "2024-03-01T11:00:00Z", session_id="s"),
            event(3, "page_view", "2024-03-01T11:00:00Z", session_id="s", received_at="2024-03-01T11:30:00Z"),
            event(1, "page_view", "2024-03-01T12:00:00Z", session_id="s", page_type="home")])
        found = {(hour and hour[11:13], rule): values for (hour, rule), values in
                 table(judge, "quality", ["hour", "rule"], ["read", "quarantined", "late", "warned"]).items()}
        self.assertEqual(found, {
            ("10", "late"): (2, 0, 1, 0), ("10", "unknown_page_type"): (2, 0, 0, 1), ("10", "unknown_product"): (2, 0, 0, 1),
            (None, "malformed_json"): (2, 1, 0, 0), (None, "missing_field"): (2, 1, 0, 0),
            ("11", "missing_field"): (1, 1, 0, 0), ("12", "id_conflict"): (1, 1, 0, 0)})

    def funnel_of(self, steps, **settings):
        kinds = {"v": ("page_view", {"page_type": "home"}), "p": ("page_view", {"page_type": "product", "product_id": "x"}),
                 "c": ("add_to_cart", {"product_id": "x", "quantity": 1}), "o": ("checkout_started", {}),
                 "k": ("page_view", {"page_type": "checkout"}),
                 "b": ("purchase", {"product_id": "x", "quantity": 1, "price_paid": 1, "order_id": "a"})}
        start = datetime.datetime(2024, 3, 1)
        records = []
        for number, (letter, seconds) in enumerate(steps):
            kind, fields = kinds[letter]
            time = (start + datetime.timedelta(seconds=seconds)).isoformat() + "Z"
            records.append(event(number, kind, time, session_id="s", **fields))
        (row,) = table(judge_of(records, **settings), "funnel",
                       columns=[f"ordered_{s}" for s in ("view", "product_view", "cart", "checkout", "purchase")]).values()
        return "".join(map(str, row))

    def test_ordered_steps(self):
        for steps, ordered in [
                ([("p", 0), ("c", 0), ("b", 0)], "11101"), ([("b", 0), ("c", 0), ("p", 0)], "11101"),
                ([("p", 0), ("b", 1), ("c", 2)], "11100"), ([("c", 0), ("p", 1), ("v", 2)], "11000"),
                ([("p", 0), ("k", 0), ("c", 1), ("b", 2)], "11101"), ([("p", 0), ("c", 1), ("k", 1)], "11110"),
                ([("p", 0), ("c", 1), ("b", 86400)], "11101"), ([("p", 0), ("c", 1), ("b", 86400.000001)], "11100"),
                ([("v", 0), ("p", 1), ("c", 2), ("b", 86400.5)], "11101"),  # from the product page at 1 it fits
                ([("v", 0), ("p", 90000)], "11000"), ([("v", 0), ("c", 90000)], "10000"),
                ([("p", 0), ("c", 1), ("o", 90000), ("b", 90001)], "11100"), ([("b", 0)], "00000")]:
            self.assertEqual(self.funnel_of(steps), ordered, steps)
        self.assertEqual(self.funnel_of([("p", 0), ("c", 1), ("b", 10 ** 6)], window="unlimited"), "11101")

    def test_accounting(self):
        good = sale(1, "2024-03-01T00:00:00Z", "a", "p", 1)
        judge = judge_of([good, dict(reversed(good.items())), good | {"user_id": None}, good | {"quantity": 2}, "{", "[]",
                          sale(2, "2024-03-01T00:00:00Z", "a", "p", -1), sale(2, "2024-03-01T00:00:00Z", "a", "p", 1),
                          sale(3, "2024-02-30T00:00:00Z", "a", "p", 1), good | {"event_id": ""}])
        self.assertEqual(judge.accounting(), {"read": 10, "accepted": 2, "duplicates": 2, "quarantined": 6})


# --- brute force -------------------------------------------------------------------------------------------------------

class Naive:
    """The definitions again, record by record, in Python."""

    def __init__(self, directory, zone, window):
        self.zone, self.window = zoneinfo.ZoneInfo(zone), window
        self.counts = collections.Counter()
        claims, self.events, self.versions, seen = {}, [], collections.defaultdict(dict), set()
        for row in rows_of(files_of(directory)):  # decoding is judged in test_decode.py
            self.counts["read"] += 1
            record = {name: value for name, value in row.items() if value is not None}
            if "rule" in record:
                self.counts["quarantined"] += 1
            elif record["event_type"] in ("product", "user", "inventory"):
                self.counts["duplicates" if record["content"] in seen else "accepted"] += 1
                if record["content"] not in seen and record["event_type"] == "product":
                    self.versions[record["product_id"]][record["updated_at"]] = record
                seen.add(record["content"])
            elif record["event_id"] not in claims:
                claims[record["event_id"]] = record["content"]
                self.counts["accepted"] += 1
                self.events.append(record)
            else:
                self.counts["duplicates" if claims[record["event_id"]] == record["content"] else "quarantined"] += 1
        self.histories = {}
        for product_id, versions in self.versions.items():
            history, category = [], "(none)"
            for time in sorted(versions):
                own = versions[time].get("category")
                if own or not versions[time].get("deleted"):
                    category = own or "(none)"
                history.append((time, category))
            self.histories[product_id] = history

    @staticmethod
    def time(text):
        return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)

    def day(self, t):
        return (EPOCH + datetime.timedelta(microseconds=t)).astimezone(self.zone).date().isoformat()

    def category(self, product_id):
        if product_id is None:
            return "(none)"
        return self.histories[product_id][-1][1] if product_id in self.histories else "(unknown)"

    def category_as_was(self, product_id, t):
        if product_id is None:
            return "(none)"
        history = self.histories.get(product_id)
        return ([history[0]] + [v for v in history if v[0] <= t])[-1][1] if history else "(unknown)"

    def sales(self, group):
        """{group(time, product, currency): [lines, orders, units, returned, gross, revenue, returns, as sold]}"""
        sums = collections.defaultdict(lambda: [0, set(), 0, 0, 0, 0, 0, 0])
        sold = [e for e in self.events if e["event_type"] == "purchase" and e["quantity"] >= 0]
        of_order, of_line = {}, {}
        for e in sold:
            for where, key in ((of_order, e["order_id"]), (of_line, (e["order_id"], e["product_id"]))):
                where[key] = min(e["t"], where.get(key, e["t"]))
        for e in self.events:
            if e["event_type"] not in ("purchase", "refund"):
                continue
            currency, product_id = e["currency"], e.get("product_id")

            def money(value):
                return Decimal(value) / 10_000

            row = sums[group(e["t"], product_id, currency)]
            if e["event_type"] == "purchase" and e["quantity"] >= 0:
                row[0] += 1
                row[1].add(e["order_id"])
                row[2] += e["quantity"]
                row[4] += money(e["unit_price"]) * e["quantity"] if "unit_price" in e else money(e["price_paid"])
                row[5] += money(e["price_paid"])
                continue
            refund = e["event_type"] == "refund"
            amount = money(e["amount"]) if refund else -money(e["price_paid"])
            row[3] += 0 if product_id is None else e["quantity"] if refund else -e["quantity"]
            row[6] += amount
            then = of_line.get((e["order_id"], product_id), of_order.get(e["order_id"], e["t"]))
            sums[group(then, product_id, currency)][7] += amount
        return {k: tuple([v[0], len(v[1])] + v[2:]) for k, v in sums.items()}

    def sessions(self):
        sessions = collections.defaultdict(list)
        for e in self.events:
            if e["event_type"] != "refund":
                sessions[e["session_id"]].append(e)
        return sessions

    @staticmethod
    def steps(e):
        kind, page = e["event_type"], e.get("page_type")
        return {"view": kind == "page_view", "product_view": kind == "page_view" and page == "product_detail",
                "cart": kind == "add_to_cart", "purchase": kind == "purchase" and e["quantity"] >= 0,
                "checkout": kind == "checkout_started" or (kind == "page_view" and page == "checkout")}

    def funnel(self):
        """{day: [sessions, reached ×5, ordered ×5, abandoned]} and {day: [seconds in µs]} by trying every chain."""
        names = ["view", "product_view", "cart", "checkout", "purchase"]
        counts, spans = collections.defaultdict(lambda: [0] * 12), collections.defaultdict(list)
        for events in self.sessions().values():
            day = self.day(min(e["t"] for e in events))
            times = {n: sorted({e["t"] for e in events if self.steps(e)[n]}) for n in names}
            row = counts[day]
            row[0] += 1
            for i, n in enumerate(names):
                row[1 + i] += bool(times[n])
            row[11] += bool(times["cart"]) and not times["purchase"]
            chains = {("view",): [(t,) for t in times["view"]]}
            for path in (("view", "product_view"), ("view", "product_view", "cart"),
                         ("view", "product_view", "cart", "checkout"), ("view", "product_view", "cart", "purchase")):
                chains[path] = [c + (t,) for c in chains[path[:-1]] for t in times[path[-1]]
                                if t >= c[-1] and (self.window is None or t - c[0] <= self.window)]
            for path, found in chains.items():
                row[6 + names.index(path[-1])] += bool(found)
            if chains[path]:
                first = min(c[0] for c in chains[path])
                spans[day].append(min(c[-1] - first for c in chains[path] if c[0] == first))
        return counts, spans

    def baskets(self, kind):
        baskets = collections.defaultdict(dict)
        for e in self.events:
            if kind == "bought_together":
                touch = e["event_type"] == "purchase"
            else:
                touch = "product_id" in e and (self.steps(e)["product_view"] or e["event_type"] in ("add_to_cart", "purchase"))
            if touch:
                basket = baskets[e["order_id" if kind == "bought_together" else "session_id"]]
                basket[e["product_id"]] = max(e["t"], basket.get(e["product_id"], e["t"]))
        return [sorted(b, key=lambda p: (-b[p], p.encode()))[:50] for b in baskets.values()]


def dunning(k11, k12, k21, k22):
    def h(*ks):
        return sum(k * math.log(k) for k in ks if k)
    return 2 * (h(k11, k12, k21, k22) + h(k11 + k12 + k21 + k22) - h(k11 + k12, k21 + k22) - h(k11 + k21, k12 + k22))


class BruteForce(unittest.TestCase):
    def test_generated_data(self):
        for seed, currencies, zone, window in [(1, True, "Europe/London", "24h"), (2, False, "UTC", "24h"),
                                               (3, False, "Europe/London", "unlimited")]:
            with self.subTest(seed=seed), tempfile.TemporaryDirectory() as directory:
                make(directory, seed, 2500, currencies)
                self.compare(Judge(files_of(directory), zone, window),
                             Naive(directory, zone, DAY if window == "24h" else None), currencies)

    def compare(self, judge, naive, currencies):
        self.assertEqual(judge.accounting(), dict(naive.counts))
        self.assertGreater(min(judge.accounting().values()), 30)
        self.sales(judge, naive, currencies)
        self.funnel(judge, naive)
        self.related(judge, naive)
        self.traffic(judge, naive, currencies)

    def sales(self, judge, naive, currencies):
        columns = ["lines", "orders", "units", "units_returned", "gross_sales", "order_revenue", "returns", "returns_as_sold"]
        parts = {"day": lambda t, p: naive.day(t), "month": lambda t, p: naive.day(t)[:7], "product_id": lambda t, p: p or "(none)",
                 "category": lambda t, p: naive.category(p), "category_as_was": lambda t, p: naive.category_as_was(p, t)}
        for by in ([], ["day"], ["month", "category"], ["day", "product_id", "category_as_was"],
                   ["category", "category_as_was"]):
            found = naive.sales(lambda t, p, c: ((c,) if currencies else ()) + tuple(parts[b](t, p) for b in by))
            self.assertEqual(table(judge, "sales", by, columns), found, by)

    def funnel(self, judge, naive):
        counts, spans = naive.funnel()
        steps = ["view", "product_view", "cart", "checkout", "purchase"]
        columns = ["sessions"] + [f"{how}_{s}" for how in ("reached", "ordered") for s in steps] + ["carts_abandoned"]
        self.assertEqual(table(judge, "funnel", ["day"], columns), {(d,): tuple(c) for d, c in counts.items()})
        found = table(judge, "funnel", ["day"], [f"{w}_seconds_to_purchase" for w in ("median", "p90", "mean")])
        for day in counts:
            answers = sorted(0 if d == 0 else 1.05 ** (math.floor(math.log(d) / math.log(1.05)) + 0.5) / 1e6
                             for d in spans[day])
            n = len(answers)
            want = (answers[-(-n // 2) - 1], answers[-(-n * 9 // 10) - 1], sum(answers) / n) if n else (None,) * 3
            for is_, should in zip(found[(day,)], want):
                self.assertTrue(is_ == should or math.isclose(is_, should, rel_tol=1e-12), (day, is_, should))
        first = collections.Counter()
        for events in naive.sessions().values():
            seen = [(e["t"], e["product_id"].encode(), e["product_id"]) for e in events
                    if naive.steps(e)["product_view"] and e.get("product_id")]
            first[(naive.category(min(seen)[2]) if seen else "(none)",)] += 1
        self.assertEqual({k: v[0] for k, v in table(judge, "funnel", ["category"], ["sessions"]).items()}, dict(first))
        for name in ("referrer", "device"):
            first = collections.Counter()
            for events in naive.sessions().values():
                seen = [(e["t"], e[name].encode(), e[name]) for e in events if naive.steps(e)["view"] and e.get(name)]
                first[(min(seen)[2] if seen else "(none)",)] += 1
            self.assertEqual({k: v[0] for k, v in table(judge, "funnel", [name], ["sessions"]).items()}, dict(first))

    def related(self, judge, naive):
        want = {by: [] for by in ("n_ab", "cosine", "jaccard", "lift", "llr")}
        capped = 0
        for kind in ("bought_together", "viewed_together"):
            baskets = naive.baskets(kind)
            capped += sum(len(b) == 50 for b in baskets)
            single, pairs = collections.Counter(), collections.Counter()
            for basket in baskets:
                single.update(basket)
                pairs.update(itertools.permutations(basket, 2))
            of = collections.defaultdict(list)
            for (a, b), n_ab in pairs.items():
                of[a].append((-n_ab, b.encode(), b))
            for a in sorted(of, key=str.encode):
                rows = []
                for minus, _, b in sorted(of[a])[:200]:
                    n_ab, n_a, n_b = -minus, single[a], single[b]
                    rows.append((b, n_ab, n_a, n_b, n_ab / math.sqrt(n_a * n_b), n_ab / (n_a + n_b - n_ab),
                                 n_ab * len(baskets) / (n_a * n_b),
                                 dunning(n_ab, n_a - n_ab, n_b - n_ab, len(baskets) - n_a - n_b + n_ab)))
                for by, place in (("n_ab", 1), ("cosine", 4), ("jaccard", 5), ("lift", 6), ("llr", 7)):
                    ranked = sorted((r for r in rows if by == "n_ab" or r[1] >= 3),
                                    key=lambda r: (-round(r[place], 9), r[0].encode()))[:10]
                    want[by] += [(kind, a, i, *row) for i, row in enumerate(ranked, 1)]
        self.assertGreater(capped, 1)
        for by, rows in want.items():
            found = judge.answer(Question("related_products", rank_by=by))[2]
            self.assertEqual([r[:3] for r in found], [r[:3] for r in rows], by)
            place = 4 if by == "n_ab" else 7 + ["cosine", "jaccard", "lift", "llr"].index(by)
            for is_, should in zip(found, rows):
                self.assertTrue(math.isclose(is_[place], should[place], rel_tol=1e-8, abs_tol=1e-8), (by, is_, should))
                if is_[3] == should[3]:
                    self.assertEqual(is_[:7], should[:7])
                    self.assertTrue(all(math.isclose(x, y, rel_tol=1e-8, abs_tol=1e-8) for x, y in zip(is_[7:], should[7:])))

    def traffic(self, judge, naive, currencies):
        want = collections.defaultdict(lambda: [0, 0, 0, set(), set(), 0])
        for e in naive.events:
            if e["event_type"] == "refund":
                continue
            key = (("(none)",) if currencies else ()) + (naive.day(e["t"]),)
            want[key][0] += e["event_type"] == "page_view"
            want[key][1] += e["event_type"] == "add_to_cart"
            want[key][3].add(e["session_id"])
            want[key][4] |= {e["user_id"]} if "user_id" in e else set()
        for key, row in naive.sales(lambda t, p, c: ((c,) if currencies else ()) + (naive.day(t),)).items():
            if row[0] or row[3] or row[6]:  # a day on which only returns_as_sold falls is no day of traffic
                want[key][2] += row[0]
                want[key][5] += row[5] - row[6]
        self.assertEqual(table(judge, "traffic", ["day"]),
                         {k: (*v[:3], len(v[3]), len(v[4]), v[5]) for k, v in want.items()})


# --- the comparison itself can fail ------------------------------------------------------------------------------------

STUB = """\
    #!{python}
    import csv, json, os, pathlib, sys
    sys.path.insert(0, {here!r})
    from compare import ordered
    from judge import Judge, Question
    a = sys.argv[1:]
    take = lambda name, default=None: a[a.index(name) + 1] if name in a else default
    data = pathlib.Path(take("--data-dir"))
    if a[0] == "replay":
        data.mkdir(parents=True)
        files = a[1:a.index("--data-dir")]
        sets = dict(s.split("=") for n, s in zip(a, a[1:]) if n == "--set")
        (data / "asked.json").write_text(json.dumps([files, sets]))
    files, sets = json.loads((data / "asked.json").read_text())
    judge = Judge(files, sets.get("store.time_zone", "UTC"), sets.get("views.funnel.window", "24h"))
    if a[0] == "replay":
        print(json.dumps({{"epoch": 3, "accounting": judge.accounting() | {{"pending": 0}}}}))
        sys.exit()
    where = dict(w.split("=", 1) for n, w in zip(a, a[1:]) if n == "--where")
    listed = lambda name: [part for part in take(name, "").split(",") if part]
    days = (take("--from"), take("--to")) if "--from" in a else None
    question = Question(a[1], listed("--group-by"), take("--rank-by"), where, days, listed("--order-by"), int(take("--limit", 0)))
    groups, values, rows = judge.answer(question)
    if a[1] != "related_products":
        rows = ordered(groups + values, rows, question)
    rows = [list(row) for row in rows[:question.limit or None]]
    if not rows:
        print(where, file=sys.stderr)
    if "immature_until" in values:
        for row in rows:
            row[len(groups) + values.index("immature_until")] = None
    writer = csv.writer(sys.stdout)
    writer.writerows([groups + values] + rows)
"""


QUESTIONS = {
    "questions": lambda judge: [
        Question("sales", ["hour", "category"]), Question("sales"), Question("funnel", ["day"]),
        Question("related_products", rank_by="n_ab"), Question("related_products", rank_by="cosine"),
        Question("traffic", ["minute"]), Question("quality", ["day", "rule"])],
    "range_questions": lambda judge: [Question("sales", ["day"], days=("2024-11-01", "2024-11-20"))],
    "order_questions": lambda judge: [Question("traffic", ["hour"], order_by=["page_views:desc"], limit=9)],
    "filter_questions": lambda judge: judge_filters(judge)[:2],
    "funnel_questions": lambda judge: [Question("funnel", ["month"])],
}


class Faulty(compare.Engine):
    """An engine that answers as the judge does, but for a fault."""

    judges, fault = {}, ""

    def replay(self, files, workers, settings=()):
        sets = dict(setting.split("=", 1) for setting in settings)
        asked = (tuple(files), sets["store.time_zone"], sets.get("views.funnel.window", "24h"))
        if asked not in self.judges:
            self.judges[asked] = Judge(*asked)
        self.judge = self.judges[asked]
        self.report = self.judge.accounting()

    def watermark(self):
        return 2 ** 62

    def query(self, view, group_by=(), rank_by=None, where=None, settings=(), days=None, order_by=(), limit=None):
        question = Question(view, list(group_by), rank_by, where or {}, days, list(order_by), limit)
        groups, values, rows = self.judge.answer(question)
        if view != "related_products":
            rows = compare.ordered(groups + values, rows, question)
        self.said = "" if rows else str(where)
        names = {"view": view, "question": question, "groups": groups, "values": list(values), "engine": self,
                 "EngineFailed": compare.EngineFailed,
                 "rows": [list(row) for row in rows[:limit]]}
        if "immature_until" in values:
            for row in names["rows"]:
                row[len(groups) + values.index("immature_until")] = None
        exec(self.fault, names)
        text = lambda cell: "" if cell is None else str(cell)  # noqa: E731
        return names["groups"] + names["values"], [[text(cell) for cell in row] for row in names["rows"]]


class Comparison(unittest.TestCase):
    def run_compare(self, binary, data):
        output = io.StringIO()
        arguments = ["compare.py", "--millrace", binary, "--data", str(data), "--time-zone", "Europe/London"]
        with mock.patch("sys.argv", arguments), contextlib.redirect_stdout(output), \
                mock.patch.multiple(Judge, **QUESTIONS), self.assertRaises(SystemExit) as end:
            compare.main()
        return end.exception.code, output.getvalue()

    def test_equal_answers_pass(self):
        with tempfile.TemporaryDirectory() as directory:
            make(Path(directory) / "data", 5, 300, True)
            stub = Path(directory) / "stub"
            stub.write_text(textwrap.dedent(STUB).format(python=sys.executable, here=str(HERE)))
            stub.chmod(0o755)
            code, text = self.run_compare(str(stub), Path(directory) / "data")
            self.assertEqual((code, text.splitlines()[-1]), (0, "16 passed, 0 failed"), text)

    def test_every_kind_of_difference_fails(self):
        with tempfile.TemporaryDirectory() as directory:
            make(Path(directory), 5, 600, True)
            for fault, failures in [
                    ("", 0), ("values[-1] += 'x'", 12), ("rows[-1:] = []", 13), ("rows += rows[:1] or [[]]", 14),
                    ("rows.reverse()", 13), ("if view == 'traffic': rows.insert(0, rows.pop())", 2),
                    ("if view == 'sales' and rows: rows[-1][len(groups) + 8] += 1", 5),
                    ("if view == 'traffic': rows[-1][-3] += 1", 2), ("if view == 'funnel' and rows: rows[0][-5] = 17.5", 2),
                    ("if view == 'quality' and rows: rows[-1][-2] += 1", 1), ("if question.limit: del rows[-1]", 2),
                    ("if question.filled: rows[:] = [row for row in rows if any(row[2:-1])]", 1),
                    ("if view == 'related_products': other = next(row for row in rows if row[3] != rows[0][3]); "
                     "rows[0][3], other[3] = other[3], rows[0][3]", 2),
                    ("engine.said = ''", 1), ("if view == 'funnel': raise EngineFailed('away')", 3)]:
                with self.subTest(fault=fault), mock.patch.object(Faulty, "fault", fault), mock.patch.object(compare, "Engine", Faulty):
                    code, text = self.run_compare("none", directory)
                    self.assertEqual((code, text.splitlines()[-1]), (int(failures > 0), f"{16 - failures} passed, {failures} failed"),
                                     "\n".join(line for line in text.splitlines() if not line.startswith("ok")))

    def test_open_windows_are_those_after_the_watermark(self):
        judge = judge_of([event(n, "page_view", f"2024-03-0{n}T10:00:00Z", session_id=f"s{n}", page_type="home")
                          for n in (1, 2, 3)])
        groups, values, rows = judge.answer(Question("funnel", ["day"]))
        for cells, differences in [(["", "2024-03-04T00:00:00Z", "2024-03-05T01:00:00+01:00"], 0),
                                   (["2024-03-03T00:00:00Z", "2024-03-04T00:00:00Z", ""], 2)]:
            texts = [["" if cell is None else str(cell) for cell in row[:-2]] + [cell, "0"] for row, cell in zip(rows, cells)]
            engine = mock.Mock(**{"watermark.return_value": Naive.time("2024-03-03T10:00:00Z"),
                                  "ask.return_value": (groups + values, texts)})
            self.assertEqual(len(compare.compare_table(judge, engine, Question("funnel", ["day"]))[0]), differences)

    def test_a_reference_must_be_met_exactly(self):
        want = (["day", "n", "x"], [["1", "2", "0.5"], ["2", "3", "0.50"]])
        header = ["day", "more", "x", "n"]
        self.assertEqual(real.compare_reference(want, ["day"], header, [["1", "", "0.50", "2"], ["2", "", ".5", "3"]]), [])
        for rows in ([["1", "", "0.50", "2"]], [["1", "", "0.50", "2"], ["2", "", "0.5", "4"]],
                     [["1", "", "0.50", "2"], ["2", "", "0.5", "3"], ["3", "", "0.5", "3"]]):
            self.assertEqual(len(real.compare_reference(want, ["day"], header, rows)), 1)


judge_filters = Judge.filter_questions

if __name__ == "__main__":
    unittest.main()

"""Computes every answer of docs/metrics.md from raw JSON lines, with DuckDB and answers.sql, and nothing of the engine's.

    python judge.py DATADIR ANSWERS_DIR [--time-zone Europe/London] [--window unlimited]

DATADIR holds products.jsonl, users.jsonl and events.jsonl (read in this order); ANSWERS_DIR gets one CSV per question of
`questions()`. compare.py uses the same `Judge` without the detour over files.
"""
import argparse
import csv
import datetime
import json
import re
import tempfile
import zoneinfo
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import duckdb

from decode import COLUMNS, PLACES, rows_of

FILES = ["products.jsonl", "users.jsonl", "events.jsonl"]
CURRENCIES = PLACES
STEPS = ["view", "product_view", "cart", "checkout", "purchase"]
SCORES = ["cosine", "jaccard", "lift", "llr"]
TOP = 10
BASKET_CAP = 50
CANDIDATES = 200
CANDIDATE_MIN = 3
HOUR = 3_600_000_000
DAY = 24 * HOUR
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

MONEY = "CAST({} AS DECIMAL(34, 0)) * CAST(0.0001 AS DECIMAL(4, 4))"
LATENESS = 600_000_000


class Anything:
    """A value that is not looked at."""


ANYTHING = Anything()
# What a row of a range has where nothing happened, if that is not 0.
NOTHING = {name: None for name in ["average_order_value", "cart_abandonment", "overall_conversion", "median_seconds_to_purchase",
                                   "p90_seconds_to_purchase", "mean_seconds_to_purchase"]
           + [f"step_conversion_{step}" for step in STEPS]} | {"immature_until": ANYTHING}
NOTHING |= {name: Decimal(0) for name in ["gross_sales", "discounts", "order_revenue", "returns", "returns_as_sold", "net_sales"]}


@dataclass
class Question:
    view: str
    group_by: list = field(default_factory=list)
    rank_by: str = None
    where: dict = field(default_factory=dict)
    days: tuple = None
    order_by: list = field(default_factory=list)
    limit: int = None

    @property
    def name(self):
        parts = [self.view, "by", "+".join(self.group_by) or self.rank_by or "nothing"]
        parts += [f"where {column}={text}" for column, text in self.where.items()]
        parts += [f"from {self.days[0]} to {self.days[1]}"] if self.days else []
        parts += ["ordered by " + ",".join(self.order_by)] if self.order_by else []
        return " ".join(parts + ([f"limit {self.limit}"] if self.limit else []))

    @property
    def filled(self):
        """The column of time whose empty values in the range get rows, too."""
        columns = [column for column in self.group_by if column != "currency"]
        return columns[0] if self.days and len(columns) == 1 and columns[0] in ("hour", "day", "month") else None


def window_us(text):
    """The conversion window in microseconds, None for `unlimited`."""
    if text == "unlimited":
        return None
    number, unit = re.fullmatch(r"(\d+) ?(s|m|min|h|d)", text).groups()
    return int(number) * {"s": 1_000_000, "m": 60_000_000, "min": 60_000_000, "h": HOUR, "d": DAY}[unit]


def exact_score(by, n_ab, n_a, n_b, llr):
    """Something in the order of a score. How many sessions there are is the same for all, so it stays out of lift."""
    if by == "cosine":
        return Fraction(n_ab * n_ab, n_a * n_b)
    if by == "jaccard":
        return Fraction(n_ab, n_a + n_b - n_ab)
    if by == "lift":
        return Fraction(n_ab, n_a * n_b)
    return float(f"{llr:.11e}")


class Judge:
    def __init__(self, files, time_zone="UTC", window="24h", currency="USD"):
        # The zone data of the package tzdata: neither the system's nor the engine's.
        zoneinfo.reset_tzpath(())
        self.zone = zoneinfo.ZoneInfo(time_zone)
        self.window = window_us(window)
        self.connection = duckdb.connect()
        run = self.connection.execute
        run("SET preserve_insertion_order = true")
        with tempfile.TemporaryDirectory(prefix="millrace-decoded-") as directory:
            rows = Path(directory) / "rows.jsonl"
            with open(rows, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows_of(files, currency))
            columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
            run(f"CREATE TABLE decoded AS SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}})",
                [str(rows)])
        run("CREATE TABLE settings AS SELECT ?::BIGINT AS window_us, ? AS basket_cap, ? AS candidates, ? AS candidate_min, "
            "? AS lateness_us", [self.window, BASKET_CAP, CANDIDATES, CANDIDATE_MIN, LATENESS])
        self.make_clock()
        run((Path(__file__).parent / "answers.sql").read_text(encoding="utf-8"))
        self.several_currencies = run("SELECT count(DISTINCT currency) > 1 FROM sales_rows").fetchone()[0]

    def make_clock(self):
        """A table of the store's clock, from the standard library's zones: where the offset changes, to the second."""
        first, last = self.span_of_days()
        at = lambda second: EPOCH + datetime.timedelta(seconds=second)  # noqa: E731
        offset_at = lambda second: int(at(second).astimezone(self.zone).utcoffset().total_seconds())  # noqa: E731
        changes, step = [(-(2 ** 62), offset_at(first * 86400))], 6 * 3600
        for second in range(first * 86400, last * 86400, step):
            low, high = second, second + step
            while offset_at(low) != offset_at(high):
                left, right = low, high  # the first change in between
                while right - left > 1:
                    middle = (left + right) // 2
                    left, right = (middle, right) if offset_at(middle) == offset_at(low) else (left, middle)
                changes.append((right * 1_000_000, offset_at(right) * 1_000_000))
                low = right
        changes[0] = (changes[0][0], changes[0][1] * 1_000_000)
        self.clock = changes
        self.connection.execute("CREATE TABLE zone_offsets(utc_from BIGINT, offset_us BIGINT)")
        self.connection.executemany("INSERT INTO zone_offsets VALUES (?, ?)", changes)

    def span_of_days(self):
        """Days since 1970, generously around all times."""
        low, high = self.connection.execute("SELECT min(least(t, received_at, updated_at)), "
                                            "max(greatest(t, received_at, updated_at)) FROM decoded").fetchone()
        if low is None:
            return 0, 1
        return low // DAY - 2, high // DAY + 40

    @staticmethod
    def micros(moment):
        return (moment - EPOCH) // datetime.timedelta(microseconds=1)

    def accounting(self):
        cursor = self.connection.execute("SELECT * FROM accounting")
        return dict(zip([d[0] for d in cursor.description], cursor.fetchone()))

    def value(self, sql):
        return self.connection.execute(sql).fetchone()[0]

    # --- questions -----------------------------------------------------------------------------------------------

    def questions(self):
        products = [[], ["product_id"], ["category"], ["category_as_was"], ["category", "category_as_was"],
                    ["product_id", "category_as_was"]]
        every = [Question("sales", time + more) for time in ([], ["hour"], ["day"], ["month"]) for more in products]
        every += [Question("sales", by) for by in (["currency"], ["day", "currency"], ["category", "day"])]
        every += self.funnel_questions()
        every += [Question("related_products", rank_by=rank_by) for rank_by in ["n_ab"] + SCORES]
        every += [Question("traffic", by) for by in ([], ["minute"], ["hour"], ["day"])]
        every += [Question("quality", by) for by in ([], ["hour"], ["day"], ["source"], ["rule"], ["day", "rule"],
                                                     ["source", "rule"], ["hour", "source", "rule"])]
        return every

    def range_questions(self):
        """Ranges of days, whose empty days, hours and months are filled in, and which begin and end where nothing is."""
        days = [day for (day,) in self.connection.execute("SELECT DISTINCT day FROM sales_facts ORDER BY 1").fetchall()]
        if len(days) < 4:
            return []
        before = (datetime.date.fromisoformat(days[0]) - datetime.timedelta(days=3)).isoformat()
        inner, outer = (days[1], days[len(days) // 2]), (before, days[-2])
        category = self.value("SELECT category FROM sales_facts GROUP BY ALL ORDER BY count(*), 1 LIMIT 1")
        device = self.value("SELECT device FROM funnel_sessions GROUP BY ALL ORDER BY count(*), 1 LIMIT 1")
        rule = self.value("SELECT rule FROM quality_findings WHERE kind = 'quarantined' GROUP BY ALL ORDER BY count(*), 1 LIMIT 1")
        source = self.value("SELECT source FROM quality_records GROUP BY ALL ORDER BY count(*), 1 LIMIT 1")
        every = [Question(view, [time], days=span) for view in ("sales", "traffic", "quality")
                 for time in ("day", "hour") for span in (inner, outer)]
        every += [Question("funnel", ["day"], days=span) for span in (inner, outer)]
        every += [Question("funnel", ["month"], days=outer), Question("funnel", [], days=inner),
                  Question("sales", ["day", "category"], days=inner), Question("traffic", ["minute"], days=(days[1], days[2])),
                  Question("quality", [], days=inner), Question("quality", ["rule"], days=inner),
                  Question("sales", ["day"], where={"category": category}, days=outer),
                  Question("funnel", ["day"], where={"device": device}, days=outer),
                  Question("quality", ["day"], where={"rule": rule}, days=outer),
                  Question("quality", ["hour"], where={"rule": "late"}, days=inner),
                  Question("quality", ["day"], where={"source": source}, days=inner)]
        return every

    def order_questions(self):
        """Orders and limits: the rows come in the order asked for, then in that of all columns from the left."""
        return [Question("sales", ["category"], order_by=["net_sales:desc"]),
                Question("sales", ["product_id"], order_by=["units:desc", "product_id"], limit=7),
                Question("sales", ["day", "category"], order_by=["category", "day:desc"], limit=30),
                Question("sales", ["hour"], order_by=["lines"], limit=40),
                Question("sales", ["hour"], limit=13), Question("sales", ["product_id"], limit=1),
                Question("traffic", ["hour"], order_by=["hour:desc"], limit=9),
                Question("traffic", ["day"], order_by=["page_views", "day"]),
                Question("funnel", ["category", "day"], order_by=["sessions:desc"], limit=20),
                Question("funnel", ["device"], order_by=["device:desc"]),
                Question("quality", ["hour", "rule"], order_by=["rule", "quarantined:desc"], limit=25),
                Question("quality", ["hour"], order_by=["read:desc"], limit=5)]

    def funnel_questions(self):
        return [Question("funnel", by) for by in
                (["day"], ["month"], [], ["category"], ["referrer"], ["device"], ["day", "category"])]

    def filter_questions(self):
        """A few `--where` questions, on columns grouped and not, with values that occur."""
        category = self.value("SELECT category FROM sales_facts GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1")
        was = self.value("SELECT category_as_was FROM sales_facts WHERE category_as_was LIKE '%,%' LIMIT 1") or category
        product = self.value("SELECT product_id FROM sales_facts GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1")
        day = self.value("SELECT day FROM sales_facts GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1")
        hour = self.value("SELECT hour FROM sales_facts GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1")
        device = self.value("SELECT device FROM funnel_sessions GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1")
        return [Question("sales", ["day"], where={"category": category}),
                Question("sales", ["month", "category"], where={"category_as_was": was}),
                Question("sales", ["month"], where={"product_id": product}),
                Question("sales", ["category"], where={"day": day}),
                Question("sales", ["category"], where={"day": day, "category": category}),
                Question("sales", [], where={"hour": hour}),
                Question("funnel", ["day"], where={"device": device}),
                Question("funnel", ["category"], where={"day": day}),
                Question("related_products", rank_by="n_ab", where={"product_id": product}),
                Question("related_products", rank_by="cosine", where={"kind": "bought_together"}),
                Question("traffic", ["hour"], where={"day": day})]

    # --- answers -------------------------------------------------------------------------------------------------

    def answer(self, question):
        """(group columns, value columns, rows). A time of day is text; an instant (immature_until) is microseconds."""
        return {"sales": self.sales, "funnel": self.funnel, "related_products": self.related,
                "traffic": self.traffic, "quality": self.quality}[question.view](question)

    def rows(self, table, groups, values, question):
        """SELECT of the named groups and (name, expression) values; a group without any row is no group, unless it is one
        of a range."""
        names = ", ".join(groups)
        select = ", ".join(groups + [f"{sql} AS {name}" for name, sql in values])
        conditions = [f"{column} = ?" for column in question.where] + (["day BETWEEN ? AND ?"] if question.days else [])
        sql = f"SELECT {select} FROM {table} WHERE {' AND '.join(conditions) or 'true'} "
        sql += f"GROUP BY {names} ORDER BY {names}" if groups else "HAVING count(*) > 0"
        rows = self.connection.execute(sql, [*question.where.values(), *(question.days or ())]).fetchall()
        if not question.filled:
            return rows
        # Each currency that there is at all is filled, whatever the range and the filters leave of it.
        place, heads = groups.index(question.filled), {row[:-len(values)] for row in rows}
        others = {head[:place] + head[place + 1:] for head in heads} or ({()} if len(groups) == 1 else set())
        if [name for name in groups if name != question.filled] == ["currency"] and "currency" not in question.where:
            others |= set(self.connection.execute(f"SELECT DISTINCT currency FROM {table}").fetchall())
        nothing = tuple(NOTHING.get(name, 0) for name, _ in values)
        for time in self.times(question.filled, *question.days):
            for other in others:
                head = other[:place] + (time,) + other[place:]
                if head not in heads:
                    rows.append(head + nothing)
        return rows

    def times(self, column, first, last):
        """The hours, days or months that lie in a range of days, by walking through the hours of the store's clock."""
        found = {}
        ends = [utc_from for utc_from, _ in self.clock[1:]] + [2 ** 62]
        low = self.micros(datetime.datetime.fromisoformat(first + "T00:00:00+00:00")) - DAY
        high = self.micros(datetime.datetime.fromisoformat(last + "T00:00:00+00:00")) + 2 * DAY
        for (utc_from, offset), end in zip(self.clock, ends):
            time = max(utc_from, (low + offset) // HOUR * HOUR - offset)
            while time < min(end, high):
                local = EPOCH.replace(tzinfo=None) + datetime.timedelta(microseconds=time + offset)
                day = local.date().isoformat()
                if first <= day <= last:
                    sign, minutes = "-" if offset < 0 else "+", abs(offset) // 60_000_000
                    hour = f"{local.isoformat()}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
                    found[{"hour": hour, "day": day, "month": day[:7]}[column]] = True
                time = (time + offset) // HOUR * HOUR + HOUR - offset
        return list(found)

    def sales(self, question):
        forced = self.several_currencies and "currency" not in question.group_by
        groups = (["currency"] if forced else []) + question.group_by
        values = [("lines", "sum(lines)"), ("orders", "count(DISTINCT sold_order_id)"), ("units", "sum(units)"),
                  ("units_returned", "sum(units_returned)"), ("net_units", "sum(units) - sum(units_returned)"),
                  ("gross_sales", MONEY.format("sum(gross_sales)")),
                  ("discounts", MONEY.format("(sum(gross_sales) - sum(order_revenue))")),
                  ("order_revenue", MONEY.format("sum(order_revenue)")), ("returns", MONEY.format("sum(returns)")),
                  ("returns_as_sold", MONEY.format("sum(returns_as_sold)")),
                  ("net_sales", MONEY.format("(sum(order_revenue) - sum(returns))")),
                  ("average_order_value", "CASE WHEN count(DISTINCT sold_order_id) > 0 THEN "
                   "CAST(sum(order_revenue) AS DOUBLE) / 10000 / count(DISTINCT sold_order_id) END")]
        return groups, [name for name, _ in values], self.rows("sales_facts", groups, values, question)

    def funnel(self, question):
        def ratio(top, below):
            return f"CASE WHEN count(*) FILTER ({below}) > 0 THEN " \
                   f"CAST(count(*) FILTER ({top}) AS DOUBLE) / count(*) FILTER ({below}) END"

        def rank(numerator):  # ceil(n × numerator / 10), in whole numbers
            return f"list_sort(list(bucket_seconds) FILTER (bucket IS NOT NULL))" \
                   f"[(count(bucket) * {numerator} + 9) // 10]"

        before = {"product_view": "view", "cart": "product_view", "checkout": "cart", "purchase": "cart"}
        values = [("sessions", "count(*)")]
        values += [(f"{how}_{step}", f"count(*) FILTER ({how}_{step})") for how in ("reached", "ordered") for step in STEPS]
        values += [("carts_abandoned", "count(*) FILTER (reached_cart AND NOT reached_purchase)"),
                   ("cart_abandonment", ratio("reached_cart AND NOT reached_purchase", "reached_cart"))]
        values += [(f"step_conversion_{step}", ratio(f"ordered_{step}", f"ordered_{before[step]}")) for step in STEPS[1:]]
        values += [("overall_conversion", ratio("ordered_purchase", "ordered_view")),
                   ("median_seconds_to_purchase", rank(5)), ("p90_seconds_to_purchase", rank(9)),
                   ("mean_seconds_to_purchase", "sum(bucket_seconds) FILTER (bucket IS NOT NULL) / nullif(count(bucket), 0)"),
                   ("immature_until", "max(day)"), ("capped_sessions", "0")]
        rows = self.rows("funnel_sessions", question.group_by, values, question)
        return question.group_by, [name for name, _ in values], [
            row[:-2] + (row[-2] if row[-2] is ANYTHING else self.window_closes(row[-2]), row[-1]) for row in rows]

    def window_closes(self, day):
        """When the conversion window of a cohort's day closes: the caller compares that with its watermark."""
        if self.window is None:
            return None
        return self.end_of(day) + self.window

    def end_of(self, day):
        """The first instant of a later day of the store."""
        midnight = self.micros(datetime.datetime.fromisoformat(day + "T00:00:00+00:00")) + DAY  # as the local clock has it
        ends = [utc_from for utc_from, _ in self.clock[1:]] + [2 ** 62]
        return min(max(utc_from, midnight - offset) for (utc_from, offset), end in zip(self.clock, ends)
                   if midnight - offset < end)

    def quality(self, question):
        """By rule, what a rule caught stands beside the counts of the whole group."""
        groups = [column for column in question.group_by if column != "rule"]
        wanted = question.where.get("rule")
        of_group = Question("quality", groups, days=question.days,
                            where={column: text for column, text in question.where.items() if column != "rule"})
        counts = [("read", "count(*)"), ("accepted", "count(*) FILTER (verdict = 'accepted')"),
                  ("duplicates", "count(*) FILTER (verdict = 'duplicate')")]
        totals = {row[:-3]: row[-3:] for row in self.rows("quality_records", groups, counts, of_group)}
        kinds = [(kind, f"count(*) FILTER (kind = '{kind}')") for kind in ("quarantined", "late", "warned")]
        caught = {}
        of_rules = Question("quality", groups + ["rule"], days=question.days, where=question.where)
        for row in self.rows("quality_findings", groups + ["rule"], kinds, of_rules):
            caught.setdefault(row[:-4], {})[row[-4]] = row[-3:]
        if wanted and not question.filled:
            totals = {key: total for key, total in totals.items() if key in caught}
        rows = []
        for key, (read, accepted, duplicates) in totals.items():
            rules = caught.get(key, {})
            shown = [(rule, [rules[rule]]) for rule in rules] if "rule" in question.group_by else [(None, rules.values())]
            for rule, found in shown:
                quarantined, late, warned = (sum(each) for each in zip(*found)) if found else (0, 0, 0)
                parts = iter(key)
                head = tuple(rule if column == "rule" else next(parts) for column in question.group_by)
                rows.append(head + (read, accepted, duplicates, quarantined, 0, late, warned,
                                    1 - quarantined / read if read else None))
        values = ["read", "accepted", "duplicates", "quarantined", "pending", "late", "warned", "quality_score"]
        return question.group_by, values, rows

    def candidates(self, question):
        """{(kind, product_id): rows in rank order}, all of a product's candidates; `related` cuts them at TOP."""
        by = question.rank_by
        condition = " AND ".join(["true"] + [f"{column} = ?" for column in question.where])
        enough = "true" if by == "n_ab" else f"n_ab >= {CANDIDATE_MIN}"
        rows = self.connection.execute(
            f"SELECT kind, product_id, related_id, n_ab, n_a, n_b, cosine, jaccard, lift, llr FROM related_candidates "
            f"WHERE {enough} AND {condition} ORDER BY kind, product_id, {by} DESC, related_id",
            list(question.where.values())).fetchall()
        lists = {}
        for kind, product_id, *rest in rows:
            lists.setdefault((kind, product_id), []).append(tuple(rest))
        if by != "n_ab":
            # Equal scores are equal whatever the last bit of a double says: they are compared as what they are made of.
            for candidates in lists.values():
                candidates.sort(key=lambda row: (-exact_score(by, *row[1:4], row[-1]), row[0].encode()))
        return lists

    def related(self, question):
        rows = [(*key, place, *row) for key, rows in self.candidates(question).items()
                for place, row in enumerate(rows[:TOP], 1)]
        return ["kind", "product_id", "rank"], ["related_id", "n_ab", "n_a", "n_b"] + SCORES, rows

    def traffic(self, question):
        groups = (["currency"] if self.several_currencies else []) + question.group_by
        values = [("page_views", "sum(page_views)"), ("cart_additions", "sum(cart_additions)"),
                  ("purchases", "sum(purchases)"), ("active_sessions", "count(DISTINCT session_id)"),
                  ("active_users", "count(DISTINCT user_id)"), ("net_sales", MONEY.format("sum(net_sales)"))]
        return groups, [name for name, _ in values], self.rows("traffic_events", groups, values, question)


def files_of(directory):
    return [Path(directory) / name for name in FILES if (Path(directory) / name).exists()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datadir")
    parser.add_argument("answers_dir")
    parser.add_argument("--time-zone", default="UTC")
    parser.add_argument("--window", default="24h")
    options = parser.parse_args()
    judge = Judge(files_of(options.datadir), options.time_zone, options.window)
    out = Path(options.answers_dir)
    out.mkdir(parents=True, exist_ok=True)
    for question in judge.questions():
        groups, values, rows = judge.answer(question)
        with open(out / (question.name.replace(" ", "_") + ".csv"), "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(groups + values)
            writer.writerows(rows)
    with open(out / "accounting.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(judge.accounting())
        writer.writerow(judge.accounting().values())
    print(judge.accounting())


if __name__ == "__main__":
    main()

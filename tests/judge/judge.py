"""Computes every answer of docs/metrics.md from raw JSON lines, with DuckDB and answers.sql, and nothing of the engine's.

    python judge.py DATADIR ANSWERS_DIR [--time-zone Europe/London] [--window unlimited]

DATADIR holds products.jsonl, users.jsonl and events.jsonl (read in this order); ANSWERS_DIR gets one CSV per question of
`questions()`. compare.py uses the same `Judge` without the detour over files.
"""
import argparse
import csv
import datetime
import re
import zoneinfo
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

FILES = ["products.jsonl", "users.jsonl", "events.jsonl"]
CURRENCIES = {"USD": 2, "EUR": 2, "GBP": 2, "CHF": 2, "JPY": 0, "KWD": 3}
STEPS = ["view", "product_view", "cart", "checkout", "purchase"]
SCORES = ["cosine", "jaccard", "lift", "llr"]
TOP = 10
BASKET_CAP = 50
CANDIDATES = 200
CANDIDATE_MIN = 3
HOUR = 3_600_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

MONEY = "CAST({} AS DECIMAL(30, 0)) * CAST(0.001 AS DECIMAL(4, 3))"


@dataclass
class Question:
    view: str
    group_by: list = field(default_factory=list)
    rank_by: str = None
    where: dict = field(default_factory=dict)

    @property
    def name(self):
        parts = [self.view, "by", "+".join(self.group_by) or self.rank_by or "nothing"]
        return " ".join(parts + [f"where {column}={text}" for column, text in self.where.items()])


def window_us(text):
    """The conversion window in microseconds, None for `unlimited`."""
    if text == "unlimited":
        return None
    number, unit = re.fullmatch(r"(\d+) ?(s|m|min|h|d)", text).groups()
    return int(number) * {"s": 1_000_000, "m": 60_000_000, "min": 60_000_000, "h": HOUR, "d": 24 * HOUR}[unit]


class Judge:
    def __init__(self, files, time_zone="UTC", window="24h", currency="USD"):
        self.zone = zoneinfo.ZoneInfo(time_zone)
        self.window = window_us(window)
        self.connection = duckdb.connect()
        run = self.connection.execute
        run("SET preserve_insertion_order = true")
        run("CREATE TABLE lines(position BIGINT, line VARCHAR)")
        for path in files:
            # One column, split by nothing but the end of the line: \x1f is the delimiter that never comes.
            run("""INSERT INTO lines SELECT (SELECT count(*) FROM lines) + row_number() OVER (), line
                   FROM read_csv(?, columns = {'line': 'VARCHAR'}, delim = '\x1f', quote = '', escape = '', comment = '',
                                 header = false, auto_detect = false, strict_mode = false, max_line_size = 8000000,
                                 null_padding = false, parallel = false)""", [str(path)])
        run("CREATE TABLE currencies(currency VARCHAR, digits BIGINT)")
        run("INSERT INTO currencies SELECT * FROM (SELECT unnest(?), unnest(?))",
            [list(CURRENCIES), list(CURRENCIES.values())])
        run("CREATE TABLE settings AS SELECT ?::BIGINT AS window_us, ? AS default_currency, ? AS basket_cap, "
            "? AS candidates, ? AS candidate_min", [self.window, currency, BASKET_CAP, CANDIDATES, CANDIDATE_MIN])
        self.make_clock()
        run((Path(__file__).parent / "answers.sql").read_text(encoding="utf-8"))
        self.several_currencies = run("SELECT count(DISTINCT currency) > 1 FROM sales_rows").fetchone()[0]

    def make_clock(self):
        """Tables of the store's clock, from the standard library's zone data: where the offset changes, where days end."""
        first, last = self.span_of_days()
        changes, offset = [], None
        moment = EPOCH + datetime.timedelta(days=first)
        while moment < EPOCH + datetime.timedelta(days=last):
            now = moment.astimezone(self.zone).utcoffset()
            if now != offset:
                changes.append((self.micros(moment), int(now.total_seconds()) * 1_000_000))
                offset = now
            moment += datetime.timedelta(minutes=15)
        changes[0] = (-(2 ** 62), changes[0][1])
        self.connection.execute("CREATE TABLE zone_offsets(utc_from BIGINT, offset_us BIGINT)")
        self.connection.executemany("INSERT INTO zone_offsets VALUES (?, ?)", changes)

    def span_of_days(self):
        """Days since 1970, generously around all event times, by their text alone."""
        low, high = self.connection.execute(
            r"""SELECT min(d), max(d) FROM (SELECT TRY_CAST(regexp_extract(line, '"event_time" ?: ?"(\d{4}-\d\d-\d\d)', 1)
                AS DATE) AS d FROM lines)""").fetchone()
        if low is None:
            return 0, 1
        origin = datetime.date(1970, 1, 1)
        return (low - origin).days - 2, (high - origin).days + 3

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
        return every

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
                "traffic": self.traffic}[question.view](question)

    def rows(self, table, groups, values, where):
        """SELECT of the named groups and (name, expression) values; a group without any row is no group."""
        names = ", ".join(groups)
        select = ", ".join(groups + [f"{sql} AS {name}" for name, sql in values])
        condition = " AND ".join(f"{column} = ?" for column in where) or "true"
        sql = f"SELECT {select} FROM {table} WHERE {condition} "
        sql += f"GROUP BY {names} ORDER BY {names}" if groups else "HAVING count(*) > 0"
        return self.connection.execute(sql, list(where.values())).fetchall()

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
                   "CAST(sum(order_revenue) AS DOUBLE) / 1000 / count(DISTINCT sold_order_id) END")]
        return groups, [name for name, _ in values], self.rows("sales_facts", groups, values, question.where)

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
        rows = self.rows("funnel_sessions", question.group_by, values, question.where)
        return question.group_by, [name for name, _ in values], [
            row[:-2] + (self.window_closes(row[-2]), row[-1]) for row in rows]

    def window_closes(self, day):
        """When the conversion window of a cohort's day closes: the caller compares that with its watermark."""
        if self.window is None:
            return None
        following = datetime.date.fromisoformat(day) + datetime.timedelta(days=1)
        return self.micros(datetime.datetime.combine(following, datetime.time(), self.zone)) + self.window

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
        return groups, [name for name, _ in values], self.rows("traffic_events", groups, values, question.where)


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

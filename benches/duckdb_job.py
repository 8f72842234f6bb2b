"""What a recompute of a like job costs in DuckDB, to set the engine's figures beside.

    python benches/duckdb_job.py FILE.jsonl [--threads 1]

From JSON lines: deduplicates by event_id, then computes sales by day × product × category with distinct orders, the ordered
funnel by day (window 24 h), and the ten products most often seen with each product in one session (at most 50 products a
session, the most recent). Product records in the file give the categories. Prints events, CPU seconds (user + system, from
getrusage: wall time on a shared machine means nothing), events per CPU-second and peak memory. Events are the lines that
are not dimension records, before deduplication. Importing DuckDB and starting Python are not counted.
"""
import argparse
import resource

import duckdb

COLUMNS = {"event_id": "VARCHAR", "event_type": "VARCHAR", "event_time": "VARCHAR", "session_id": "VARCHAR",
           "order_id": "VARCHAR", "product_id": "VARCHAR", "quantity": "BIGINT", "price_paid": "DECIMAL(18, 2)",
           "amount": "DECIMAL(18, 2)", "unit_price": "DECIMAL(18, 2)", "page_type": "VARCHAR", "updated_at": "VARCHAR",
           "category": "VARCHAR"}

# Times are taken as UTC ("…Z"), which is what the generators write: an offset would need more work per line.
JOB = """
CREATE TABLE raw AS SELECT * REPLACE (
    CAST(rtrim(event_time, 'Z') AS TIMESTAMP) AS event_time, CAST(rtrim(updated_at, 'Z') AS TIMESTAMP) AS updated_at)
FROM read_json($file, format = 'newline_delimited', columns = {columns}, ignore_errors = true);

CREATE TABLE events AS SELECT DISTINCT ON (event_id) * FROM raw WHERE event_id IS NOT NULL;
CREATE TABLE products AS SELECT product_id, arg_max(category, updated_at) AS category FROM raw
    WHERE event_type = 'product' GROUP BY product_id;

CREATE TABLE sales AS
SELECT CAST(event_time AS DATE) AS day, e.product_id,
       CASE WHEN p.product_id IS NULL THEN '(unknown)' ELSE coalesce(p.category, '(none)') END AS category,
       count(*) FILTER (sold) AS lines, count(DISTINCT order_id) FILTER (sold) AS orders,
       sum(quantity) FILTER (sold) AS units, sum(coalesce(unit_price * quantity, price_paid)) FILTER (sold) AS gross_sales,
       sum(price_paid) FILTER (sold) AS order_revenue,
       sum(CASE WHEN event_type = 'refund' THEN amount ELSE -price_paid END) FILTER (NOT sold) AS returns
FROM (SELECT *, event_type = 'purchase' AND quantity >= 0 AS sold FROM events WHERE event_type IN ('purchase', 'refund')) e
LEFT JOIN products p ON p.product_id = e.product_id GROUP BY ALL;

CREATE TABLE sessions AS
SELECT session_id, CAST(min(event_time) AS DATE) AS day FROM events WHERE session_id IS NOT NULL GROUP BY session_id;
CREATE TABLE chains AS
WITH steps AS (
    SELECT session_id, event_time AS t, event_type = 'page_view' AS view,
           event_type = 'page_view' AND page_type IN ('product', 'product_detail') AS product_view,
           event_type = 'add_to_cart' AS cart, event_type = 'purchase' AND quantity >= 0 AS purchase
    FROM events WHERE event_type IN ('page_view', 'add_to_cart', 'purchase')
), two AS (
    SELECT a.session_id, a.t AS t1, b.t AS t2 FROM (SELECT DISTINCT session_id, t FROM steps WHERE view) a
    ASOF LEFT JOIN (SELECT session_id, t FROM steps WHERE product_view) b ON a.session_id = b.session_id AND a.t <= b.t
), three AS (
    SELECT a.*, b.t AS t3 FROM two a
    ASOF LEFT JOIN (SELECT session_id, t FROM steps WHERE cart) b ON a.session_id = b.session_id AND a.t2 <= b.t
)
SELECT a.*, b.t AS t4 FROM three a
ASOF LEFT JOIN (SELECT session_id, t FROM steps WHERE purchase) b ON a.session_id = b.session_id AND a.t3 <= b.t;
CREATE TABLE funnel AS
SELECT day, count(*) AS sessions, count(v) AS ordered_view, count(*) FILTER (p) AS ordered_product_view,
       count(*) FILTER (c) AS ordered_cart, count(*) FILTER (b) AS ordered_purchase
FROM sessions LEFT JOIN (
    SELECT session_id, true AS v, bool_or(t2 - t1 <= INTERVAL 24 HOUR) AS p, bool_or(t3 - t1 <= INTERVAL 24 HOUR) AS c,
           bool_or(t4 - t1 <= INTERVAL 24 HOUR) AS b
    FROM chains GROUP BY session_id) USING (session_id) GROUP BY day;

CREATE TABLE baskets AS
WITH touches AS (
    SELECT session_id, product_id, max(event_time) AS t FROM events
    WHERE session_id IS NOT NULL AND product_id IS NOT NULL AND (event_type IN ('add_to_cart', 'purchase')
          OR (event_type = 'page_view' AND page_type IN ('product', 'product_detail'))) GROUP BY ALL
), kept AS (
    SELECT * FROM touches QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY t DESC, product_id) <= 50
), numbered AS (
    SELECT product_id, row_number() OVER (ORDER BY product_id) AS number FROM (SELECT DISTINCT product_id FROM kept)
)
SELECT session_id, number, product_id FROM kept JOIN numbered USING (product_id);
CREATE TABLE pairs AS
SELECT a.number AS a, b.number AS b, count(*) AS n_ab FROM baskets a
JOIN baskets b ON a.session_id = b.session_id AND a.number < b.number GROUP BY ALL;
CREATE TABLE related AS
SELECT a, b, n_ab FROM (SELECT a, b, n_ab FROM pairs UNION ALL SELECT b, a, n_ab FROM pairs)
QUALIFY row_number() OVER (PARTITION BY a ORDER BY n_ab DESC, b) <= 10;
"""


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    connection = duckdb.connect(config={"threads": options.threads, "preserve_insertion_order": False})
    quoted = options.file.replace("'", "''")
    before = cpu_seconds()
    for statement in JOB.split(";\n"):
        if statement.strip():
            connection.execute(statement.replace("$file", f"'{quoted}'").replace("{columns}", str(COLUMNS)))
    spent = cpu_seconds() - before

    def count(sql):
        return connection.execute(sql).fetchone()[0]

    events = count("SELECT count(*) FROM raw WHERE coalesce(event_type, '') NOT IN ('product', 'user', 'inventory')")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"duckdb {duckdb.__version__}, {options.threads} thread(s)")
    print(f"events              {events:,} ({count('SELECT count(*) FROM events'):,} after deduplication)")
    for table in ("sales", "funnel", "related"):
        print(f"rows of {table:<11} {count(f'SELECT count(*) FROM {table}'):,}")
    print(f"CPU seconds         {spent:.2f}")
    print(f"events per CPU-s    {events / spent:,.0f}")
    print(f"peak RSS            {peak:,.0f} MB")


if __name__ == "__main__":
    main()

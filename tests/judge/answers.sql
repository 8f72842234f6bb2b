-- What docs/metrics.md means, said once more in SQL.
--
-- judge.py makes these tables first, then runs this file, then groups what it leaves (sales_facts, funnel_sessions,
-- related_candidates, traffic_events, quality_records, quality_findings) by whatever columns a question asks for:
--   decoded(position, rule, …)                every line of every file, in reading order: see decode.py
--   zone_offsets(utc_from, offset_us)         the store's clock: local = UTC + offset from utc_from on
--   settings(window_us, basket_cap, candidates, candidate_min, lateness_us)   window_us is null for `unlimited`
-- Money is kept in ten-thousandths of the major unit, as integers: no currency has more digits.

-- ---------------------------------------------------------------------------------------------------------- accepting

CREATE TABLE checked AS
SELECT *, event_type IN ('product', 'user', 'inventory') AS is_dimension, rule IS NULL AS sound FROM decoded;

-- The first sound record of an event_id claims it; equal ones are duplicates, different ones conflicts.
CREATE TABLE judged AS
SELECT *,
    CASE WHEN NOT sound THEN 'quarantined'
         WHEN is_dimension THEN
             CASE WHEN row_number() OVER (PARTITION BY sound, is_dimension, content ORDER BY position) = 1
                  THEN 'accepted' ELSE 'duplicate' END
         WHEN position = first_value(position) OVER (PARTITION BY sound, is_dimension, event_id ORDER BY position) THEN 'accepted'
         WHEN content = first_value(content) OVER (PARTITION BY sound, is_dimension, event_id ORDER BY position) THEN 'duplicate'
         ELSE 'quarantined' END AS verdict
FROM checked;

CREATE TABLE accounting AS
SELECT count(*) AS read, count(*) FILTER (verdict = 'accepted') AS accepted,
       count(*) FILTER (verdict = 'duplicate') AS duplicates, count(*) FILTER (verdict = 'quarantined') AS quarantined
FROM judged;

CREATE TABLE events AS SELECT * FROM judged WHERE verdict = 'accepted' AND NOT is_dimension;

-- --------------------------------------------------------------------------------------------------------- categories

CREATE TABLE product_versions AS
WITH last_of_time AS (
    SELECT product_id, updated_at, category, deleted FROM judged WHERE verdict = 'accepted' AND event_type = 'product'
    QUALIFY row_number() OVER (PARTITION BY product_id, updated_at ORDER BY position DESC) = 1
), own AS (
    SELECT *, CASE WHEN category IS NOT NULL THEN category WHEN deleted THEN NULL ELSE '(none)' END AS own FROM last_of_time
)
SELECT product_id, updated_at,
       coalesce(last_value(own IGNORE NULLS) OVER (PARTITION BY product_id ORDER BY updated_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), '(none)') AS category
FROM own;

CREATE TABLE products AS
SELECT product_id, arg_max(category, updated_at) AS category, arg_min(category, updated_at) AS first_category
FROM product_versions GROUP BY product_id;

-- -------------------------------------------------------------------------------------------------------------- sales

CREATE TABLE sales_lines AS
SELECT event_type, quantity >= 0 AND event_type = 'purchase' AS sold, t, order_id, product_id, quantity, currency,
       price_paid, unit_price, amount
FROM events WHERE event_type IN ('purchase', 'refund');

CREATE TABLE returns_taken AS
SELECT t, order_id, product_id, currency,
       -- A refund without a product is one of the whole order, and of no units.
       CASE WHEN product_id IS NULL THEN 0 WHEN event_type = 'refund' THEN quantity ELSE -quantity END AS units,
       CASE event_type WHEN 'refund' THEN amount ELSE -price_paid END AS amount
FROM sales_lines WHERE NOT sold;

CREATE TABLE order_sales AS SELECT order_id, min(t) AS t FROM sales_lines WHERE sold GROUP BY ALL;
CREATE TABLE order_product_sales AS SELECT order_id, product_id, min(t) AS t FROM sales_lines WHERE sold GROUP BY ALL;

CREATE TABLE sales_rows AS
SELECT t, product_id, currency, order_id AS sold_order_id, 1 AS lines, quantity AS units, 0 AS units_returned,
       coalesce(unit_price * quantity, price_paid) AS gross_sales, price_paid AS order_revenue, 0 AS returns, 0 AS returns_as_sold
FROM sales_lines WHERE sold
UNION ALL
SELECT t, product_id, currency, NULL, 0, 0, units, 0, 0, amount, 0 FROM returns_taken
UNION ALL
SELECT coalesce(same_product.t, same_order.t, r.t), r.product_id, r.currency, NULL, 0, 0, 0, 0, 0, 0, r.amount
FROM returns_taken r
LEFT JOIN order_product_sales same_product ON same_product.order_id = r.order_id AND same_product.product_id = r.product_id
LEFT JOIN order_sales same_order ON same_order.order_id = r.order_id;

-- An instant on the store's clock. An hour, and a minute, is named by its first instant, which lies in it: where the clock is set
-- within an hour, what is left of it begins with the change.
CREATE MACRO offset_text(offset_us) AS
    CASE WHEN offset_us < 0 THEN '-' ELSE '+' END
    || lpad(CAST(abs(offset_us) // 3600000000 AS VARCHAR), 2, '0') || ':'
    || lpad(CAST(abs(offset_us) // 60000000 % 60 AS VARCHAR), 2, '0');
CREATE MACRO local_text(t, offset_us, pattern) AS strftime(make_timestamp(t + offset_us), pattern);
CREATE MACRO start_of(t, offset_us, utc_from, length_us) AS
    greatest((t + offset_us) // length_us * length_us - offset_us, utc_from);
CREATE MACRO start_text(t, offset_us, utc_from, length_us) AS
    local_text(start_of(t, offset_us, utc_from, length_us), offset_us, '%Y-%m-%dT%H:%M:%S') || offset_text(offset_us);

CREATE TABLE sales_facts AS
SELECT start_text(r.t, z.offset_us, z.utc_from, 3600000000) AS hour,
       local_text(r.t, z.offset_us, '%Y-%m-%d') AS day, local_text(r.t, z.offset_us, '%Y-%m') AS month,
       coalesce(r.product_id, '(none)') AS product_id,
       CASE WHEN r.product_id IS NULL THEN '(none)' ELSE coalesce(p.category, '(unknown)') END AS category,
       CASE WHEN r.product_id IS NULL THEN '(none)'
            ELSE coalesce(v.category, p.first_category, '(unknown)') END AS category_as_was,
       r.* EXCLUDE (product_id)
FROM sales_rows r
ASOF JOIN zone_offsets z ON r.t >= z.utc_from
ASOF LEFT JOIN product_versions v ON r.product_id = v.product_id AND r.t >= v.updated_at
LEFT JOIN products p ON r.product_id = p.product_id;

-- ------------------------------------------------------------------------------------------------------------- funnel

-- What counts in a session: everything that has one. Refunds have none.
CREATE TABLE counted AS
SELECT session_id, user_id, t, product_id, referrer, device, event_type,
       event_type = 'page_view' AS is_view,
       event_type = 'page_view' AND page_type = 'product_detail' AS is_product_view,
       event_type = 'add_to_cart' AS is_cart,
       event_type = 'checkout_started' OR (event_type = 'page_view' AND page_type = 'checkout') AS is_checkout,
       event_type = 'purchase' AND quantity >= 0 AS is_purchase
FROM events WHERE event_type <> 'refund';

-- The earliest way through the mandatory steps from every possible first event. Only times matter: an event that matches
-- two steps, and events of one instant, are all covered by `>=`. checkout is optional: it hangs off the cart.
CREATE TABLE chains AS
WITH view AS (SELECT DISTINCT session_id, t FROM counted WHERE is_view),
     product_view AS (SELECT DISTINCT session_id, t FROM counted WHERE is_product_view),
     cart AS (SELECT DISTINCT session_id, t FROM counted WHERE is_cart),
     checkout AS (SELECT DISTINCT session_id, t FROM counted WHERE is_checkout),
     purchase AS (SELECT DISTINCT session_id, t FROM counted WHERE is_purchase),
     two AS (SELECT a.session_id, a.t AS t1, b.t AS t2 FROM view a
             ASOF LEFT JOIN product_view b ON a.session_id = b.session_id AND a.t <= b.t),
     three AS (SELECT a.*, b.t AS t3 FROM two a ASOF LEFT JOIN cart b ON a.session_id = b.session_id AND a.t2 <= b.t),
     optional AS (SELECT a.*, b.t AS t_checkout FROM three a
                  ASOF LEFT JOIN checkout b ON a.session_id = b.session_id AND a.t3 <= b.t),
     four AS (SELECT a.*, b.t AS t4 FROM optional a ASOF LEFT JOIN purchase b ON a.session_id = b.session_id AND a.t3 <= b.t)
SELECT session_id, t1, t4,
       coalesce(t2 - t1 <= span, false) AS fits_product_view, coalesce(t3 - t1 <= span, false) AS fits_cart,
       coalesce(t_checkout - t1 <= span, false) AS fits_checkout, coalesce(t4 - t1 <= span, false) AS fits_purchase
FROM four, (SELECT coalesce(window_us, 9000000000000000000) AS span FROM settings);

CREATE TABLE ordered_sessions AS
SELECT session_id, bool_or(fits_product_view) AS ordered_product_view, bool_or(fits_cart) AS ordered_cart,
       bool_or(fits_checkout) AS ordered_checkout, bool_or(fits_purchase) AS ordered_purchase,
       arg_min(t4 - t1, t1) FILTER (fits_purchase) AS us_to_purchase
FROM chains GROUP BY session_id;

-- The first of equals is the smaller text.
CREATE TABLE first_products AS
SELECT session_id, product_id FROM counted WHERE is_product_view AND product_id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY t, product_id) = 1;
CREATE TABLE first_referrers AS
SELECT session_id, referrer FROM counted WHERE is_view AND referrer IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY t, referrer) = 1;
CREATE TABLE first_devices AS
SELECT session_id, device FROM counted WHERE is_view AND device IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY t, device) = 1;

CREATE TABLE funnel_sessions AS
WITH reached AS (
    SELECT session_id, min(t) AS t, bool_or(is_view) AS reached_view, bool_or(is_product_view) AS reached_product_view,
           bool_or(is_cart) AS reached_cart, bool_or(is_checkout) AS reached_checkout, bool_or(is_purchase) AS reached_purchase
    FROM counted GROUP BY session_id
)
SELECT local_text(r.t, z.offset_us, '%Y-%m-%d') AS day, local_text(r.t, z.offset_us, '%Y-%m') AS month,
       CASE WHEN f.product_id IS NULL THEN '(none)' ELSE coalesce(p.category, '(unknown)') END AS category,
       coalesce(referrer, '(none)') AS referrer, coalesce(device, '(none)') AS device,
       r.* EXCLUDE (t), r.reached_view AS ordered_view,
       coalesce(o.ordered_product_view, false) AS ordered_product_view, coalesce(o.ordered_cart, false) AS ordered_cart,
       coalesce(o.ordered_checkout, false) AS ordered_checkout, coalesce(o.ordered_purchase, false) AS ordered_purchase,
       CASE WHEN us_to_purchase = 0 THEN 0 ELSE 1 + CAST(floor(ln(us_to_purchase) / ln(1.05::DOUBLE)) AS BIGINT) END AS bucket,
       CASE WHEN us_to_purchase = 0 THEN 0.0::DOUBLE
            ELSE pow(1.05::DOUBLE, floor(ln(us_to_purchase) / ln(1.05::DOUBLE)) + 0.5) / 1e6 END AS bucket_seconds
FROM reached r
ASOF JOIN zone_offsets z ON r.t >= z.utc_from
LEFT JOIN ordered_sessions o ON o.session_id = r.session_id
LEFT JOIN first_products f ON f.session_id = r.session_id
LEFT JOIN products p ON p.product_id = f.product_id
LEFT JOIN first_referrers ON first_referrers.session_id = r.session_id
LEFT JOIN first_devices ON first_devices.session_id = r.session_id;

-- --------------------------------------------------------------------------------------------------- related products

CREATE TABLE baskets AS
WITH touches AS (
    SELECT 'viewed_together' AS kind, session_id AS basket, product_id, t FROM counted
    WHERE product_id IS NOT NULL AND (is_product_view OR is_cart OR event_type = 'purchase')
    UNION ALL
    SELECT 'bought_together', order_id, product_id, t FROM events WHERE event_type = 'purchase'
), last_touches AS (
    SELECT kind, basket, product_id, max(t) AS t FROM touches GROUP BY ALL
)
SELECT kind, basket, product_id FROM last_touches
QUALIFY row_number() OVER (PARTITION BY kind, basket ORDER BY t DESC, product_id) <= (SELECT basket_cap FROM settings);

CREATE TABLE related_candidates AS
WITH n AS (SELECT kind, count(DISTINCT basket) AS n FROM baskets GROUP BY kind),
     single AS (SELECT kind, product_id, count(*) AS n FROM baskets GROUP BY ALL),
     pairs AS (SELECT a.kind, a.product_id, b.product_id AS related_id, count(*) AS n_ab
               FROM baskets a JOIN baskets b ON a.kind = b.kind AND a.basket = b.basket AND a.product_id <> b.product_id
               GROUP BY ALL),
     candidates AS (SELECT *, row_number() OVER (PARTITION BY kind, product_id ORDER BY n_ab DESC, related_id) AS place
                    FROM pairs QUALIFY place <= (SELECT candidates FROM settings)),
     counted_pairs AS (SELECT c.*, a.n AS n_a, b.n AS n_b, n.n AS n FROM candidates c JOIN n ON n.kind = c.kind
                       JOIN single a ON a.kind = c.kind AND a.product_id = c.product_id
                       JOIN single b ON b.kind = c.kind AND b.product_id = c.related_id),
     cells AS (SELECT *, n_ab AS k11, n_a - n_ab AS k12, n_b - n_ab AS k21, n - n_a - n_b + n_ab AS k22 FROM counted_pairs)
SELECT kind, product_id, place, related_id, n_ab, n_a, n_b,
       n_ab / sqrt(CAST(n_a * n_b AS DOUBLE)) AS cosine, CAST(n_ab AS DOUBLE) / (n_a + n_b - n_ab) AS jaccard,
       CAST(n_ab * n AS DOUBLE) / (n_a * n_b) AS lift,
       2 * (CASE WHEN k11 = 0 THEN 0 ELSE k11 * ln(CAST(k11 * n AS DOUBLE) / (n_a * n_b)) END
          + CASE WHEN k12 = 0 THEN 0 ELSE k12 * ln(CAST(k12 * n AS DOUBLE) / (n_a * (n - n_b))) END
          + CASE WHEN k21 = 0 THEN 0 ELSE k21 * ln(CAST(k21 * n AS DOUBLE) / ((n - n_a) * n_b)) END
          + CASE WHEN k22 = 0 THEN 0 ELSE k22 * ln(CAST(k22 * n AS DOUBLE) / ((n - n_a) * (n - n_b))) END) AS llr
FROM cells;

-- ------------------------------------------------------------------------------------------------------------ traffic

CREATE TABLE traffic_rows AS
WITH several AS (SELECT count(DISTINCT currency) > 1 AS several FROM sales_rows), parts AS (
    SELECT t, '(none)' AS currency, is_view::INT AS page_views, is_cart::INT AS cart_additions, 0 AS purchases,
           session_id, user_id, 0 AS net_sales FROM counted
    UNION ALL
    SELECT t, currency, 0, 0, lines, NULL, NULL, order_revenue - returns FROM sales_rows
    WHERE lines > 0 OR units_returned <> 0 OR returns <> 0
)
SELECT t, CASE WHEN several THEN currency ELSE '(all)' END AS currency, page_views, cart_additions, purchases, session_id,
       user_id, net_sales FROM parts, several;

CREATE TABLE traffic_events AS
SELECT start_text(r.t, z.offset_us, z.utc_from, 60000000) AS minute,
       start_text(r.t, z.offset_us, z.utc_from, 3600000000) AS hour,
       local_text(r.t, z.offset_us, '%Y-%m-%d') AS day, r.* EXCLUDE (t)
FROM traffic_rows r ASOF JOIN zone_offsets z ON r.t >= z.utc_from;

-- ------------------------------------------------------------------------------------------------------------ quality

-- Every record, booked where it was received or else happened. One that was not decoded has no time of its own.
CREATE TABLE quality_records AS
SELECT r.position, start_text(r.booked, z.offset_us, z.utc_from, 3600000000) AS hour,
       local_text(r.booked, z.offset_us, '%Y-%m-%d') AS day, source, verdict
FROM (SELECT position, source, verdict, coalesce(received_at, CASE WHEN sound THEN coalesce(t, updated_at) END) AS booked
      FROM judged) r
ASOF LEFT JOIN zone_offsets z ON r.booked >= z.utc_from;

CREATE TABLE more_than_paid AS
WITH sums AS (
    SELECT order_id, currency, sum(CASE WHEN sold THEN price_paid ELSE 0 END) AS paid,
           sum(CASE WHEN sold THEN 0 WHEN event_type = 'refund' THEN amount ELSE -price_paid END) AS returned
    FROM sales_lines GROUP BY ALL
)
SELECT order_id, currency FROM sums WHERE returned > paid;

CREATE TABLE disagreeing AS
SELECT order_id FROM events WHERE event_type = 'purchase' GROUP BY order_id
HAVING count(DISTINCT session_id) > 1 OR count(DISTINCT user_id) > 1;

-- One row for everything that is said of a record: a rule that it broke, a warning, or that it is late.
CREATE TABLE quality_findings AS
WITH findings AS (
    SELECT position, coalesce(rule, 'id_conflict') AS rule, 'quarantined' AS kind FROM judged WHERE verdict = 'quarantined'
    UNION ALL
    SELECT position, unnest(string_split(warnings, ',')), 'warned' FROM judged WHERE verdict = 'accepted' AND warnings <> ''
    UNION ALL
    SELECT position, 'unknown_product', 'warned' FROM events
    WHERE product_id IS NOT NULL AND product_id NOT IN (SELECT product_id FROM products)
    UNION ALL
    SELECT position, 'unknown_user', 'warned' FROM events WHERE user_id IS NOT NULL
        AND user_id NOT IN (SELECT user_id FROM judged WHERE verdict = 'accepted' AND event_type = 'user')
    UNION ALL
    SELECT position, 'returned_more_than_paid', 'warned' FROM events JOIN more_than_paid USING (order_id, currency)
    WHERE event_type = 'refund' OR (event_type = 'purchase' AND quantity < 0)
    UNION ALL
    SELECT position, 'order_disagrees', 'warned' FROM events JOIN disagreeing USING (order_id) WHERE event_type = 'purchase'
    UNION ALL
    SELECT position, 'late', 'late' FROM events WHERE received_at - t > (SELECT lateness_us FROM settings)
)
SELECT f.rule, f.kind, r.* FROM findings f JOIN quality_records r USING (position);

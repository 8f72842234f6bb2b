#!/bin/sh
# Makes a small lake of the format of a program: tests/lakes.sh PROGRAM FORMAT [DIR]. It is checked in once the format is released, and
# stays as it is: tests/blackbox/released.rs opens it with the programs that come after.
#
#   lake/         a replay with its state, then a run: all views, quarantine, pending records, changes, names
#   shop-log/     the log that it was read from
#   next.jsonl    what comes after that: new records, and copies of some that are in
#   answers.txt   what the program itself answers
set -eu
program=$(realpath "$1")
format=$2
folder=${3:-$(dirname "$0")/lakes/$format}
mkdir -p "$folder"
cd "$folder"
rm -rf lake shop-log next.jsonl answers.txt

horizons="--set horizons.deduplication=12d --set horizons.sessions=10d --set views.allowed_lateness_ms=1000"
shop="--products 12 --users 10 --bot-fraction 0.1 --refund-fraction 0.2 --return-line-fraction 0.1 --duplicate-fraction 0.05 \
    --recategorised-fraction 0.3 --late-product-fraction 0.2 --currencies USD,JPY --quiet"
run() {
    "$program" run --quiet --until-end --set serve.address= --set "source.log.paths=['shop-log']" --set lake.url=lake \
        --set lake.checkpoint_ms=3600000 --set lake.keep_checkpoints=2 --set lake.compression=zstd --set lake.sync=false $horizons
}
"$program" generate --events 110 --seed 1 --start 2026-03-01 --days 2 --malformed-fraction 0.05 --conflict-fraction 0.02 $shop \
    --log shop-log --partitions 2
"$program" replay shop-log --data-dir lake --quiet --format json --fail-above 100 --set replay.state=true \
    --set lake.compression=zstd $horizons
"$program" generate --events 90 --seed 2 --start 2026-03-03 --days 2 --malformed-fraction 0.03 $shop --log shop-log --partitions 2
# Older than any horizon: pending.
"$program" generate --events 12 --seed 3 --start 2026-02-01 --days 1 $shop --log shop-log --partitions 2
"$program" generate --events 40 --seed 4 --start 2026-03-05 --days 1 $shop --log shop-log --partitions 2
run
"$program" generate --events 40 --seed 4 --start 2026-03-05 --days 1 $shop --to - | grep '"event_id"' | tail -20 > next.jsonl
"$program" generate --events 40 --seed 5 --start 2026-03-06 --days 1 $shop --to - >> next.jsonl
while read -r question; do
    echo "# $question"
    # shellcheck disable=SC2086
    "$program" query $question --data-dir lake --format csv
done > answers.txt << 'QUESTIONS'
sales
sales --group-by day
sales --group-by month
sales --group-by hour,category
sales --group-by product_id
sales --group-by day,product_id,category_as_was
sales --group-by category,category_as_was,currency
sales --group-by category --where currency=JPY
funnel
funnel --group-by day
funnel --group-by month,category
funnel --group-by device
funnel --group-by referrer
related_products
related_products --rank-by n_ab
related_products --rank-by jaccard
related_products --rank-by lift --where kind=bought_together
related_products --rank-by llr
traffic
traffic --group-by hour
traffic --group-by day
quality
quality --group-by hour
quality --group-by day
quality --group-by rule
QUESTIONS

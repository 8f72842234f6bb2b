"""Makes each alert of deploy/prometheus/alerts.yaml ring at engines that run, by doing to them what it is for.

    python3 tests/deploy/alerts_live.py --millrace target/release/millrace --parts target/release/millrace-parts [--only NAME …] [--keep]

A Prometheus (tests/deploy/tools.sh fetches it) scrapes engines every second and evaluates the rules every second. The rules are those of the file,
but for times, which are cut by WINDOWS, FOR and THRESHOLDS and printed. Of each alert: it does not ring while all is well, it rings after its cause,
and it goes silent after that is over. What else rings at the same engines is printed, and has to be explained by the causes (`beside`).
A line an alert, and `N passed, M failed`; it ends with 1 where anything failed. Needs PyYAML, and Java for the broker. Four minutes, with a release program.
"""
import argparse
import contextlib
import copy
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alerts_parts import Broker, Engine, Log, Place, Prometheus, get, ports, wait_for
from report import DEPLOY, ROOT, Report, load

RULES = DEPLOY / "prometheus" / "alerts.yaml"
# Windows of the expressions, and how long it has to be so: old, new.
WINDOWS = {"5m": "10s", "10m": "15s", "15m": "40s", "30m": "60s", "1h": "30s"}
FOR = {"2m": "2s", "5m": "3s", "10m": "4s", "15m": "5s"}
# Thresholds that are times, which a cause cannot reach in seconds: alert, old, new.
THRESHOLDS = [
    ("MillraceAnswersOld", "millrace_freshness_seconds > 60", "millrace_freshness_seconds > 10"),
    ("MillraceCheckpointOld", "(millrace_checkpoint_age_seconds) > 300", "(millrace_checkpoint_age_seconds) > 15"),
    ("MillraceSinkLag", "millrace_sink_lag_seconds > 120", "millrace_sink_lag_seconds > 10"),
]
# Alerts that cannot be brought about honestly, and why: none.
NOT_BROUGHT_ABOUT = {}
# How long all has to be well before a cause.
CALM_S = 8
# Reading waits for a lake that is away only after a minute or two.
RINGS_S = 240
SILENT_S = 150
STAYS_S = 6


def shortened(rules, say):
    """The rules with their times cut; every change is said. An error where a change finds nothing to change."""
    rules = copy.deepcopy(rules)
    left = {name for name, _, _ in THRESHOLDS}
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        name = rule.get("alert") or rule["record"]
        changes = [f"[{old}] -> [{WINDOWS[old]}]" for old in sorted(set(re.findall(r"\[(\w+)\]", rule["expr"])))]
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda found: f"[{WINDOWS[found[1]]}]", rule["expr"])
        if "for" in rule:
            changes.append(f"for {rule['for']} -> {FOR[rule['for']]}")
            rule["for"] = FOR[rule["for"]]
        for alert, old, new in THRESHOLDS:
            if alert == name:
                if old not in rule["expr"]:
                    raise ValueError(f"{alert}: there is no {old} in its expression any more: correct THRESHOLDS")
                rule["expr"] = rule["expr"].replace(old, new)
                changes.append(f"{old.rsplit(' ', 1)[1]} s -> {new.rsplit(' ', 1)[1]} s")
                left.discard(alert)
        if changes:
            say(f"cut: {name}: {', '.join(changes)}")
    if left:
        raise ValueError(f"there is no alert {left}")
    return rules


class Bench:
    """What scenarios share, and what they found."""

    def __init__(self, place, arguments, report):
        self.place, self.arguments, self.report = place, arguments, report
        self.lock = threading.Lock()
        self.seen = set()
        self.prometheus = None

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def check(self, holds, message):
        with self.lock:
            if not self.report.check(holds, message):
                print(f"FAILED: {message}", flush=True)
        return holds

    def engine(self, name, settings, **options):
        return Engine(self.place, self.arguments.millrace, name, settings, **options)

    def scrape(self, job, *engines):
        self.prometheus.scrape(job, [target for engine in engines for target in engine.targets()])

    def calm(self, *jobs):
        """All of the jobs' targets are up, and nothing rings there for a while."""
        for job in jobs:
            query = f'min(up{{job="{job}"}})'
            wait_for(f"{job} is scraped", lambda query=query: self.prometheus.value(query) == 1, 30)
        # What rang while the engines were starting goes by.
        wait_for(f"{jobs} are silent", lambda: not any(self.prometheus.firing(job) for job in jobs), 90)
        begun = time.time()
        time.sleep(CALM_S)
        for job in jobs:
            rang = self.prometheus.fired(job, begun)
            self.check(not rang, f"{job}: {sorted(rang)} ring while all is well")

    def ring(self, alerts, cause, cure, beside=()):
        """`alerts`: (name, job). Each rings after `cause`, and not after `cure`; no others than those `beside` do at these jobs."""
        jobs = {job for _, job in alerts}
        begun = time.monotonic()
        since = time.time()
        cause()
        took = self.wait({alert: True for alert in alerts}, begun, RINGS_S)
        begun = time.monotonic()
        cure()
        gone = self.wait({alert: False for alert in alerts if alert in took}, begun, SILENT_S)
        # Not only for want of figures.
        time.sleep(STAYS_S)
        gone = {alert: after for alert, after in gone.items() if alert[0] not in self.prometheus.firing(alert[1])}
        for name, job in alerts:
            self.seen.add(name)
            if not self.check((name, job) in took, f"{name}: does not ring at {job} within {RINGS_S} s of its cause"):
                continue
            if self.check((name, job) in gone, f"{name}: rings at {job} {SILENT_S} s after its cause is gone"):
                self.say(f"{name:26} rang after {took[name, job]:5.1f} s, silent after {gone[name, job]:5.1f} s  ({job})")
        for job in jobs:
            others = self.prometheus.fired(job, since) - {name for name, of in alerts if of == job}
            if others:
                self.say(f"  beside, at {job}: {', '.join(sorted(others))}")
            self.check(others <= set(beside), f"{job}: {sorted(others - set(beside))} rang, too, which this does not explain")

    def wait(self, wanted, begun, most):
        """Seconds after `begun` at which each alert came to be as it is wanted, of those that did."""
        took = {}
        while len(took) < len(wanted) and time.monotonic() - begun < most:
            for (name, job), rings in wanted.items():
                if (name, job) in took or (name in self.prometheus.firing(job)) != rings:
                    continue
                # What nobody asks rings no more, either: it has to be back.
                if rings or self.prometheus.value(f'min(up{{job="{job}"}})') == 1:
                    took[name, job] = time.monotonic() - begun
            time.sleep(0.2)
        return took


def missing(bench):
    """A process of two is killed and stays away."""
    log = Log(bench.place.folder / "missing")
    first = ports(2)
    hosts = bench.place.folder / "missing.hosts"
    hosts.write_text("".join(f"127.0.0.1:{first + number}\n" for number in range(2)))

    def process(number):
        command = ["run", "--process", number, "--processes", 2, "--hosts", hosts]
        settings = {**log.settings(), "lake.url": bench.place.folder / "missing.lake"}
        return bench.engine(f"missing-{number}", settings, command=command)

    first, second = process(0).start(), process(1).start()
    first.wait_ready()
    second.wait_ready()
    job = "millrace-missing"
    bench.scrape(job, first, second)
    bench.calm(job)
    alerts = ["MillraceDown", "MillraceProcessMissing", "MillraceAnswersStale", "MillraceAnswersOld"]
    # While a process is away the engines of the others read nothing: their source counts as not reached.
    beside = ["MillraceSourceDown", "MillraceCheckpointOld", "MillraceRestarting"]
    bench.ring([(name, job) for name in alerts], lambda: second.end(signal.SIGKILL), second.start, beside)
    bench.scrape(job)
    for engine in (first, second):
        engine.end()
    log.end()


def restarting(bench):
    """The engine of a process of a cluster is killed whenever it has come back."""
    log = Log(bench.place.folder / "restarting")
    cluster = bench.engine("restarting", log.settings(), command=["cluster", "--processes", 2], processes=2).start().wait_ready()
    job = "millrace-restarting"
    bench.scrape(job, cluster)
    bench.calm(job)
    stop = threading.Event()

    def kill():
        while not stop.wait(1.0):
            for pid in cluster.engines()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    beside = ["MillraceProcessMissing", "MillraceAnswersStale", "MillraceSourceDown", "MillraceAnswersOld", "MillraceCheckpointOld"]
    bench.ring([("MillraceRestarting", job)], thread.start, stop.set, beside)
    bench.scrape(job)
    cluster.end()
    log.end()


def kafka(bench):
    """The lake of an engine that reads Kafka is closed; then its broker is killed, to which another engine publishes."""
    broker = Broker(bench.place, bench.arguments.parts)
    stop, paused = threading.Event(), threading.Event()
    sent = [0]
    at_once = [300]

    def send(events):
        sent[0] += 1
        # Of one day: what a longer one had sent late would be pending. Each begins with the records of its products and users,
        # some 20,000 where their number is not given.
        few = ["--products", 20, "--users", 20] if events < 1000 else []
        shop = ["--events", events, "--seed", sent[0], "--days", 1, *few]
        command = [bench.arguments.millrace, "generate", "--kafka", broker.bootstrap, "--topic", "events", *shop, "-q"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
        return done.returncode == 0

    if not send(500):
        raise RuntimeError("the generator could not send to the broker")

    def feed():
        while not stop.wait(0.5):
            if not paused.is_set():
                send(at_once[0])

    closed = bench.place.folder / "kafka.closed"
    settings = {"source.kind": "kafka", "source.kafka.brokers": broker.bootstrap, "source.kafka.topics": '[{name="events"}]'}
    reading = bench.engine("source", settings, environment={"MILLTEST_UNRELIABLE": f"closed:{closed}"}).start()
    log = Log(bench.place.folder / "published")
    out = {"kafka_out.brokers": broker.bootstrap, "kafka_out.views": '[{view="traffic", topic="shop.traffic"}]'}
    publishing = bench.engine("sink", {**log.settings(), **out}).start()
    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    reading.wait_ready()
    publishing.wait_ready()
    source, sink = "millrace-source", "millrace-sink"
    bench.scrape(source, reading)
    bench.scrape(sink, publishing)
    bench.calm(source, sink)
    alerts = ["MillraceCheckpointsFailing", "MillraceCheckpointOld", "MillraceLagGrowing"]

    def close():
        closed.touch()
        at_once[0] = 5000

    def reopen():
        closed.unlink()
        # So that a debug program, too, has read soon what waits.
        at_once[0] = 300

    bench.ring([(name, source) for name in alerts], close, reopen, ["MillraceAnswersOld"])
    paused.set()
    wait_for("all is read", lambda: reading.figure("millrace_source_lag_records") == 0, 180)
    bench.calm(source, sink)
    bench.ring([("MillraceSourceDown", source), ("MillraceSinkLag", sink)], broker.kill, broker.start_again)
    stop.set()
    bench.scrape(source)
    bench.scrape(sink)
    for engine in (reading, publishing):
        engine.end()
    log.end()
    broker.end()


def records(bench):
    """Lines that are no events; then events that are older than the horizons."""
    log = Log(bench.place.folder / "records")
    horizons = {"horizons.deduplication": "60s", "horizons.sessions": "60s", "lake.repair_every_ms": "20000"}
    engine = bench.engine("records", {**log.settings(), **horizons}).start().wait_ready()
    job = "millrace-records"
    bench.scrape(job, engine)
    replica = bench.engine("replica", {**horizons, "lake.url": engine.lake}, command=["serve"]).start()
    wait_for("the replica answers", lambda: get(f"http://{replica.targets()[0]}/readyz"), 60)
    replicas = "millrace-replicas"
    bench.scrape(replicas, replica)
    bench.calm(job, replicas)
    since = time.time()

    def over(what):
        """Writes 20 of them every second, until it is stopped."""
        stop = threading.Event()

        def write():
            while not stop.wait(1.0):
                with log.lock:
                    what()

        return threading.Thread(target=write, daemon=True), stop

    thread, stop = over(lambda: log.write(['{"event_type": "page_view", "price": '] * 20))
    bench.ring([("MillraceQuarantineShare", job)], thread.start, stop.set)
    # Two hours ago: the watermark is ten minutes behind, and horizons are one.
    thread, stop = over(lambda: log.write([log.view(7200) for _ in range(40)]))
    bench.ring([("MillracePendingGrowing", job)], thread.start, stop.set)
    rang = bench.prometheus.fired(replicas, since)
    bench.check(not rang, f"{sorted(rang)} ring at a read replica of a lake that goes on")
    bench.say(f"a read replica: {'nothing rang' if not rang else sorted(rang)} in {time.time() - since:.0f} s beside its engine")
    bench.scrape(replicas)
    bench.scrape(job)
    for one in (replica, engine):
        one.end()
    log.end()


def partition(bench):
    """A partition of a log is cut; then it is put back, and the engine started again."""
    log = Log(bench.place.folder / "partition", partitions=2)
    engine = bench.engine("partition", log.settings()).start().wait_ready()
    job = "millrace-partition"
    bench.scrape(job, engine)
    bench.calm(job)
    kept = log.paths[1].with_suffix(".kept")

    def cut():
        # Nothing is written to it meanwhile, so that what is put back is whole.
        with log.lock:
            path = log.paths.pop()
            path.rename(kept)
            path.write_bytes(kept.read_bytes()[: kept.stat().st_size // 3])

    def put_back():
        engine.end()
        kept.rename(kept.with_suffix(".jsonl"))
        engine.start().wait_ready()

    bench.ring([("MillracePartitionFault", job)], cut, put_back, ["MillraceDown", "MillraceAnswersStale", "MillraceSourceDown"])
    bench.scrape(job)
    engine.end()
    log.end()


def reads(bench):
    """Calls without the right token; then more heavy questions than are answered at once."""
    log = Log(bench.place.folder / "reads")
    with log.lock:
        log.write(shop(bench, 150_000))
    settings = {**log.settings(), "serve.read_tokens": '["right"]', "serve.heavy_queries_max": "1"}
    engine = bench.engine("reads", settings).start().wait_ready()
    program = bench.arguments.millrace
    end = threading.Event()

    def ask(token, view, *more, pause=0.2):
        command = [str(program), "query", view, "--addr", engine.addr(), "--format", "csv", *more]
        environment = engine.environment | {"MILLRACE_TOKEN": token}
        while not end.wait(pause):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def with_threads(number, *arguments, **options):
        end.clear()
        for _ in range(number):
            threading.Thread(target=ask, args=arguments, kwargs=options, daemon=True).start()

    job = "millrace-reads"
    bench.scrape(job, engine)
    with_threads(1, "right", "traffic", "--group-by", "day")
    wait_for("the shop is read", lambda: engine.figure("millrace_source_lag_records") < 100_000, 120)
    bench.calm(job)
    bench.ring([("MillraceReadsFailing", job)], lambda: with_threads(2, "wrong", "traffic", "--group-by", "day"), end.set)
    # Much to look at, and little to say: the callers need the cores less than the engine.
    question = ["sales", "--group-by", "hour,product_id,category", "--order-by", "net_sales:desc", "--limit", "5"]
    bench.ring([("MillraceReadsSlow", job)], lambda: with_threads(24, "right", *question, pause=0.0), end.set)
    bench.scrape(job)
    engine.end()
    log.end()


def shop(bench, events):
    """Lines of a shop's last days."""
    start = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 4 * 86_400))
    command = [bench.arguments.millrace, "generate", "--events", events, "--seed", 7, "--start", start, "--days", 3, "--to", "-", "-q"]
    return subprocess.run([str(part) for part in command], capture_output=True, check=True, timeout=60).stdout.decode(errors="replace").splitlines()


def memory(bench):
    """State grows in a process that has little memory; then it is given more."""
    log = Log(bench.place.folder / "memory")
    engine = bench.engine("memory", {**log.settings(), "lake.url": "", "limits.memory": "4GB", "serve.memory_bytes": "16777216"}).start().wait_ready()
    # A debug program begins with more.
    limit = f"{int(engine.figure('millrace_memory_bytes')) + (72 << 20)}"
    engine.end()
    engine.settings["limits.memory"] = limit
    engine.start().wait_ready()
    job = "millrace-memory"
    bench.scrape(job, engine)
    bench.calm(job)
    stop = threading.Event()

    def share():
        used, limit = engine.figure("millrace_memory_bytes"), engine.figure("millrace_memory_limit_bytes")
        return used / limit if used and limit else 0.0

    def fill():
        while not stop.wait(0.1):
            # The nearer it is, the less at once: what is on its way takes memory, too.
            if (used := share()) < 0.9:
                log.views(2500 if used < 0.7 else 500)

    def give_more():
        stop.set()
        bench.say(f"  memory: {share():.0%} of {limit} bytes")
        engine.end()
        engine.settings["limits.memory"] = "4GB"
        engine.start().wait_ready()

    beside = ["MillraceDown", "MillraceAnswersStale", "MillraceSourceDown", "MillraceLagGrowing"]
    bench.ring([("MillraceMemoryNearLimit", job)], threading.Thread(target=fill, daemon=True).start, give_more, beside)
    bench.scrape(job)
    engine.end()
    log.end()


SCENARIOS = [kafka, missing, restarting, records, partition, reads, memory]


def run(arguments, report):
    """All scenarios, some at once; what was wrong is in the report."""
    arguments.millrace, arguments.parts = Path(arguments.millrace).resolve(), arguments.parts.resolve()
    program = report.tool("prometheus", "the alerts, with engines that run")
    if program is None:
        report.check(False, "prometheus is not to be had: tests/deploy/tools.sh fetches it")
        return
    chosen = [scenario for scenario in SCENARIOS if not arguments.only or scenario.__name__ in arguments.only]
    with contextlib.ExitStack() as held:
        folder = tempfile.mkdtemp(prefix="alerts-") if arguments.keep else held.enter_context(tempfile.TemporaryDirectory(prefix="alerts-"))
        place = Place(folder)
        held.callback(place.end)
        bench = Bench(place, arguments, report)
        if arguments.keep:
            bench.say(f"all is kept in {folder}")
        rules = load(RULES)
        jobs = [f"millrace-{name}" for name in ("missing", "restarting", "source", "sink", "records", "replicas", "partition", "reads", "memory")]
        bench.prometheus = Prometheus(place, program, shortened(rules, bench.say), jobs)

        def attempt(scenario):
            try:
                scenario(bench)
            except Exception as error:  # noqa: BLE001: whatever ends a scenario is a failure of it, and the others go on
                bench.check(False, f"{scenario.__name__}: {type(error).__name__}: {error}")

        with ThreadPoolExecutor(arguments.at_once) as pool:
            list(pool.map(attempt, chosen))
        if not arguments.only:
            alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
            for name, why in NOT_BROUGHT_ABOUT.items():
                bench.say(f"{name:26} not brought about: {why}")
            for name in sorted(alerts - bench.seen - set(NOT_BROUGHT_ABOUT)):
                bench.check(False, f"{name}: nothing here makes its cause")


def add_options(parser):
    parser.add_argument("--parts", type=Path, default=ROOT / "target" / "release" / "millrace-parts", help="the program that starts a Kafka")
    parser.add_argument("--at-once", type=int, default=3, help="scenarios at once")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help=", ".join(one.__name__ for one in SCENARIOS))
    parser.add_argument("--keep", action="store_true", help="leave logs and lakes where they are")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", type=Path, default=ROOT / "target" / "release" / "millrace", help="the program, a debug or a release one")
    add_options(parser)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report()
    run(arguments, report)
    report.end()


if __name__ == "__main__":
    main()

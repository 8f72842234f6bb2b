#!/usr/bin/env python3
"""A cluster of three processes with addresses of their own, and what happens to its answers and its readers where one is lost.

    cargo build --release && sudo python3 benches/faults.py [--rounds N] [--events N] [--log] [--seed S]

Each process runs in a network namespace, the namespaces hang together by veth pairs and a bridge. A shop's events come from a real
Kafka in small parts, one a round (with --log: from a log that all reach). In each round, by turns, one of the processes

    kill-engine    loses its engine to kill -9
    kill-parent    loses its parent, and with it its engine, and is started again at once
    stop-engine    has its engine stand still (SIGSTOP) for longer than cluster.silence_ms, and go on then
    cut            is cut off from the others for longer than that, without a socket being closed

Readers in each namespace ask the process there five times a second for an answer and for its status. Printed is, for each kind of fault:
how long reads of a process that was not itself killed were refused, how old answers became, and how long it took until answers were of
records that came after the fault. At the end all answers are compared with those of one process that reads everything from the start,
`millrace verify` recomputes them from the lake's own events, and each file that the lake lists is read.

It needs root for the namespaces, Python with `grpcio` and `grpcio-reflection` (proto/examples/python/requirements.txt), and what
`millrace-parts` needs for Kafka.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/millrace"
PARTS = ROOT / "target/release/millrace-parts"
PLACE = ROOT / "target/bench/faults"
READER = ROOT / "proto/examples/python"
PROCESSES = 3
SILENCE_MS = 2_000
FAULTS = ["kill-engine", "kill-parent", "stop-engine", "cut"]
QUESTIONS = [
    "sales --group-by day,product_id,currency", "sales --group-by hour,category_as_was,currency", "funnel --group-by day,device",
    "funnel --group-by category,referrer", "traffic --group-by hour", "quality --group-by day,rule", "related_products",
]


def sh(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True)


class Network:
    """A namespace for each process, on one bridge."""

    def __init__(self):
        self.down()
        sh("ip", "link", "add", "mrbr", "type", "bridge")
        sh("ip", "link", "set", "mrbr", "up")
        for process in range(PROCESSES):
            space, outside, inside = f"mr{process}", f"mrv{process}", f"mri{process}"
            sh("ip", "netns", "add", space)
            sh("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
            sh("ip", "link", "set", inside, "netns", space)
            sh("ip", "link", "set", outside, "master", "mrbr", "up")
            self.inside(process, "ip", "addr", "add", f"10.77.0.{10 + process}/24", "dev", inside)
            self.inside(process, "ip", "link", "set", inside, "up")
            self.inside(process, "ip", "link", "set", "lo", "up")

    @staticmethod
    def inside(process, *command):
        return sh("ip", "netns", "exec", f"mr{process}", *command)

    @staticmethod
    def cut(process, is_cut):
        sh("ip", "link", "set", f"mrv{process}", "down" if is_cut else "up")

    @staticmethod
    def down():
        for process in range(PROCESSES):
            sh("ip", "netns", "del", f"mr{process}", check=False)
            sh("ip", "link", "del", f"mrv{process}", check=False)
        sh("ip", "link", "del", "mrbr", check=False)


FORWARD = """
import asyncio, sys
async def pipe(a, b):
    try:
        while data := await a.read(1 << 16):
            b.write(data); await b.drain()
    except OSError:
        pass
    finally:
        b.close()
async def main():
    side, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    async def met(r, w):
        try:
            if side == "outside":
                r2, w2 = await asyncio.open_connection("127.0.0.1", port)
            else:
                r2, w2 = await asyncio.open_unix_connection(path)
        except OSError:
            w.close(); return
        await asyncio.gather(pipe(r, w2), pipe(r2, w))
    if side == "outside":
        server = await asyncio.start_unix_server(met, path)
    else:
        server = await asyncio.start_server(met, "127.0.0.1", port)
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""

READ = """
import json, sys, time
import grpc
sys.path.insert(0, sys.argv[1])
import read
channel, server = grpc.insecure_channel("127.0.0.1:7117"), None
while True:
    begun, line = time.time(), {}
    try:
        server = server or read.Server(channel, None)
        server.call("GetStatus", timeout=1)
        asked = time.time()
        answer = server.call("Query", timeout=1, query={"view": "sales", "group_by": ["day"], "limit": 1})
        line = {"ok": True, "query": time.time() - asked, "at_ms": answer.at.epoch, "epoch": answer.at.epoch}
    except Exception as error:
        server = None
        line = {"ok": False, "why": str(getattr(error, "details", lambda: error)())[:120]}
    print(json.dumps({"t": begun, "took": time.time() - begun, **line}), flush=True)
    time.sleep(max(0, 0.2 - (time.time() - begun)))
"""


class Reader(threading.Thread):
    """Asks the process of a namespace, all the time."""

    def __init__(self, python, process):
        super().__init__(daemon=True)
        command = ["ip", "netns", "exec", f"mr{process}", python, "-c", READ, str(READER)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines, self.lock = [], threading.Lock()
        self.start()

    def run(self):
        for line in self.child.stdout:
            with self.lock:
                self.lines.append(json.loads(line))

    def since(self, time_):
        with self.lock:
            return [line for line in self.lines if line["t"] >= time_]


class Cluster:
    def __init__(self, network, settings):
        self.network, self.settings, self.parents = network, settings, [None] * PROCESSES
        hosts = PLACE / "hosts"
        hosts.write_text("".join(f"10.77.0.{10 + process}:7118\n" for process in range(PROCESSES)))
        self.hosts = hosts
        for process in range(PROCESSES):
            self.start(process)

    def start(self, process):
        log = (PLACE / f"process-{process}.log").open("a")
        given = sum((["--set", one] for one in self.settings), [])
        place = ["--process", str(process), "--processes", str(PROCESSES), "--hosts", str(self.hosts)]
        command = ["ip", "netns", "exec", f"mr{process}", str(BINARY), "run", *given, *place]
        self.parents[process] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, stdin=subprocess.DEVNULL)

    def engine(self, process, patience=20):
        """The process id of the engine of a process, once there is one."""
        until = time.time() + patience
        while time.time() < until:
            found = sh("pgrep", "-P", self.parents[process].pid, "-f", " engine --", check=False).stdout.split()
            if found:
                return int(found[0])
            time.sleep(0.05)
        raise SystemExit(f"process {process} has no engine")

    def fault(self, kind, process):
        """Does it; returns how to undo it, and when."""
        if kind == "kill-engine":
            os.kill(self.engine(process), signal.SIGKILL)
        elif kind == "kill-parent":
            self.parents[process].kill()
            self.parents[process].wait()
            self.start(process)
        elif kind == "stop-engine":
            engine = self.engine(process)
            os.kill(engine, signal.SIGSTOP)
            return lambda: sh("kill", "-CONT", engine, check=False)
        elif kind == "cut":
            self.network.cut(process, True)
            return lambda: self.network.cut(process, False)
        return None

    def end(self):
        for parent in self.parents:
            parent.send_signal(signal.SIGTERM)
        return [parent.wait(timeout=120) for parent in self.parents]


def wait_fresh(readers, since, patience):
    """How long until every reader has an answer of an epoch that began after `since`."""
    until = time.time() + patience
    while time.time() < until:
        if all(any(line["ok"] and line["at_ms"] / 1000 > since for line in reader.since(since)) for reader in readers):
            return time.time() - since
        time.sleep(0.05)
    return None


def refused(lines, until):
    """For how long reads were refused: from one that failed to the next that did not."""
    total, since = 0.0, None
    for line in lines:
        if line["t"] > until:
            break
        if not line["ok"] and since is None:
            since = line["t"]
        if line["ok"] and since is not None:
            total, since = total + line["t"] - since, None
    return total + (until - since if since is not None else 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--log", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY)
    arguments = parser.parse_args()
    globals()["BINARY"] = arguments.binary.resolve()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    venv = ROOT / "target/parts/reader"
    if not (venv / "bin/pip").exists() or sh(venv / "bin/python", "-c", "import grpc_reflection", check=False).returncode:
        sh(sys.executable, "-m", "venv", venv)
        sh(venv / "bin/python", "-m", "pip", "install", "-q", "-r", READER / "requirements.txt")
    network, chance = Network(), random.Random(arguments.seed)
    helpers = []
    each = arguments.events // (arguments.rounds + 1)
    shop = ["--start", "2026-11-20", "--days", "3", "--quiet", "--currencies", "USD,EUR"]
    if arguments.log:
        source = [f"source.log.paths=['{PLACE / 'log'}']"]
        sent = ["--log", str(PLACE / "log"), "--partitions", "6"]
    else:
        broker = subprocess.Popen([PARTS, "kafka"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        brokers = json.loads(broker.stdout.readline())["bootstrap"]
        helpers.append(broker)
        port, path = brokers.rsplit(":", 1)[1], str(PLACE / "kafka.sock")
        helpers.append(subprocess.Popen([sys.executable, "-c", FORWARD, "outside", port, path]))
        for process in range(PROCESSES):
            command = ["ip", "netns", "exec", f"mr{process}", sys.executable, "-c", FORWARD, "inside", port, path]
            helpers.append(subprocess.Popen(command))
        source = ["source.kind=kafka", f"source.kafka.brokers={brokers}", 'source.kafka.topics=[{name="events"}]']
        sent = ["--kafka", brokers, "--partitions", "6"]

    def send(part):
        command = [BINARY, "generate", "--events", str(each), "--seed", str(1000 + part), *shop, *sent]
        return subprocess.Popen([str(one) for one in command], stdout=subprocess.DEVNULL)

    send(0).wait()
    settings = [*source, f"lake.url={PLACE / 'lake'}", "serve.address=127.0.0.1:7117", "live.workers=1", "lake.checkpoint_ms=2000",
                f"cluster.silence_ms={SILENCE_MS}", "horizons.deduplication=unlimited", "horizons.sessions=unlimited"]
    cluster, readers, rows = None, [], {}
    try:
        cluster = Cluster(network, settings)
        readers = [Reader(str(venv / "bin/python"), process) for process in range(PROCESSES)]
        first = wait_fresh(readers, time.time(), 120)
        print(f"{PROCESSES} processes serve after {first:.1f} s" if first else "no answers in 120 s", flush=True)
        if not first:
            raise SystemExit(1)
        last_epoch = [0] * PROCESSES
        for number in range(arguments.rounds):
            kind, process = FAULTS[number % len(FAULTS)], chance.randrange(PROCESSES)
            part = send(number + 1)
            time.sleep(chance.uniform(0.2, 2.5))
            begun = time.time()
            undo = cluster.fault(kind, process)
            if undo:
                time.sleep(SILENCE_MS / 1000 + chance.uniform(0.5, 2))
                undo()
            until = time.time()
            recovered = wait_fresh(readers, until, 90)
            if recovered is None:
                print(f"round {number}: no recovery from {kind} of process {process} in 90 s", flush=True)
                raise SystemExit(1)
            recovered += until - begun
            end = begun + recovered
            others = [reader for index, reader in enumerate(readers) if kind != "kill-parent" or index != process]
            away = max(refused(reader.since(begun), end) for reader in others)
            ages = [line["t"] + line["took"] - line["at_ms"] / 1000 for reader in others for line in reader.since(begun) if line["ok"]]
            for index, reader in enumerate(readers):
                epochs = [line["epoch"] for line in reader.since(begun) if line["ok"]]
                # A parent that was killed begins anew, from the lake.
                if kind != "kill-parent" or index != process:
                    assert epochs == sorted(epochs) and (not epochs or epochs[0] >= last_epoch[index]), f"reader {index} went back"
                last_epoch[index] = epochs[-1] if epochs else last_epoch[index]
            rows.setdefault(kind, []).append((away, max(ages, default=0), recovered))
            print(f"round {number + 1}: {kind} of process {process}: reads refused {away:.1f} s, oldest answer {max(ages, default=0):.1f} s, "
                  f"fresh after {recovered:.1f} s", flush=True)
            part.wait()
        time.sleep(3)
        codes = cluster.end()
        print(f"ended with exit codes {codes}")
        cluster = None
        print(f"\n{'fault':<12} {'rounds':>6} {'refused max':>12} {'oldest p50':>11} {'max':>6} {'fresh p50':>10} {'max':>6}   (seconds)")
        for kind, seen in sorted(rows.items()):
            aways, olds, fresh = zip(*seen)
            print(f"{kind:<12} {len(seen):>6} {max(aways):>12.1f} {statistics.median(olds):>11.1f} {max(olds):>6.1f} "
                  f"{statistics.median(fresh):>10.1f} {max(fresh):>6.1f}")
        for process, reader in enumerate(readers):
            took = sorted(line["query"] for line in reader.since(0) if line["ok"])
            at = lambda share: took[int(share * (len(took) - 1))] * 1000
            print(f"process {process}: {len(took)} reads, p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, faults and all")
        compare(settings)
    finally:
        if cluster:
            [parent.kill() for parent in cluster.parents]
        [reader.child.kill() for reader in readers]
        [helper.kill() for helper in helpers]
        network.down()


def compare(settings):
    """The lake against one process that reads everything from the start, and against its own events."""
    whole = [one if not one.startswith("lake.url") else f"lake.url={PLACE / 'whole'}" for one in settings]
    whole = [one for one in whole if not one.startswith("serve.")] + ["serve.address="]
    given = sum((["--set", one] for one in whole), [])
    done = sh(BINARY, "run", "--until-end", "--quiet", "--format", "json", *given)
    read = json.loads(done.stdout)
    print(f"one process from the start: {read['read']} records read, {read['accepted']} accepted")
    failed = 0
    for question in QUESTIONS:
        asked = [sh(BINARY, "query", *question.split(), "--limit", "10000000", "--format", "csv", "--data-dir", PLACE / lake).stdout
                 for lake in ("lake", "whole")]
        failed += asked[0] != asked[1]
        print(f"{'same  ' if asked[0] == asked[1] else 'OTHER '} {question}: {asked[0].count(chr(10))} lines")
    verified = sh(BINARY, "verify", "--data-dir", PLACE / "lake", check=False)
    failed += verified.returncode != 0
    print(f"verify: exit code {verified.returncode}: {verified.stdout.strip().splitlines()[-1] if verified.stdout.strip() else verified.stderr}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

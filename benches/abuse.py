"""What strangers do to a server that may have so much memory, while an honest reader asks.

    python benches/abuse.py --millrace target/release/millrace

Each kind of abuse goes on for a while and then closes all of its connections. The table says how much memory the process had
at most and some seconds after, and how long the honest reader waited meanwhile. Where control groups can be made, the limit is
one; otherwise the process's memory is watched. It ends with 1 where the process went, a reader failed or waited too long (p99
over 50 ms), or memory did not come back to within a tenth.

It speaks HTTP/2 by hand, with nothing but Python's own library: no client does what this does.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
LARGEST = 2**31 - 1
P99_MOST_MS = 50


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def question(view, group_by, limit=0):
    out = field(1, view) + b"".join(field(2, column) for column in group_by)
    return out + (field(7, limit) if limit else b"")


def head(method):
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/millrace.v1.Analytics/" + method),
        (":authority", "shop"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    text = lambda word: bytes([len(word)]) + word.encode()
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


class Connection:
    def __init__(self, address, window=LARGEST):
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.next = 1
        self.buffer = b""
        settings = struct.pack(">HI", 4, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))

    def bytes_of(self, method, message):
        stream, self.next = self.next, self.next + 2
        body = b"\0" + struct.pack(">I", len(message)) + message
        return frame(HEADERS, END_HEADERS, stream, head(method)) + frame(DATA, END_STREAM, stream, body)

    def send(self, method, message):
        self.socket.sendall(self.bytes_of(method, message))
        return self.next - 2

    def frame(self):
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            more = self.socket.recv(1 << 18)
            if not more:
                raise ConnectionError("the server has closed the connection")
            self.buffer += more
        length = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
        payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
        if kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == DATA and length:
            # What was taken may be sent again.
            self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", length)))
        elif kind == GOAWAY:
            raise ConnectionError("the server says goodbye")
        return kind, flags, stream, length

    def ask(self, method, message):
        """Waits for the whole answer. Whether there is one, and not only a status."""
        asked, taken = self.send(method, message), 0
        while True:
            kind, flags, stream, length = self.frame()
            if stream == asked:
                taken += length if kind == DATA else 0
                if kind == RST_STREAM or kind in (HEADERS, DATA) and flags & END_STREAM:
                    return taken > 0


def reader(address, results, stop):
    """An honest reader: sends one request after the other, and now and then comes anew."""
    connection, number = None, 0
    products = [f"P{number:05}" for number in range(50)]
    while not stop.is_set():
        begun = time.time()
        try:
            if connection is None or number % 50 == 0:
                connection = Connection(address)
            if number % 3:
                good = connection.ask("GetRelatedProducts", field(1, products[number % 50]) + field(4, 10))
            else:
                good = connection.ask("GetSales", field(1, "day") + field(11, 7))
        except OSError:
            connection, good = None, False
        results.put((begun, time.time() - begun, good))
        number += 1
        time.sleep(0.01)


class Engine:
    def __init__(self, options, folder):
        self.options, self.folder, self.group = options, folder, None
        millrace = str(options.millrace.resolve())
        generate = [millrace, "generate", "--events", str(options.events), "--seed", "7", "--products", "5000"]
        subprocess.run([*generate, "--log", "log", "--partitions", "2", "--quiet"], cwd=folder, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        self.text = "%s:%d" % self.address
        run = [millrace, "run", "--quiet", "--set", "source.log.paths=['log']", "--set", f"serve.address={self.text}"]
        run += ["--set", "horizons.deduplication=unlimited", "--set", "horizons.sessions=unlimited"]
        for setting in options.set:
            run += ["--set", setting]
        self.group = self.limited()
        join = str(self.group / "cgroup.procs") if self.group else "/dev/null"
        # It is in the group before it begins, so that `limits.memory = auto` sees the limit.
        within = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join]
        self.process = subprocess.Popen([*within, *run], cwd=folder, stdout=subprocess.DEVNULL)
        deadline = time.time() + 300
        while time.time() < deadline:
            status = self.status()
            if status and status["partitions"] and all(part["lag"] == 0 for part in status["partitions"]) and status["epoch"]:
                return
            time.sleep(0.2)
        sys.exit("the engine did not read its log in time")

    def limited(self):
        """A control group with the limit, of version 2 or 1; None where there can be none."""
        root = pathlib.Path("/sys/fs/cgroup")
        folder, file = (root, "memory.max") if (root / "cgroup.controllers").exists() else (root / "memory", "memory.limit_in_bytes")
        group = folder / f"abuse-{os.getpid()}"
        try:
            group.mkdir()
            # Where it is no file of a control group it is not there yet, and none is made.
            with open(group / file, "r+") as limit:
                limit.write(str(self.options.limit_mb << 20))
            swap = group / "memory.swap.max"
            if swap.exists():
                swap.write_text("0")
            return group
        except OSError:
            if group.exists():
                group.rmdir()
            return None

    def status(self):
        command = [str(self.options.millrace.resolve()), "status", "--addr", self.text, "--format", "json"]
        done = subprocess.run(command, capture_output=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def rss_mb(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0

    def lives(self):
        return self.process.poll() is None

    def end(self):
        self.process.terminate()
        self.process.wait()
        if self.group:
            self.group.rmdir()


FINE = ["hour", "product_id", "category_as_was"]


def send(connection, data):
    try:
        connection.socket.sendall(data)
        return True
    except OSError:
        return False


def unread_subscriptions(engine, held):
    """600 different ones, on 12 connections, which read nothing."""
    for number in range(12):
        connection = Connection(engine.address)
        held.append(connection)
        for each in range(50):
            asked = field(1, question("sales", ["day", "product_id"], 10_000 + number * 50 + each))
            if not send(connection, connection.bytes_of("Subscribe", asked)):
                break


def unread_answers(engine, held):
    """50 connections with 200 questions each, which read nothing."""
    for number in range(50):
        try:
            connection = Connection(engine.address)
        except OSError:
            continue
        held.append(connection)
        for each in range(200):
            asked = field(1, question("sales", ["day", "product_id"], 5_000 + each)) + field(3, 20_000)
            if not send(connection, connection.bytes_of("Query", asked)):
                break


def idle_connections(engine, held):
    """600 that say nothing, and as many that speak HTTP/2 and ask nothing."""
    for _ in range(600):
        try:
            held.append(socket.create_connection(engine.address, timeout=5))
            held.append(Connection(engine.address))
        except OSError:
            pass


def half_open(engine, held):
    """400 connections: with half a preface, with half a request, and with requests that never end."""
    for number in range(400):
        try:
            if number % 2:
                plain = socket.create_connection(engine.address, timeout=5)
                plain.sendall(PREFACE[: number % 24])
                held.append(plain)
                continue
            connection = Connection(engine.address)
            held.append(connection)
            for each in range(50):
                # It says that it is a megabyte long, and brings a kilobyte.
                part = b"\0" + struct.pack(">I", 1_000_000) + bytes(1_000)
                send(connection, frame(HEADERS, END_HEADERS, 2 * each + 1, head("Query")) + frame(DATA, 0, 2 * each + 1, part))
        except OSError:
            pass


def rapid_resets(engine, held):
    """Four connections that ask and break off, as fast as they can, and come again."""
    until = time.time() + engine.options.seconds / 2

    def resets():
        while time.time() < until:
            try:
                connection = Connection(engine.address)
                asked = field(1, question("sales", FINE)) + field(3, 100)
                while time.time() < until:
                    data = b"".join(
                        connection.bytes_of("Query", asked) + frame(RST_STREAM, 0, connection.next - 2, struct.pack(">I", 8))
                        for _ in range(20)
                    )
                    connection.socket.sendall(data)
            except OSError:
                time.sleep(0.01)

    threads = [threading.Thread(target=resets) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def different_questions(engine, held):
    """1,000 different questions, and 200 subscriptions to different ones, all of which are read."""

    def asks(part):
        try:
            connection = Connection(engine.address)
            for each in range(250):
                columns = [["day", "product_id"], ["hour"], ["month", "category"], ["product_id", "category_as_was"]][part]
                connection.ask("Query", field(1, question("sales", columns, 1 + part * 250 + each)) + field(3, 1_000))
        except OSError:
            pass

    def listens():
        try:
            connection = Connection(engine.address)
            held.append(connection)
            for each in range(200):
                connection.send("Subscribe", field(1, question("traffic", ["hour"], 1 + each)))
            while True:
                connection.frame()
        except OSError:
            pass

    threading.Thread(target=listens, daemon=True).start()
    threads = [threading.Thread(target=asks, args=(part,)) for part in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


KINDS = [unread_subscriptions, unread_answers, idle_connections, half_open, rapid_resets, different_questions]


def percentile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", type=pathlib.Path, required=True)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--limit-mb", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=15, help="of each kind")
    parser.add_argument("--after", type=float, default=10, help="seconds after which memory has to be back; more than serve.subscription_resume_ms")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=["serve.subscription_resume_ms=3000", "serve.keep_epochs_ms=3000"])
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="abuse"))
    engine = Engine(options, folder)
    results, stop = multiprocessing.Queue(), multiprocessing.Event()
    honest = multiprocessing.Process(target=reader, args=(engine.address, results, stop), daemon=True)
    honest.start()
    time.sleep(3)
    collected, bad = [], []

    def collect():
        while not results.empty():
            collected.append(results.get())

    print(f"limit {options.limit_mb} MB, {'by a control group' if engine.group else 'watched'}; {options.events} events")
    print("| kind | RSS before | at most | after | refused | requests | p50 ms | p99 ms | longest ms | failed |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in [None, *KINDS]:
        name = kind.__name__ if kind else "nothing"
        if kind and options.only and name not in options.only:
            continue
        before, most, held = engine.rss_mb(), 0, []
        refused = (engine.status() or {}).get("refused", 0)
        begun = time.time()
        thread = threading.Thread(target=kind, args=(engine, held), daemon=True) if kind else None
        if thread:
            thread.start()
        while time.time() < begun + options.seconds or thread and thread.is_alive():
            if not engine.lives():
                engine.end()
                sys.exit(f"{name}: the engine has ended with {engine.process.returncode}")
            most = max(most, engine.rss_mb())
            time.sleep(0.05)
        ended = time.time()
        for one in held:
            (one.socket if isinstance(one, Connection) else one).close()
        time.sleep(options.after if kind else 0)
        after = engine.rss_mb()
        collect()
        times = [took * 1_000 for start, took, good in collected if begun <= start < ended]
        failed = sum(1 for start, took, good in collected if begun <= start < ended and not good)
        refused = (engine.status() or {}).get("refused", 0) - refused
        p99 = percentile(times, 0.99)
        row = [name, f"{before:.0f}", f"{most:.0f}", f"{after:.0f}", refused, len(times)]
        row += [f"{percentile(times, 0.5):.1f}", f"{p99:.1f}", f"{max(times, default=0):.0f}", failed]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
        if most > options.limit_mb:
            bad.append(f"{name}: {most:.0f} MB")
        if kind and after > before * 1.1:
            bad.append(f"{name}: {after:.0f} MB after, {before:.0f} before")
        if not p99 <= P99_MOST_MS or failed:
            bad.append(f"{name}: p99 {p99:.1f} ms, {failed} failed")
    stop.set()
    honest.join(5)
    engine.end()
    shutil.rmtree(folder)
    for what in bad:
        print("too much: " + what)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

"""What alerts_live.py runs: Prometheus, engines, a broker, a log that somebody writes to. All on 127.0.0.1, all ended with their `Place`."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def get(url, timeout=5):
    """The body of a page; None where nobody answers, or with an error."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def wait_for(what, holds, seconds):
    """Seconds until it holds; an error that names `what` after so many."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return time.monotonic() - begun


class Place:
    """A folder, and the processes that were started there."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.started = []

    def start(self, name, command, **options):
        """Its words go to a file of its name."""
        log = (self.folder / f"{name}.log").open("ab")
        # A group of its own: what it has started ends with it.
        options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True, **options}
        process = subprocess.Popen([str(part) for part in command], **options)
        self.started.append(process)
        return process

    def end(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.started:
            process.wait(10)


def children(pid):
    """(pid, arguments) of the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid:
                found.append((int(path.name), (path / "cmdline").read_text().split("\0")[:-1]))
    return found


class Prometheus:
    """Scrapes and evaluates every second. Targets come and go by files."""

    def __init__(self, place, program, rules, jobs):
        self.place = place
        self.port = free_port()
        self.targets = place.folder / "targets"
        self.targets.mkdir()
        (place.folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
        scrapes = [{"job_name": job, "file_sd_configs": [{"files": [f"{self.targets}/{job}.json"], "refresh_interval": "1s"}]} for job in jobs]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": scrapes,
        }
        (place.folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        data = place.folder / "prometheus"
        place.start("prometheus", [
            program, f"--config.file={place.folder}/prometheus.yaml", f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--storage.tsdb.retention.time=1d",
        ])
        wait_for("Prometheus is ready", lambda: get(f"http://127.0.0.1:{self.port}/-/ready"), 60)

    def scrape(self, job, addresses):
        """From now on these, and no others, are the targets of a job."""
        path = self.targets / f"{job}.json"
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps([{"targets": addresses}]))
        beside.rename(path)

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def firing(self, job=None):
        """Names of the alerts that fire, of a job or of all."""
        alerts = self.ask("alerts")["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing" and job in (None, a["labels"]["job"])}

    def fired(self, job, since):
        """Names of the alerts of a job that have fired since then, in seconds since 1970."""
        query = f'max_over_time(ALERTS{{alertstate="firing",job="{job}"}}[{max(1, int(time.time() - since))}s])'
        return {found["metric"]["alertname"] for found in self.ask("query", query=query)["result"]}

    def value(self, query):
        """The greatest value of a question, None where there is none."""
        found = [float(one["value"][1]) for one in self.ask("query", query=query)["result"]]
        return max(found, default=None)


class Engine:
    """A process of Millrace, with a lake of its own name."""

    def __init__(self, place, program, name, settings, command=("run",), environment=None, processes=1):
        self.place, self.program, self.name = place, program, name
        self.lake = place.folder / f"{name}.lake"
        self.serve, self.metrics = ports(processes), ports(processes)
        self.processes = processes
        self.command = list(command)
        self.settings = {
            "lake.url": str(self.lake), "lake.checkpoint_ms": "1000", "live.workers": "1", "serve.address": f"127.0.0.1:{self.serve}",
            "metrics.address": f"127.0.0.1:{self.metrics}", **settings,
        }
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MILLRACE_", "MILLTEST_"))}
        self.environment = clean | (environment or {})

    def start(self):
        command = [self.program, *self.command]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        self.process = self.place.start(self.name, command, env=self.environment, cwd=self.place.folder)
        return self

    def targets(self):
        return [f"127.0.0.1:{self.metrics + number}" for number in range(self.processes)]

    def addr(self):
        return f"127.0.0.1:{self.serve}"

    def figures(self):
        return get(f"http://127.0.0.1:{self.metrics}/metrics", 2) or ""

    def figure(self, name):
        """Of the first process; the sum over labels, None where it is not there."""
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)", self.figures(), re.MULTILINE)
        return sum(map(float, found)) if found else None

    def wait_ready(self, seconds=90):
        """Until there are answers, and they are those of a dataflow that reads."""
        def holds():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended with {self.process.returncode}: {self.last_words()}")
            pages = [get(f"http://{target}/metrics", 2) or "" for target in self.targets()]
            return all("\nmillrace_stale 0" in page and "\nmillrace_epoch " in page for page in pages)
        wait_for(f"{self.name} answers", holds, seconds)
        return self

    def last_words(self):
        return " | ".join((self.place.folder / f"{self.name}.log").read_text().splitlines()[-3:])

    def end(self, how=signal.SIGTERM, seconds=30):
        self.process.send_signal(how)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def engines(self):
        """Processes that compute, of a cluster: children of the parents."""
        parents = [self.process.pid] + [pid for pid, _ in children(self.process.pid)]
        return [pid for parent in parents for pid, arguments in children(parent) if "engine" in arguments[1:2]]


def ports(count):
    """The first of so many free ports in a row."""
    for _ in range(200):
        first = free_port()
        with contextlib.ExitStack() as held, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no free ports in a row")


class Broker:
    """A Kafka of `millrace-parts`."""

    def __init__(self, place, parts):
        self.place = place
        self.keeper = place.start("broker", [parts, "kafka"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.keeper.stdout.readline()
        if not line:
            raise RuntimeError(f"{parts} kafka has not started: see {place.folder}/broker.log")
        told = json.loads(line)
        self.bootstrap, self.pid = told["bootstrap"], told["pid"]
        self.command = Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1]
        self.folder = os.readlink(f"/proc/{self.pid}/cwd")
        self.java = None

    def kill(self):
        if self.java is None:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self.java.kill()
            self.java.wait(10)

    def start_again(self):
        """With its data, on its port."""
        self.java = self.place.start("java", self.command, cwd=self.folder)
        host, port = self.bootstrap.split(":")

        def answers():
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return True
            return False

        wait_for("the broker listens again", answers, 60)

    def end(self):
        """Its data go with it."""
        if self.java is not None:
            self.java.kill()
            self.java.wait(10)
        self.keeper.stdin.close()
        self.keeper.wait(30)


class Log:
    """A log of one or more partitions, to which a thread writes page views, so many a second."""

    def __init__(self, folder, partitions=1, rate=50):
        self.folder = Path(folder)
        self.paths = []
        for number in range(partitions):
            path = self.folder / f"partition={number:05}"
            path.mkdir(parents=True)
            self.paths.append(path / f"{0:020}.jsonl")
            self.paths[-1].touch()
        (self.folder / "log.json").write_text(json.dumps({"format": "millrace-log", "version": 1, "partitions": partitions}))
        self.name = self.folder.name
        self.rate, self.count, self.ends, self.lock = rate, 0, threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self.write_on, daemon=True)
        self.thread.start()

    def settings(self):
        return {"source.kind": "log", "source.log.paths": json.dumps([str(self.folder)])}

    def view(self, age_s=0.0):
        """A page view of a new session, that many seconds ago."""
        self.count += 1
        at = time.time() - age_s
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06}Z"
        return json.dumps({
            "event_type": "page_view", "event_id": f"{self.name}-{self.count}", "event_time": stamp,
            "session_id": f"{self.name}-s{self.count}", "page_type": "product_detail", "product_id": f"p{self.count % 50:03}",
            "user_id": f"u{self.count % 1000}",
        })

    def write(self, lines, partition=None):
        """Appends lines, whole."""
        text = "".join(line + "\n" for line in lines)
        paths = self.paths if partition is None else [self.paths[partition]]
        with paths[self.count % len(paths)].open("a") as file:
            file.write(text)

    def views(self, number, age_s=0.0):
        with self.lock:
            self.write([self.view(age_s) for _ in range(number)])

    def write_on(self):
        while not self.ends.wait(0.1):
            with contextlib.suppress(OSError), self.lock:
                for partition in range(len(self.paths)):
                    self.write([self.view() for _ in range(max(1, self.rate // 10 // len(self.paths)))], partition)

    def end(self):
        self.ends.set()
        self.thread.join(5)

"""The engine as seen from outside: its command line, its JSON report and its CSV answers."""
import csv
import datetime
import io
import json
import subprocess
from pathlib import Path

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class EngineFailed(Exception):
    """The engine's command ended with an error."""


class Engine:
    def __init__(self, binary, data_dir):
        self.binary = str(Path(binary).resolve())
        self.data_dir = str(data_dir)
        self.report = None
        self.said = ""

    def ask(self, question, settings=()):
        return self.query(question.view, question.group_by, question.rank_by, question.where, settings, question.days,
                          question.order_by, question.limit)

    def run(self, *arguments):
        command = [self.binary, *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said = done.stderr.decode(errors="replace")
        if done.returncode != 0:
            message = done.stderr.decode(errors="replace").strip()[-600:]
            raise EngineFailed(f"`millrace {' '.join(command[1:])}` ended with {done.returncode}: {message}")
        return done.stdout.decode("utf-8")

    def replay(self, files, workers, settings=()):
        extra = [part for setting in settings for part in ("--set", setting)]
        # Data that is bad on purpose is no failure.
        text = self.run("replay", *files, "--data-dir", self.data_dir, "--workers", workers, "--format", "json",
                        "--fail-above", "100", *extra)
        try:
            self.report = json.loads(text)
        except ValueError:
            self.report = json.loads(text.strip().splitlines()[-1])
        return self.report

    def query(self, view, group_by=(), rank_by=None, where=None, settings=(), days=None, order_by=(), limit=None):
        """(header, rows) of texts; an empty cell is null."""
        arguments = ["query", view, "--data-dir", self.data_dir]
        if group_by:
            arguments += ["--group-by", ",".join(group_by)]
        if rank_by:
            arguments += ["--rank-by", rank_by]
        for column, text in (where or {}).items():
            arguments += ["--where", f"{column}={text}"]
        if days:
            arguments += ["--from", days[0], "--to", days[1]]
        if order_by:
            arguments += ["--order-by", ",".join(order_by)]
        if limit is not None:
            arguments += ["--limit", limit]
        for setting in settings:
            arguments += ["--set", setting]
        rows = list(csv.reader(io.StringIO(self.run(*arguments, "--format", "csv"), newline="")))
        return (rows[0], rows[1:]) if rows else ([], [])

    def accounting(self):
        """The four counts, wherever in the report they stand together."""
        names = ["read", "accepted", "duplicates", "quarantined"]
        found = find(self.report, lambda node: all(name in node for name in names))
        if found is None:
            raise EngineFailed(f"replay's JSON report has no object with {', '.join(names)}: {json.dumps(self.report)[:300]}")
        return {name: int(found[name]) for name in names} | {"pending": int(found.get("pending", 0))}

    def watermark(self):
        """In microseconds since 1970, from the newest manifest; None where it names none."""
        manifests = sorted((Path(self.data_dir) / "_manifests").glob("*.json"))
        head, _, body = manifests[-1].read_text(encoding="utf-8").partition("\n") if manifests else ("", "", "{}")
        return json.loads(body).get("watermark")


def find(node, wanted):
    """The first object, outermost first, that is wanted."""
    level = [node]
    while level:
        for item in level:
            if isinstance(item, dict) and wanted(item):
                return item
        level = [child for item in level if isinstance(item, (dict, list))
                 for child in (item.values() if isinstance(item, dict) else item)]
    return None


def instant(text):
    """RFC 3339 text in microseconds since 1970."""
    return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)

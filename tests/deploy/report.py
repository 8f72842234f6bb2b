"""What a check found, the tools that it ran, and those that were not to be had."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PARTS = ROOT / "target" / "parts" / "deploy"


class Report:
    def __init__(self):
        self.wrong = []
        self.ran = []
        self.missing = []
        self.checks = 0

    def check(self, holds, message):
        """Counts a claim; where it does not hold, `message` says what is wrong."""
        self.checks += 1
        if not holds:
            self.wrong.append(message)
        return bool(holds)

    def equal(self, found, expected, what):
        return self.check(found == expected, f"{what}: {found!r}, expected {expected!r}")

    def tool(self, name, why):
        """The path of a program, or None, which is told in the end."""
        path = os.pathsep.join([str(PARTS / "bin"), str(PARTS / "venv" / "bin"), os.environ["PATH"]])
        found = shutil.which(name, path=path)
        if found is None:
            self.missing.append((name, why))
        return found

    def run(self, what, command, **options):
        """Runs a program that has to end with 0; its words are the complaint where it does not. Returns what it printed, or None."""
        options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 600, **options}
        done = subprocess.run([str(part) for part in command], **options)
        self.ran.append(what)
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        ok = self.check(done.returncode == 0, f"{what} ended with {done.returncode}:\n{said}")
        return done.stdout if ok else None

    def end(self):
        """Says what is wrong and how much was right, and ends the process: with 1 where anything is wrong."""
        for message in self.wrong:
            print(f"WRONG: {message}", file=sys.stderr)
        print(f"{self.checks - len(self.wrong)} passed, {len(self.wrong)} failed")
        sys.exit(1 if self.wrong else 0)


def load(path):
    """The documents of a YAML file that is one."""
    return yaml.safe_load(Path(path).read_text())


def anchor(heading):
    """As GitHub makes it of a heading."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.strip().replace(" ", "-")


def headings(path):
    """The anchors of a Markdown file, without what stands in blocks of code."""
    found, in_code = set(), False
    for line in Path(path).read_text().splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif line.startswith("#") and not in_code:
            found.add(anchor(line.lstrip("#").strip()))
    return found

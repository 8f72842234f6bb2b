"""What only the program can say: whether it knows the commands and settings that are named here, and whether a copy of a lake is one."""
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import yaml

from report import DEPLOY, ROOT

CHART = DEPLOY / "helm" / "millrace"
DOCUMENTS = [DEPLOY / "README.md", ROOT / "docs" / "runbook.md"]
SECTIONS = ["Clusters", "Backup and restore", "Upgrade", "An IAM policy for the bucket", "Monitoring"]


def texts():
    for path in DOCUMENTS:
        yield path.name, path.read_text()
    operations = (ROOT / "docs" / "operations.md").read_text()
    for heading in SECTIONS:
        yield "operations.md", operations.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def commands():
    """Every `millrace …` of the documents and units: (where, words)."""
    for name, text in texts():
        found = re.findall(r"`(millrace [a-z][^`\n]*)`", text)
        found += [line.split("#")[0] for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        for line in found:
            if match := re.search(r"(?:^|\s)millrace ([a-z]+(?: .*)?)$", line.split("|")[0].strip()):
                yield name, shlex.split(match[1])
    for unit in (DEPLOY / "systemd").glob("*.service"):
        for line in re.findall(r"^ExecStart=\S+ (.*)$", unit.read_text(), re.MULTILINE):
            yield unit.name, shlex.split(line)
    for name, service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].items():
        if service["image"] == "millrace":
            yield f"compose.yaml, {name}", service["command"]


def check_commands(report, millrace):
    """Each is one that the program has, with all its options."""
    helped = {}
    count = 0
    for where, words in commands():
        names = [words[0]] + ([words[1]] if words[0] in ("lake", "views") and len(words) > 1 else [])
        if names[-1].startswith("-"):
            names.pop()
        key = " ".join(names)
        if key not in helped:
            done = subprocess.run([millrace, *names, "--help"], capture_output=True, text=True, timeout=30)
            helped[key] = done.stdout if done.returncode == 0 else None
        if not report.check(helped[key] is not None, f"{where}: there is no command millrace {key}"):
            continue
        count += 1
        for word in words:
            if word.startswith("--"):
                option = word.split("=")[0]
                known = re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", helped[key])
                report.check(known, f"{where}: millrace {key} has no option {option}")
    report.ran.append(f"millrace --help, for {count} commands of the documents, units and services")


def check_settings(report, millrace, helm):
    """The settings that are given here are ones that it knows."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    report.run("millrace config, of millrace.toml", [millrace, "config", "--config", DEPLOY / "millrace.toml"], env=clean)
    if helm is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for values in sorted((CHART / "ci").glob("*.yaml")):
            command = [helm, "template", "shop", CHART, "--kube-version", "1.34.0", "-f", values]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
            objects = [item for item in yaml.safe_load_all(done.stdout) if item]
            toml = next(item["data"]["millrace.toml"] for item in objects if "millrace.toml" in item.get("data", {}))
            pods = next(item for item in objects if item["kind"] == "StatefulSet")["spec"]["template"]["spec"]
            given = {item["name"]: item.get("value") for item in pods["containers"][0]["env"]}
            # What a secret would hold.
            secrets = {"PROPERTIES": '["sasl.password=x"]', "TOKENS": '["x"]'}
            for name, value in given.items():
                if value is None:
                    given[name] = next((text for end, text in secrets.items() if name.endswith(end)), "x")
            path = Path(folder) / "millrace.toml"
            path.write_text(toml)
            path.chmod(0o600)
            what = f"millrace config, of the chart with {values.name}"
            report.run(what, [millrace, "config", "--config", path], env={**clean, **given})
    example = (DEPLOY / "systemd" / "secrets.env.example").read_text()
    given = {name: value.strip("'") for name, value in re.findall(r"^#?([A-Z]\w+)=(.*)$", example, re.MULTILINE)}
    report.check(len(given) > 4, "secrets.env.example: hardly a variable was found")
    what = "millrace config, of secrets.env.example"
    report.run(what, [millrace, "config", "--config", DEPLOY / "millrace.toml"], env={**clean, **given})


def check_backup(report, millrace):
    """A copy that is taken while an engine runs answers for itself, and a copy of a damaged lake is refused."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        log, lake, copy = folder / "log", folder / "lake", folder / "copy"
        generate = [millrace, "generate", "--events", "200000", "--seed", "7", "--log", log, "--partitions", "2", "--quiet"]
        report.run("millrace generate", generate)
        settings = [f"source.log.paths=['{log}']", f"lake.url={lake}", "lake.checkpoint_ms=100", "live.epoch_records=2000", "serve.address="]
        run = [millrace, "run", "--until-end", "--quiet", *(word for value in settings for word in ("--set", value))]
        engine = subprocess.Popen([str(word) for word in run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Once there is a checkpoint, and while more come.
        asked = [millrace, "query", "quality", "--data-dir", lake]
        for _ in range(600):
            if subprocess.run([str(word) for word in asked], capture_output=True, timeout=60).returncode == 0 or engine.poll() is not None:
                break
        environment = {**os.environ, "MILLRACE": str(millrace)}
        report.run("deploy/backup.sh, beside an engine", [DEPLOY / "backup.sh", lake, copy], env=environment)
        report.equal(engine.wait(timeout=300), 0, "the engine beside which the copy was taken: its exit code")
        report.run("millrace verify, of the copy", [millrace, "verify", "--data-dir", copy, "--sample", "3"])
        pins = report.run("millrace lake pins", [millrace, "lake", "pins", "--data-dir", lake, "--format", "csv"]) or ""
        report.equal(len(pins.split("\n")), 2, "pins that backup.sh has left")
        again = [word.replace(str(lake), str(copy)) if isinstance(word, str) else word for word in run]
        report.run("millrace run, from the copy on", again)
        answers = []
        for place in (lake, copy):
            query = [millrace, "query", "sales", "--data-dir", place, "--group-by", "day,category", "--format", "csv"]
            answers.append(report.run("millrace query", query))
        report.check(answers[0] and answers[0] == answers[1], "the copy, gone on with, has other answers than the lake")
        # What is there already is not written into; what is damaged is not taken for whole.
        for words, damage in [("is there already", None), ("missing or has another size", next(lake.glob("events/*/*.parquet")))]:
            target = copy if damage is None else folder / "damaged"
            if damage is not None:
                damage.write_bytes(damage.read_bytes()[:-1])
            done = subprocess.run([DEPLOY / "backup.sh", lake, target], capture_output=True, text=True, env=environment, timeout=300)
            report.check(done.returncode != 0 and words in done.stderr, f"backup.sh does not say {words!r}: {done.stderr}")


def check(report, millrace):
    millrace = Path(millrace).resolve()
    check_commands(report, millrace)
    check_settings(report, millrace, report.tool("helm", "the settings of the chart"))
    check_backup(report, millrace)

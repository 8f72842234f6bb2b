"""Metrics, alerts, their tests, the dashboard and the runbook: that they know each other."""
import json
import re
import tempfile
import tomllib
from pathlib import Path

from report import DEPLOY, ROOT, headings, load

PROMETHEUS = DEPLOY / "prometheus"
RUNBOOK = ROOT / "docs" / "runbook.md"
TYPES = {"counter", "gauge", "histogram", "info"}
OF_HISTOGRAMS = ("_bucket", "_sum", "_count")
# What Prometheus adds, or a rule's own.
OTHER_LABELS = {"job", "instance", "namespace", "le"}
SEVERITIES = {"warning", "critical"}


def metrics():
    """name → (type, labels), of metrics.txt."""
    known = {}
    for line in (PROMETHEUS / "metrics.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, kind, labels, text = line.split(None, 3)
            known[name] = (kind, set() if labels == "-" else set(labels.split(",")), text)
    return known


def check_list(report, known):
    report.check(len(known) > 25, f"metrics.txt: {len(known)} metrics alone")
    for name, (kind, _, _) in known.items():
        report.check(name.startswith("millrace_"), f"metrics.txt: {name} does not begin with millrace_")
        report.check(kind in TYPES, f"metrics.txt: {name} is a {kind}, which is no type")
        report.equal(name.endswith("_total"), kind == "counter", f"metrics.txt: whether {name}, a {kind}, ends in _total")
        report.equal(name.endswith("_info"), kind == "info", f"metrics.txt: whether {name}, a {kind}, ends in _info")


def check_expression(report, expression, known, recorded, where):
    """Every metric in it is known, with the labels that are asked for."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    for name in re.findall(r"\bmillrace:[a-z0-9_:]+", bare):
        report.check(name in recorded, f"{where}: nothing records {name}")
    for name, labels in re.findall(r"(?<![\w:])(millrace_[a-z0-9_]+)(?:\{([^}]*)\})?", bare):
        base = next((name[: -len(end)] for end in OF_HISTOGRAMS if name.endswith(end) and name not in known), name)
        if not report.check(base in known, f"{where}: {name} is not in metrics.txt"):
            continue
        kind, has, _ = known[base]
        report.equal(base != name, kind == "histogram", f"{where}: whether {name}, of a {kind}, is a part of a histogram")
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels):
            report.check(label in has | OTHER_LABELS, f"{where}: {name} has no label {label}")


def check_alerts(report, known):
    repository = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["repository"]
    groups = load(PROMETHEUS / "alerts.yaml")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    alerts = {rule["alert"]: rule for rule in rules if "alert" in rule}
    report.equal(len(alerts), sum("alert" in rule for rule in rules), "alerts.yaml: names of alerts that differ")
    in_runbook = headings(RUNBOOK)
    for name, rule in alerts.items():
        where = f"alerts.yaml, {name}"
        report.check(rule.get("labels", {}).get("severity") in SEVERITIES, f"{where}: no severity of {SEVERITIES}")
        said = rule.get("annotations", {})
        for annotation in ("summary", "description"):
            report.check(said.get(annotation), f"{where}: no {annotation}")
        report.equal(said.get("runbook_url"), f"{repository}/blob/main/docs/runbook.md#{name.lower()}", f"{where}: runbook_url")
        report.check(name.lower() in in_runbook, f"{where}: no heading in docs/runbook.md")
        report.check("for" in rule or "increase(" in rule["expr"], f"{where}: rings at the first sight of it")
    for heading in in_runbook - {"runbook"}:
        report.check(heading in {name.lower() for name in alerts}, f"docs/runbook.md: {heading} is the name of no alert")
    for rule in rules:
        where = f"alerts.yaml, {rule.get('alert') or rule['record']}"
        check_expression(report, rule["expr"], known, recorded, where)
    check_tests(report, alerts)
    return recorded


def check_tests(report, alerts):
    """Each alert has a test in which it rings, and one in which it does not."""
    tests = load(PROMETHEUS / "alerts_test.yaml")["tests"]
    tested = [case for test in tests for case in test["alert_rule_test"]]
    for name in alerts:
        rings = {bool(case["exp_alerts"]) for case in tested if case["alertname"] == name}
        report.equal(rings, {True, False}, f"alerts_test.yaml: whether {name} rings, in its tests")
    for case in tested:
        report.check(case["alertname"] in alerts, f"alerts_test.yaml: there is no alert {case['alertname']}")


def expressions(dashboard):
    """(where, expression) of a dashboard, with its variables filled in as Grafana does."""
    filled = {"$namespace": ".*", "$job": ".*", "$instance": ".*", "$__rate_interval": "5m"}
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    found += [(notes["name"], notes["expr"]) for notes in dashboard["annotations"]["list"] if "expr" in notes]
    for where, expression in found:
        for variable, value in filled.items():
            expression = expression.replace(variable, value)
        yield where, expression


def check_dashboard(report, known, recorded):
    dashboard = json.loads((DEPLOY / "grafana" / "millrace.json").read_text())
    panels = dashboard["panels"]
    report.equal(len({panel["id"] for panel in panels}), len(panels), "millrace.json: ids of panels that differ")
    variables = {variable["name"] for variable in dashboard["templating"]["list"]} | {"__rate_interval"}
    taken = set()
    for panel in panels:
        where = f"millrace.json, {panel['title']!r}"
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        report.check(not cells & taken and place["x"] + place["w"] <= 24, f"{where}: lies over another, or over the edge")
        taken |= cells
        report.equal(panel["type"] != "row", bool(panel.get("targets")), f"{where}: whether it asks for anything")
        for target in panel.get("targets", []):
            report.equal(target["datasource"]["uid"], "${datasource}", f"{where}: its data source")
            for variable in re.findall(r"\$\{?(\w+)", target["expr"]):
                report.check(variable in variables, f"{where}: there is no variable {variable}")
    asked = list(expressions(dashboard))
    for where, expression in asked:
        check_expression(report, expression, known, recorded, f"millrace.json, {where!r}")
    return asked


def check_words(report, known, recorded):
    """What documents name is there, too."""
    for path in [RUNBOOK, DEPLOY / "README.md", ROOT / "docs" / "operations.md"]:
        for name in set(re.findall(r"\bmillrace_[a-z0-9_]+\b", path.read_text())):
            if not name.startswith(("millrace_v1", "millrace_proto")):
                report.check(name in known or name in recorded, f"{path.name}: {name} is not in metrics.txt")


def check_with_promtool(report, asked):
    promtool = report.tool("promtool", "the alerts, their tests and the dashboard's questions")
    if promtool is None:
        return
    report.run("promtool check rules", [promtool, "check", "rules", PROMETHEUS / "alerts.yaml"])
    report.run("promtool test rules", [promtool, "test", "rules", PROMETHEUS / "alerts_test.yaml"])
    report.run("promtool check config", [promtool, "check", "config", PROMETHEUS / "prometheus.yaml"])
    rules = [{"record": f"panel:{number}", "expr": expression} for number, (_, expression) in enumerate(asked)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dashboard.yaml"
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        report.run(f"promtool check rules, of {len(rules)} questions of the dashboard", [promtool, "check", "rules", path])


def check_scrape(report, known, text):
    """What a process shows is in the list, as it is there. Metrics without a value are left out of a scrape."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    if not report.check(len(types) > 10, "the scrape shows hardly anything: is it one of a process that runs?"):
        return
    # Names in OpenMetrics have no _total and no _info; in the older text they have, and an info is a gauge.
    full = {"counter": "_total", "info": "_info"}
    shown = {}
    for name, kind in types.items():
        kind = "info" if name.endswith("_info") else kind
        end = full.get(kind, "")
        shown[name if name.endswith(end) else name + end] = kind
    for name, kind in shown.items():
        if report.check(name in known, f"the scrape shows {name}, which is not in metrics.txt"):
            report.equal(kind, known[name][0], f"the scrape: the type of {name}")
    for name, labels in re.findall(r"^(millrace_\w+)\{([^}]*)\}", text, re.MULTILINE):
        base = next((name[: -len(end)] for end in OF_HISTOGRAMS if name.endswith(end) and name not in known), name)
        for label in re.findall(r"(\w+)=", labels):
            report.check(base in known and label in known[base][1] | {"le"}, f"the scrape: {name} has a label {label}")
    report.ran.append(f"a scrape of {len(shown)} metrics; not in it: {', '.join(sorted(set(known) - set(shown))) or 'none'}")


def check(report, scrape=None):
    known = metrics()
    check_list(report, known)
    recorded = check_alerts(report, known)
    asked = check_dashboard(report, known, recorded)
    check_words(report, known, recorded)
    check_with_promtool(report, asked)
    if scrape is not None:
        check_scrape(report, known, scrape)

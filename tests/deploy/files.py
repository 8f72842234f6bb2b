"""The image, compose, units, policies, scripts and documents: each for itself, and that they agree on ports and names."""
import json
import re
import tempfile
import tomllib
from pathlib import Path

import yaml

from report import DEPLOY, ROOT, headings, load

PORTS = {"grpc": 7117, "mesh": 7118, "metrics": 9117}
DRAIN_SECONDS = 10
UNITS = ["millrace.service", "millrace-process@.service"]
DOCUMENTS = [DEPLOY / "README.md", ROOT / "docs" / "runbook.md", ROOT / "docs" / "operations.md"]
# What the calls of the SDK are to IAM.
ACTIONS = {
    "list_objects_v2": "s3:ListBucket",
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "delete_objects": "s3:DeleteObject",
    "get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
    "put_bucket_lifecycle_configuration": "s3:PutLifecycleConfiguration",
    "delete_bucket_lifecycle": "s3:PutLifecycleConfiguration",
}


def check_syntax(report):
    """Every file that is YAML or JSON can be read as such."""
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_symlink() or "templates" in path.parts:
            continue
        try:
            if path.suffix in (".yaml", ".yml"):
                list(yaml.safe_load_all(path.read_text()))
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".toml":
                tomllib.loads(path.read_text())
            else:
                continue
            report.check(True, "")
        except ValueError as error:
            report.check(False, f"{path.relative_to(ROOT)}: {error}")
        except yaml.YAMLError as error:
            report.check(False, f"{path.relative_to(ROOT)}: {error}")


def check_image(report):
    text = (DEPLOY / "Containerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.MULTILINE)
    report.equal(len(stages), 2, "Containerfile: stages")
    last = text[text.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    report.check(users and users[-1].split(":")[0].isdigit() and users[-1] != "0", "Containerfile: no user of its own")
    exposed = {int(port) for line in re.findall(r"^EXPOSE (.*)$", last, re.MULTILINE) for port in line.split()}
    report.equal(exposed, set(PORTS.values()), "Containerfile: EXPOSE")
    report.check("--features kafka-tls" in text and "strip " in text, "Containerfile: without Kafka's TLS, or not stripped")
    if hadolint := report.tool("hadolint", "the Containerfile"):
        report.run("hadolint", [hadolint, DEPLOY / "Containerfile"])


def check_compose(report):
    compose = load(DEPLOY / "compose.yaml")
    services = compose["services"]
    settings = tomllib.loads((DEPLOY / "millrace.toml").read_text())
    hosts = (DEPLOY / "compose.hosts").read_text().split()
    members = sorted(name for name, service in services.items() if "--process" in service.get("command", []))
    report.equal(len(members), 2, "compose.yaml: processes")
    report.equal(hosts, [f"{name}:{PORTS['mesh']}" for name in members], "compose.yaml: the hosts file")
    for number, name in enumerate(members):
        service = services[name]
        command = service["command"]
        for option, value in [("--process", str(number)), ("--processes", str(len(members)))]:
            report.equal(command[command.index(option) + 1], value, f"compose.yaml, {name}: {option}")
        report.check(int(service["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS, f"compose.yaml, {name}: too little time to end")
        report.equal(service["cap_drop"], ["ALL"], f"compose.yaml, {name}: cap_drop")
    for name, service in services.items():
        image = service["image"]
        own = image == "millrace"
        report.equal("build" in service, own, f"compose.yaml, {name}: whether its image is built")
        report.check(own or re.search(r":v?\d+\.\d+\.\d+$", image), f"compose.yaml, {name}: {image} has no whole version")
        for port in service.get("ports", []):
            report.check(port.startswith("127.0.0.1:"), f"compose.yaml, {name}: {port} is open to the network")
        for config in service.get("configs", []):
            report.check(config["source"] in compose["configs"], f"compose.yaml, {name}: no config {config['source']}")
        for other in service.get("depends_on", []):
            report.check(other in services, f"compose.yaml, {name}: no service {other}")
    for name, config in compose["configs"].items():
        if "file" in config:
            report.check((DEPLOY / config["file"]).is_file(), f"compose.yaml: {config['file']} of config {name} is not there")
    report.equal(settings["serve"]["address"], f"0.0.0.0:{PORTS['grpc']}", "millrace.toml: serve.address")
    report.equal(settings["metrics"]["address"], f"0.0.0.0:{PORTS['metrics']}", "millrace.toml: metrics.address")
    brokers = settings["source"]["kafka"]["brokers"]
    listeners = services["broker"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    report.check(f"INTERNAL://{brokers}" in listeners.split(","), f"millrace.toml: nobody is at {brokers}")
    bucket = settings["lake"]["url"].removeprefix("s3://").split("/")[0]
    report.check(f"create-bucket --bucket {bucket}" in services["bucket"]["command"][0], f"compose.yaml: nobody makes {bucket}")
    endpoint = settings["lake"]["s3"]["endpoint"]
    report.equal(services["bucket"]["environment"]["AWS_ENDPOINT_URL"], endpoint, "compose.yaml: where the bucket is made")
    scraped = load(DEPLOY / "prometheus" / "prometheus.yaml")["scrape_configs"][0]
    targets = scraped["static_configs"][0]["targets"]
    report.equal(targets, [f"{name}:{PORTS['metrics']}" for name in members], "prometheus.yaml: targets")
    report.check("millrace" in scraped["job_name"], "prometheus.yaml: alerts do not know the job")
    source = load(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")["datasources"][0]
    report.check(source["url"] == "http://prometheus:9090" and "prometheus" in services, "Grafana: no data source")
    folder = load(DEPLOY / "grafana" / "provisioning" / "dashboards" / "millrace.yaml")["providers"][0]["options"]["path"]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    report.check(f"{folder}/millrace.json" in mounted, "Grafana: the dashboard is not where it looks")
    if schema := report.tool("check-jsonschema", "compose.yaml against the schema of compose files"):
        what = "check-jsonschema, of compose.yaml"
        report.run(what, [schema, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"])


def check_chart_ports(report):
    values = load(DEPLOY / "helm" / "millrace" / "values.yaml")
    report.equal(values["ports"], PORTS, "values.yaml: ports")
    report.equal(values["service"]["port"], PORTS["grpc"], "values.yaml: service.port")
    table = (ROOT / "docs" / "operations.md").read_text()
    for port in PORTS.values():
        report.check(f"\n| {port} | " in table, f"operations.md: {port} is not in the table of ports")


def check_units(report):
    def hardening(name):
        lines = (DEPLOY / "systemd" / name).read_text().splitlines()
        return [line for line in lines if "=" in line and not line.startswith(("#", "Exec", "Description", "EnvironmentFile"))]

    units = [hardening(name) for name in UNITS]
    report.equal(units[1], units[0], "systemd: what both units have in common")
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "KillMode=mixed"):
        report.check(line in units[0], f"systemd: no {line}")
    stop = next(int(line.split("=")[1]) for line in units[0] if line.startswith("TimeoutStopSec="))
    report.check(stop > DRAIN_SECONDS, "systemd: too little time to end")
    wanted = set(re.findall(r"\$\{(\w+)\}", (DEPLOY / "systemd" / UNITS[1]).read_text()))
    given = set(re.findall(r"^(\w+)=", (DEPLOY / "systemd" / "cluster.env.example").read_text(), re.MULTILINE))
    report.equal(given, wanted, "systemd: variables of cluster.env.example")
    if analyze := report.tool("systemd-analyze", "the units"):
        with tempfile.TemporaryDirectory() as folder:
            # A machine on which the program is there.
            (Path(folder) / "usr/local/bin").mkdir(parents=True)
            program = Path(folder) / "usr/local/bin/millrace"
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
            (Path(folder) / "etc/systemd/system").mkdir(parents=True)
            paths = []
            for name in UNITS:
                paths.append(Path(folder) / "etc/systemd/system" / name)
                paths[-1].write_text((DEPLOY / "systemd" / name).read_text())
            command = [analyze, "verify", "--man=no", "--recursive-errors=no", f"--root={folder}", *paths]
            report.run("systemd-analyze verify", command)
            command = [analyze, "security", "--offline=true", "--no-pager", "--threshold=20", *paths[:1]]
            report.run("systemd-analyze security, at most 2.0 of 10", command)


def check_policies(report):
    """The rights are those of the calls that the program makes."""
    store = ROOT / "connectors" / "src" / "store"
    sources = [store / "s3.rs", *(store / "s3").rglob("*.rs")]
    text = "\n".join(path.read_text() for path in sources if "tests" not in path.parts)
    calls = set(re.findall(r"\bclient\s*\.\s*([a-z0-9_]+)\(\)", text))
    report.check(len(calls) > 8, f"connectors/src/store/s3: only {calls} were found")
    for call in calls:
        report.check(call in ACTIONS, f"connectors/src/store/s3 calls {call}: which right is that?")
    needed = {ACTIONS[call] for call in calls if call in ACTIONS}

    def allowed(name):
        policy = json.loads((DEPLOY / "iam" / f"{name}.json").read_text())
        found = set()
        for statement in policy["Statement"]:
            report.equal(statement["Effect"], "Allow", f"iam/{name}.json: Effect")
            for action in statement["Action"]:
                of_bucket = action in ("s3:ListBucket", "s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration")
                resource = "arn:aws:s3:::BUCKET" + ("" if of_bucket else "/PREFIX/*")
                report.equal(statement["Resource"], resource, f"iam/{name}.json: what {action} is for")
                found.add(action)
        return found

    engine, lifecycle = allowed("engine"), allowed("lifecycle")
    report.equal(engine | lifecycle, needed, "iam: the rights of engine.json and lifecycle.json")
    report.equal(allowed("replica"), {"s3:ListBucket", "s3:GetObject"}, "iam: the rights of replica.json")
    table = (ROOT / "docs" / "operations.md").read_text()
    for action in engine:
        report.check(f"| `{action}`" in table, f"operations.md: {action} is not in the table of rights")


def check_scripts(report):
    for path in [DEPLOY / "backup.sh", ROOT / "tests" / "deploy" / "tools.sh"]:
        report.check(path.stat().st_mode & 0o111, f"{path.name} cannot be executed")
        if shellcheck := report.tool("shellcheck", f"{path.name}"):
            report.run(f"shellcheck, of {path.name}", [shellcheck, path])
    if yamllint := report.tool("yamllint", "the YAML files"):
        rules = "{extends: relaxed, rules: {line-length: {max: 160}, truthy: {check-keys: false}}, ignore: [templates/]}"
        report.run("yamllint", [yamllint, "--strict", "-d", rules, DEPLOY])


def check_links(report):
    """What documents lead to is there."""
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            if "://" in target:
                continue
            file, _, heading = target.partition("#")
            place = (path.parent / file).resolve() if file else path
            if not report.check(place.exists(), f"{path.name}: {target} leads nowhere"):
                continue
            if heading and place.suffix == ".md":
                report.check(heading in headings(place), f"{path.name}: there is no heading {target}")
    for name in re.findall(r"^\| `([^`]+)`", (DEPLOY / "README.md").read_text(), re.MULTILINE):
        report.check((DEPLOY / name).exists(), f"deploy/README.md: {name} is not there")


def check(report):
    check_syntax(report)
    check_image(report)
    check_compose(report)
    check_chart_ports(report)
    check_units(report)
    check_policies(report)
    check_scripts(report)
    check_links(report)

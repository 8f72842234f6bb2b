"""The chart for Kubernetes, as it is rendered with each set of values in its folder `ci`."""
import json
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

import yaml

from report import DEPLOY, ROOT, load

CHART = DEPLOY / "helm" / "millrace"
KUBERNETES = "1.34.0"
# What is left out on purpose, and values.yaml says why: a limit of CPU, pulling always; a policy for what goes out is up to values.
SCORE_PASSED_OVER = "container-resources,container-image-pull-policy,pod-networkpolicy"
# Of serve.drain_ms and of the engine's last checkpoint (src/settings, src/commands).
DRAIN_SECONDS = 10
# What must be refused: the values, and words of the refusal.
REFUSED = [
    ({}, "lake.url is needed"),
    ({"lake": {"url": "/data/shop"}}, "name the claim"),
    ({"lake": {"url": "/srv/shop", "claim": "c"}}, "lake"),
    ({"lake": {"url": "s3://lake/shop", "claim": "c"}}, "lake.claim is for a lake in a folder"),
    ({"lake": {"url": "s3://user:secret@lake/shop"}}, "lake"),
    ({"lake": {"url": "s3://lake/shop"}, "processes": 0}, "processes"),
    ({"lake": {"url": "s3://lake/shop"}, "replicas": 3}, "replicas"),
    ({"lake": {"url": "s3://lake/shop"}, "secrets": {"clientCertificates": True}}, "needs secrets.tls"),
    ({"lake": {"url": "s3://lake/shop"}, "terminationGracePeriodSeconds": 5}, "terminationGracePeriodSeconds"),
]


def merged(defaults, values):
    """As Helm lays values over the chart's own."""
    if not isinstance(defaults, dict) or not isinstance(values, dict):
        return values
    return {**defaults, **{key: merged(defaults.get(key), value) for key, value in values.items()}}


def one(objects, kind, name=None):
    found = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    return found[0] if len(found) == 1 else None


def check_static(report):
    """What is to be seen without Helm."""
    chart = load(CHART / "Chart.yaml")
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    report.equal(chart["appVersion"], version, "Chart.yaml: appVersion")
    for link, target in [("alerts.yaml", "prometheus/alerts.yaml"), ("dashboard.json", "grafana/millrace.json")]:
        report.equal((CHART / "files" / link).resolve(), (DEPLOY / target).resolve(), f"files/{link} leads to")
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = load(CHART / "values.yaml")
    for key in schema["properties"].keys() ^ values.keys():
        report.check(key == "global", f"values: {key} is in one of values.yaml and values.schema.json alone")
    sets = [load(path) for path in sorted((CHART / "ci").glob("*.yaml"))]
    report.check(len(sets) == 3, "ci: three sets of values")
    used = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    for key, value in values.items():
        is_whole = re.search(rf"\.Values\.{key}\b(?!\.\w)", used)
        names = [f"{key}.{inner}" for inner in value] if isinstance(value, dict) and not is_whole else [key]
        for name in names:
            report.check(re.search(rf"\.Values\.{re.escape(name)}\b", used), f"values.yaml: no template asks for {name}")


def check_objects(report, name, values, objects):
    """What the rendered objects have to say, whatever the values."""
    kinds = [item["kind"] for item in objects]
    pods = one(objects, "StatefulSet")
    spec = pods["spec"]["template"]["spec"]
    container = spec["containers"][0]
    processes, ports = values["processes"], values["ports"]
    env = {item["name"]: item for item in container["env"]}
    args = container["args"]

    def equal(found, expected, what):
        report.equal(found, expected, f"the chart with {name}, {what}")

    equal(len(spec["containers"]), 1, "containers of a pod")
    equal(pods["spec"]["replicas"], processes, "pods")
    equal(pods["spec"]["podManagementPolicy"], "Parallel", "podManagementPolicy")
    equal(args[args.index("--processes") + 1], str(processes), "--processes")
    equal(args[args.index("--process") + 1], "$(PROCESS)", "--process")
    index = env["PROCESS"]["valueFrom"]["fieldRef"]["fieldPath"]
    equal(index, "metadata.labels['apps.kubernetes.io/pod-index']", "where the number of a process comes from")
    equal(spec["enableServiceLinks"], False, "enableServiceLinks")
    equal(spec["automountServiceAccountToken"], False, "automountServiceAccountToken")
    report.check(spec["terminationGracePeriodSeconds"] > DRAIN_SECONDS, f"the chart with {name}: too little time to end")

    security = {**spec["securityContext"], **container["securityContext"]}
    equal([security["runAsNonRoot"], security["readOnlyRootFilesystem"]], [True, True], "runAsNonRoot, readOnlyRootFilesystem")
    equal([security["allowPrivilegeEscalation"], security["capabilities"]], [False, {"drop": ["ALL"]}], "privileges")
    equal(security["seccompProfile"], {"type": "RuntimeDefault"}, "seccompProfile")
    for what in ("requests", "limits"):
        report.check("memory" in container["resources"][what], f"the chart with {name}: no {what} of memory")
    probes = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    equal(probes["startupProbe"], probes["livenessProbe"], "the probe of the start")
    equal(probes["livenessProbe"], {"path": "/livez", "port": "metrics"}, "livenessProbe")
    equal(probes["readinessProbe"], {"path": "/readyz", "port": "metrics"}, "readinessProbe")
    equal({port["name"]: port["containerPort"] for port in container["ports"]}, ports, "ports of the container")
    equal(env["MILLRACE_SERVE__ADDRESS"]["value"], f"0.0.0.0:{ports['grpc']}", "serve.address")
    equal(env["MILLRACE_METRICS__ADDRESS"]["value"], f"0.0.0.0:{ports['metrics']}", "metrics.address")

    mesh = next(item for item in objects if item["kind"] == "Service" and item["spec"].get("clusterIP") == "None")
    equal(mesh["spec"].get("publishNotReadyAddresses"), True, "whether pods that are not ready are in the mesh")
    equal(pods["spec"]["serviceName"], mesh["metadata"]["name"], "the service of the pods' names")
    own = pods["spec"]["selector"]["matchLabels"]
    for item in objects:
        equal(item["metadata"]["namespace"], "shop-ns", f"the namespace of {item['kind']} {item['metadata']['name']}")
        if item["kind"] == "Service":
            equal(item["spec"]["selector"], own, f"whom service {item['metadata']['name']} leads to")

    config = one(objects, "ConfigMap", pods["metadata"]["name"])["data"]
    hosts = config["hosts"].split()
    pod, service = pods["metadata"]["name"], mesh["metadata"]["name"]
    expected = [f"{pod}-{i}.{service}.shop-ns.svc.cluster.local:{ports['mesh']}" for i in range(processes)]
    equal(hosts, expected, "the hosts file")
    settings = tomllib.loads(config["millrace.toml"])
    report.check("source" in settings, f"the chart with {name}: settings without a source")
    # A secret is a reference, whatever its name.
    for variable, item in env.items():
        if re.search("TOKEN|PROPERTIES|SECRET|ACCESS_KEY", variable) and "FILE" not in variable:
            report.check("secretKeyRef" in item.get("valueFrom", {}), f"the chart with {name}: {variable} is no reference")

    equal("PodDisruptionBudget" in kinds, values["podDisruptionBudget"]["enabled"], "whether there is a PodDisruptionBudget")
    equal("ServiceAccount" in kinds, values["serviceAccount"]["create"], "whether there is a ServiceAccount")
    monitoring = values["monitoring"]
    equal("ServiceMonitor" in kinds, monitoring["serviceMonitor"]["enabled"], "whether there is a ServiceMonitor")
    equal("PrometheusRule" in kinds, monitoring["prometheusRule"]["enabled"], "whether there is a PrometheusRule")
    if rule := one(objects, "PrometheusRule"):
        equal(rule["spec"], load(DEPLOY / "prometheus" / "alerts.yaml"), "the rules")
    if board := one(objects, "ConfigMap", f"{pod}-dashboard"):
        found = json.loads(board["data"]["millrace.json"])
        equal(found, json.loads((DEPLOY / "grafana" / "millrace.json").read_text()), "the dashboard")
    if monitor := one(objects, "ServiceMonitor"):
        job = next(item for item in monitor["spec"]["endpoints"][0]["relabelings"] if item["targetLabel"] == "job")
        report.check("millrace" in job["replacement"], f"the chart with {name}: alerts do not know the job")
        labels = monitor["spec"]["selector"]["matchLabels"]
        report.check(labels.items() <= mesh["metadata"]["labels"].items(), f"the chart with {name}: nothing is scraped")
    equal("NetworkPolicy" in kinds, values["networkPolicy"]["enabled"], "whether there is a NetworkPolicy")
    if policy := one(objects, "NetworkPolicy"):
        check_policy(equal, policy["spec"], own, values["networkPolicy"])


def check_policy(equal, spec, own, values):
    """Each port is open to those it is for, and to nobody else."""
    equal(spec["podSelector"]["matchLabels"], own, "whom the NetworkPolicy is for")
    admits = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    equal(sorted(admits), ["grpc", "mesh", "metrics"], "the ports of the NetworkPolicy")
    equal(admits["mesh"], [{"podSelector": {"matchLabels": own}}], "who may reach the mesh")
    equal(admits["grpc"], values["grpcFrom"] or [{"podSelector": {}}], "who may ask over gRPC")
    equal(admits["metrics"], values["metricsFrom"], "who may ask for metrics")
    equal("Egress" in spec["policyTypes"], values["restrictEgress"], "whether what goes out is restricted")


def check_with_helm(report):
    helm = report.tool("helm", "lint and template of the chart, and what is rendered")
    if helm is None:
        return
    validate = report.tool("kubernetes-validate", "the rendered objects against Kubernetes' schemas")
    score = report.tool("kube-score", "the rendered objects against practice")
    defaults = load(CHART / "values.yaml")
    with tempfile.TemporaryDirectory() as folder:
        for values in sorted((CHART / "ci").glob("*.yaml")):
            report.run(f"helm lint with {values.name}", [helm, "lint", "--strict", "--kube-version", KUBERNETES, CHART, "-f", values])
            command = [helm, "template", "shop", CHART, "-n", "shop-ns", "--kube-version", KUBERNETES, "-f", values]
            text = report.run(f"helm template with {values.name}", command)
            if text is None:
                continue
            objects = [item for item in yaml.safe_load_all(text) if item]
            check_objects(report, values.name, merged(defaults, load(values)), objects)
            rendered = Path(folder) / values.name
            # Without those that only the operator of Prometheus knows.
            own = [item for item in objects if not item["apiVersion"].startswith("monitoring.coreos.com")]
            rendered.write_text(yaml.safe_dump_all(own))
            if validate:
                for version in ("1.28", "1.37"):
                    what = f"kubernetes-validate against {version} with {values.name}"
                    report.run(what, [validate, "--strict", "--quiet", "-k", version, rendered])
            if score:
                what = f"kube-score with {values.name}"
                report.run(what, [score, "score", "--ignore-test", SCORE_PASSED_OVER, rendered])
        for number, (values, words) in enumerate(REFUSED):
            path = Path(folder) / f"refused-{number}.yaml"
            path.write_text(json.dumps(values))
            command = [helm, "template", "shop", CHART, "--kube-version", KUBERNETES, "-f", path]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
            refused = done.returncode != 0 and words in done.stderr
            report.check(refused, f"the chart takes {values}, or does not say {words!r}:\n{done.stderr[-400:]}")
        report.ran.append(f"helm template, of {len(REFUSED)} sets of values that it has to refuse")


def check(report):
    check_static(report)
    check_with_helm(report)

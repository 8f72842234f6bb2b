"""Reads a scrape on stdin as Prometheus' own client library reads it, and prints it as JSON: types by family, values by series. Values
are texts: whoever reads JSON may round numbers.

usage: parse.py openmetrics|text
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics


def series(sample):
    labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
    return f"{sample.name}{{{labels}}}" if labels else sample.name


def main():
    parse = {"openmetrics": openmetrics, "text": parser}[sys.argv[1]].text_string_to_metric_families
    families = list(parse(sys.stdin.buffer.read().decode()))
    values = {series(sample): repr(float(sample.value)) for family in families for sample in family.samples}
    json.dump({"types": {family.name: family.type for family in families}, "values": values}, sys.stdout)


main()

"""Checks what is in deploy/, and docs/runbook.md beside it.

    python3 tests/deploy/check.py [--millrace target/release/millrace] [--scrape FILE] [--alerts-live]

Says what it ran and what was not to be had, and ends with 1 where anything is wrong. Needs PyYAML; tests/deploy/tools.sh fetches the tools. With
CI=true promtool has to be there. With --millrace it also asks the program whether it knows the commands and settings that are named, and
copies a lake with deploy/backup.sh; with --scrape it compares what a process shows at /metrics with the list in deploy/prometheus/metrics.txt; with --alerts-live each alert has to ring at engines that run, which
takes four minutes (alerts_live.py has its options).
"""
import argparse
import os
from pathlib import Path

import alerts_live
import chart
import files
import monitoring
import program
from report import Report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", metavar="PROGRAM", help="the program, to ask it for its commands and settings")
    parser.add_argument("--scrape", metavar="FILE", type=Path, help="what a process showed at /metrics")
    parser.add_argument("--alerts-live", action="store_true", help="make each alert ring; needs --millrace and --parts")
    alerts_live.add_options(parser)
    arguments = parser.parse_args()
    if arguments.alerts_live and not arguments.millrace:
        parser.error("--alerts-live needs --millrace")

    report = Report()
    files.check(report)
    monitoring.check(report, arguments.scrape and arguments.scrape.read_text())
    chart.check(report)
    if arguments.millrace:
        program.check(report, arguments.millrace)
    else:
        report.missing.append(("millrace", "the commands and settings that are named, and backup.sh (give --millrace)"))

    if arguments.alerts_live:
        alerts_live.run(arguments, report)
        report.ran.append("alerts, at engines that run")

    for what in report.ran:
        print(f"ran: {what}")
    missing = dict(report.missing)
    for name, why in missing.items():
        print(f"NOT CHECKED, {name} is not here: {why}")
    if os.environ.get("CI") == "true":
        report.check("promtool" not in missing, "promtool has to be there: tests/deploy/tools.sh fetches it")
    report.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""How fast an engine is back on a large state: the first answers, and until it reads on.

    cargo build --release && python3 benches/restart.py [--events N]

Replays the events of job.py with their state into a folder, without horizons, and runs an engine on it, with 2 workers and with one:
status is asked until it answers, and until the answers are no longer the restored ones. The log that it would read on from is empty.
"""

import argparse
import json
import shutil
import signal
import subprocess
import time

from catch_up import UNLIMITED
from job import BINARY, FOLDER, STATE, generate

ADDRESS = "127.0.0.1:7189"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5_000_000)
    arguments = parser.parse_args()
    ordered, _ = generate(arguments.events)
    lake, log = FOLDER / "restart-lake", FOLDER / "restart-log"
    for folder in (lake, log):
        shutil.rmtree(folder, ignore_errors=True)
    unlimited = sum((["--set", setting] for setting in UNLIMITED), [])
    replay = [BINARY, "replay", ordered, "--data-dir", lake, "--quiet", "--set", "lake.events=false", *STATE, *unlimited]
    subprocess.run(replay, check=True, stdout=subprocess.DEVNULL)
    inspected = json.loads(subprocess.run([BINARY, "inspect", "--data-dir", lake, "--format", "json"], check=True, capture_output=True).stdout)
    rows = inspected["checkpoints"][-1]["state_rows"]
    (log / "partition=00000").mkdir(parents=True)
    (log / "log.json").write_text('{"format":"millrace-log","version":1,"partitions":1}')
    print(f"{rows:,} rows of state")
    for workers in (2, 1):
        settings = [f"lake.url={lake}", f"serve.address={ADDRESS}", f"live.workers={workers}", f"source.log.paths=['{log}']", "lake.events=false"]
        given = sum((["--set", setting] for setting in settings), [])
        begun, first = time.monotonic(), None
        process = subprocess.Popen([BINARY, "run", "--quiet", *unlimited, *given], stdout=subprocess.DEVNULL)
        while True:
            status = subprocess.run([BINARY, "status", "--addr", ADDRESS, "--format", "json"], capture_output=True)
            now = time.monotonic() - begun
            assert process.poll() is None, "the engine has ended"
            if status.returncode == 0:
                first = first or now
                if not json.loads(status.stdout)["restored"]:
                    break
            time.sleep(0.02)
        print(f"{workers} workers: first answers after {first:.2f} s, reading on after {now:.2f} s")
        process.send_signal(signal.SIGKILL)
        process.wait()
    shutil.rmtree(lake)
    shutil.rmtree(log)


if __name__ == "__main__":
    main()

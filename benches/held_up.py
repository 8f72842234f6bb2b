#!/usr/bin/env python3
"""How old the newest answer gets while pending records are merged beside the engine.

    cargo build --release && python3 benches/held_up.py [--seconds N] [--rate R] [--every-ms M]

The log of long_run.py, appended R records a second to one that a live engine reads with a lake and horizons of a minute. It merges what is
pending every M milliseconds; status is asked all the time. An answer's age is the clock's time less its epoch.
"""

import argparse
import json
import shutil
import signal
import subprocess
import tempfile
import time

from long_run import ADDRESS, BINARY, FOLDER, HORIZONS, Feeder, ask, generate, settings

EVENTS, DAYS, WORKERS, WARM_UP_SECONDS = 12_000_000, 30, 2, 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--every-ms", type=int, default=5_000)
    arguments = parser.parse_args()
    history, log, lake = generate(EVENTS, DAYS), FOLDER / "held-log", FOLDER / "held-lake"
    shutil.rmtree(lake, ignore_errors=True)
    feeder = Feeder(history, log, EVENTS, arguments.rate)
    of_run = [f"serve.address={ADDRESS}", f"source.log.paths=['{log}']", f"live.workers={WORKERS}", f"lake.url={lake}"]
    of_run = settings(of_run, [f"lake.repair_every_ms={arguments.every_ms}"], HORIZONS)
    with tempfile.TemporaryFile("w+") as lines:
        process = subprocess.Popen([BINARY, "run", *of_run], stdout=subprocess.DEVNULL, stderr=lines)
        begun = time.monotonic()
        feeder.start()
        ages = []
        while time.monotonic() - begun < arguments.seconds:
            status = ask("status", "--addr", ADDRESS, "--format", "json")
            if status is not None and time.monotonic() - begun > WARM_UP_SECONDS:
                ages.append(time.time() * 1_000 - json.loads(status)["epoch"])
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines.seek(0)
        merges = [line.split()[1] for line in lines if line.startswith("repaired ")]
    ages.sort()
    at = {"half": len(ages) // 2, "99 %": len(ages) * 99 // 100, "longest": len(ages) - 1}
    print(f"{len(merges)} merges, of {', '.join(merges)} records; {len(ages)} answers")
    print(", ".join(f"{name} {ages[index]:.0f} ms" for name, index in at.items()))
    shutil.rmtree(lake)
    shutil.rmtree(log)


if __name__ == "__main__":
    main()

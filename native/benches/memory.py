#!/usr/bin/env python3
"""Runs a command and writes its resident memory and, where it is a pretraining run, the step at which it was so.

    memory.py --out native/benches/runs/DATE-memory/flex.csv --run RUN -- target/release/anaume pretrain … --out RUN
"""
import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import time


def resident(pid: int) -> float:
    """MiB that the process has in memory now."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0.0)


def last_step(log: pathlib.Path) -> int:
    """The newest step in a run's log."""
    lines = log.read_bytes().splitlines()[-5:] if log.exists() else []
    steps = [0]
    for line in lines:
        try:
            steps.append(json.loads(line).get("step", 0))
        except ValueError:
            pass  # The line is being written.
    return max(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--run", type=pathlib.Path, required=True, help="run folder, to be made by the command")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    process, rows = subprocess.Popen(args.command), []
    while process.poll() is None:
        rows.append((last_step(args.run / "metrics.jsonl"), round(resident(process.pid), 1)))
        time.sleep(args.seconds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="") as file:
        csv.writer(file).writerows([("step", "resident_mib"), *rows])
    last = max(step for step, _ in rows)
    tenths = [[mib for step, mib in rows if mib and last * i / 10 < step <= last * (i + 1) / 10] for i in range(10)]
    medians = [statistics.median(tenth) for tenth in tenths if tenth]
    print(f"{last} steps, exit {process.returncode}; median MiB of each tenth: " + " ".join(f"{m:.0f}" for m in medians))
    print(f"from the second tenth on within {100 * (max(medians[1:]) / min(medians[1:]) - 1):.1f} %")


if __name__ == "__main__":
    main()

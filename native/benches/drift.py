#!/usr/bin/env python3
"""Computes losses of a long run again in fresh processes and compares them with what the run logged.

    drift.py --program target/release/anaume --run RUN --recipe recipe.toml --data DATA [--steps 5] --out drift.csv

For every checkpoint of RUN: the validation loss of its weights, which a new run logs before its first step; and the losses of the
next steps, taken by resuming a copy of the run as it was then. Both are the same bits unless something drifts.
"""
import argparse
import csv
import json
import pathlib
import shutil
import subprocess
import tempfile


def records(run: pathlib.Path, event: str) -> dict[int, float]:
    """Losses of a run's log by step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["event"] == event}


def pretrain(args: argparse.Namespace, out: pathlib.Path, model: pathlib.Path, *more: str) -> None:
    command = [args.program, "pretrain", "--recipe", args.recipe, "--data", args.data, "--device", "cpu", "--plain"]
    subprocess.run([*command, "--model", model, "--out", out, *more], check=True, capture_output=True)


def validated(args: argparse.Namespace, checkpoint: pathlib.Path) -> float:
    """The validation loss of a checkpoint's weights."""
    with tempfile.TemporaryDirectory() as room:
        out = pathlib.Path(room) / "run"
        pretrain(args, out, checkpoint, "--stop-after", "1")
        return records(out, "validation")[0]


def resumed(args: argparse.Namespace, checkpoint: pathlib.Path, step: int) -> dict[int, float]:
    """The losses of the steps after a checkpoint."""
    with tempfile.TemporaryDirectory() as room:
        out = pathlib.Path(room) / "run"
        shutil.copytree(args.run, out, ignore=lambda _, names: [n for n in names if n.startswith("step-") and n != checkpoint.name])
        pretrain(args, out, args.model, "--resume", "--stop-after", str(step + args.steps))
        return {at: loss for at, loss in records(out, "step").items() if at > step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/anaume")
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="the model that the run began with")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    logged = {event: records(args.run, event) for event in ("validation", "step")}
    rows = []
    for checkpoint in sorted(args.run.glob("step-*")):
        step = int(checkpoint.name.removeprefix("step-"))
        if step in logged["validation"]:
            rows.append(("validation", step, logged["validation"][step], validated(args, checkpoint)))
        if max(logged["step"]) > step:
            rows += [("step", at, logged["step"][at], loss) for at, loss in resumed(args, checkpoint, step).items()]
    with args.out.open("w", newline="") as file:
        csv.writer(file).writerows([("kind", "step", "logged", "computed_again"), *rows])
    worst = max(abs(first - second) for _, _, first, second in rows)
    print(f"{len(rows)} losses of {len(logged['step'])} steps computed again; largest difference {worst:g}")


if __name__ == "__main__":
    main()

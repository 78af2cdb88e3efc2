#!/usr/bin/env python3
"""Times `anaume bench` against PyTorch in one alternating run and writes a table of ratios.

    compare.py --anaume target/release/anaume --peer bench_torch.py --model MODEL --out native/benches/runs/DATE-HOST

`--peer` is a script that takes MODEL --mode encoder|train --batch B --length S --threads N --runs R and prints one JSON line
with `seconds` (the median) and `peak_bytes`. Each round runs the peer and then Anaume, so that a drift of the machine's
speed meets both; the ratio is that of the medians over the rounds.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

WORKS = [
    ("encoder", 8, 128, "f32"), ("encoder", 8, 512, "f32"), ("encoder", 1, 2048, "f32"), ("encoder", 1, 8192, "f32"),
    ("step", 8, 512, "f32"), ("encoder", 8, 128, "bf16"), ("encoder", 8, 512, "bf16"),
]
PEER_DTYPES = {"f32": "fp32", "bf16": "bf16"}


def last_json(command: list[str], environment: dict[str, str]) -> dict:
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(text[text.index("{"):])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anaume", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--works", default="0,1,2,3,4,5,6", help="which of the seven works")
    args = parser.parse_args()
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    rows, raw = [], []
    for mode, batch, length, precision in [WORKS[int(index)] for index in args.works.split(",")]:
        runs = str(args.runs if mode == "encoder" and length < 8192 else min(args.runs, 3))
        shape = ["--batch", str(batch), "--length", str(length), "--runs", runs]
        peer = [sys.executable, args.peer, args.model, "--mode", "train" if mode == "step" else mode, *shape,
                "--threads", str(args.threads), "--dtype", PEER_DTYPES[precision], *(["--sparse"] if mode == "step" else [])]
        ours = [args.anaume, "bench", mode, "--model", args.model, *shape, "--precision", precision, "--device", "cpu", "--json"]
        results = {"peer": [], "anaume": []}
        for _ in range(args.rounds):
            results["peer"].append(last_json(peer, environment))
            results["anaume"].append(last_json(ours, environment))
        seconds = {side: statistics.median(r["seconds"] for r in runs) for side, runs in results.items()}
        peak = {side: max(r["peak_bytes"] for r in runs) / 2**30 for side, runs in results.items()}
        rows.append(f"| {mode} | {batch} x {length} | {precision} | {seconds['peer']:.3f} | {seconds['anaume']:.3f} "
                    f"| {seconds['peer'] / seconds['anaume']:.2f} | {peak['peer']:.2f} | {peak['anaume']:.2f} |")
        raw.append({"mode": mode, "batch": batch, "length": length, "precision": precision, **results})
        print(rows[-1], flush=True)
        write(args, rows, raw)


def write(args: argparse.Namespace, rows: list[str], raw: list[dict]) -> None:
    """Writes what there is after each work, so that a run that is cut short leaves its finished rows."""
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "raw.json").write_text(json.dumps(raw, indent=1))
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    (args.out / "README.md").write_text(
        f"# Anaume against PyTorch {raw[0]['peer'][0]['torch']}, {args.threads} threads\n\n"
        f"{cpu}. {args.rounds} rounds, peer and Anaume alternating; seconds are medians over the rounds; the ratio is peer / Anaume, "
        "so above 1 Anaume is faster. The step masks 30 % and the peer computes logits at masked positions only.\n\n"
        "| work | shape | precision | PyTorch s | Anaume s | ratio | PyTorch GiB | Anaume GiB |\n|---|---|---|---|---|---|---|---|\n"
        + "\n".join(rows) + "\n\nCommand: `native/benches/compare.py --rounds "
        + f"{args.rounds} --runs {args.runs} --threads {args.threads}` with a randomly initialised base model.\n")


if __name__ == "__main__":
    main()

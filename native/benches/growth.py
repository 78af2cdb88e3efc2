#!/usr/bin/env python3
"""How cost grows with length: one text of 512 to 8,192 tokens through encoder and training step, and the exponent of time over
length (1 is linear, 2 quadratic), fitted by least squares to the logarithms.

    growth.py --anaume target/release/anaume --model MODEL --out native/benches/runs/DATE-growth
"""
import argparse
import json
import math
import os
import pathlib
import subprocess

LENGTHS = [512, 1024, 2048, 4096, 8192]


def exponent(points: list[tuple[int, float]]) -> float:
    x, y = ([math.log(value) for value in axis] for axis in zip(*points))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anaume", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    raw = []
    for what in ["encoder", "step"]:
        points = []
        for length in LENGTHS:
            command = [args.anaume, "bench", what, "--model", args.model, "--batch", "1", "--length", str(length), "--runs",
                       str(args.runs), "--device", args.device, "--precision", args.precision, "--json"]
            environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
            raw.append(result)
            points.append((length, result["seconds"]))
            print(f"| {what} | {length:,} | {result['seconds']:.3f} | {result['peak_bytes'] / 2**30:.2f} |", flush=True)
        print(f"{what}: exponent {exponent(points[:4]):.2f} up to 4,096, {exponent(points):.2f} up to 8,192", flush=True)
    (args.out / "raw.json").write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Times filling one mask from the start of the process to its end, against a minimal script with transformers.

    start_to_fill.py --anaume target/release/anaume --model MODEL --out times.json

Both start anew in every round, in turn, after one round that is not counted: files are in the system's cache. They are asked for
the same five tokens of the same text on the CPU in f32, and must give the same.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

TEXT = "今日のご飯は[MASK]である。"


def fill(model_dir: str, text: str) -> None:
    """What a user would write."""
    import torch
    from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
    model = AutoModelForMaskedLM.from_pretrained(model_dir)
    before, after = text.split("[MASK]")
    inputs = tokenizer(before + tokenizer.mask_token + after, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    [mask] = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero().flatten()
    print(json.dumps(logits[0, mask].topk(5).indices.tolist()))


def timed(command: list[str], threads: int) -> tuple[float, str]:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return time.perf_counter() - start, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anaume", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    ours = [args.anaume, "fill-mask", "--model", args.model, "--mask-convention", "hf", "--device", "cpu", "--json", TEXT]
    peer = [sys.executable, __file__, "fill", args.model, TEXT]
    seconds: dict[str, list[float]] = {"anaume": [], "transformers": []}
    for number in range(args.rounds + 1):
        for side, command in (("transformers", peer), ("anaume", ours)):
            took, printed = timed(command, args.threads)
            found = json.loads(printed)
            ids = found if side == "transformers" else [one["token_id"] for one in found["models"][0]["texts"][0]["masks"][0]]
            expected = ids if side == "transformers" else expected
            assert ids == expected, f"{ids} here and {expected} there"
            if number > 0:
                seconds[side].append(took)
        print(number, {side: round(all[-1], 3) for side, all in seconds.items() if all}, flush=True)
    medians = {side: statistics.median(all) for side, all in seconds.items()}
    result = {"text": TEXT, "tokens": expected, "threads": args.threads, "system": platform.platform(), "seconds": seconds,
              "medians": medians, "ratio": medians["transformers"] / medians["anaume"]}
    args.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({"medians": medians, "ratio": result["ratio"]}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["fill"]:
        fill(*sys.argv[2:])
    else:
        main()

#!/usr/bin/env python3
"""Times two evaluations against the same protocols in transformers, in one alternating run on the CPU.

    compare_evaluations.py --anaume target/release/anaume --model MODEL --data DATA --out DIR

Needs torch, transformers and scipy. Writes times.json: seconds of every round, the ratio of the medians, and how far the
numbers are apart. Pseudo-perplexity scores the same positions of the same texts on both sides; fine-tuning on JSTS takes the
same number of steps and scores the validation split, with orders of examples and new heads of each side's own.
With --documents N the texts of pseudo-perplexity are the first N articles of --tokens tokens, else some of each bin of length.
"""
import argparse
import gzip
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def output(command: list[str], threads: int) -> str:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def anaume(args, task: str, *words: str) -> dict:
    """The report of an evaluation, computed again."""
    data = [] if "--data" in words else ["--data", args.data]
    common = ["--model", args.model, *data, "--out", str(args.out / "results"), "--device", "cpu", "--again", "--json"]
    text = output([args.anaume, "eval", task, *words, *common], args.threads)
    return json.loads(text)["reports"][0]


def chosen_documents(args) -> pathlib.Path:
    """A file of the first articles whose length is within --tokens."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.model)
    shortest, longest = map(int, args.tokens.split(","))
    path, chosen = args.out / "documents.jsonl", []
    with gzip.open(f"{args.data}/wiki_kyoto/eval.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            if len(chosen) < args.documents and shortest <= len(tokenizer(json.loads(line)["text"])["input_ids"]) <= longest:
                chosen.append(line)
    path.write_text("".join(chosen), encoding="utf-8")
    return path


def pseudo_perplexity(args) -> dict:
    words, texts = ["--per-bin", str(args.per_bin)], f"{args.data}/wiki_kyoto/eval.jsonl.gz"
    if args.documents:
        texts = str(chosen_documents(args))
        words = ["--id-column", "id", "--data", texts]
    report = anaume(args, "pseudo-perplexity", "--positions", str(args.positions), *words)
    [task] = report["results"]
    samples = args.out / "results" / report["model"]["name"] / task / "samples.jsonl"
    script = str(HERE / "pseudo_perplexity_torch.py")
    peer = output([sys.executable, script, args.model, texts, str(samples), "--threads", str(args.threads)], args.threads)
    last = json.loads(peer.splitlines()[-1])
    return {"anaume": report["seconds"][task], "transformers": last["seconds"],
            "largest_relative_difference": last["largest_relative_difference"], "texts": report["n-samples"][task]["effective"]}


def jsts(args) -> dict:
    steps = str(args.steps)
    report = anaume(args, "jglue", "--task", "jsts", "--max-steps", steps)
    [train], [valid] = ([str(path) for path in pathlib.Path(args.data).glob(f"**/jsts-{split}-*.json")] for split in ("train", "valid"))
    script = str(HERE / "finetune_torch.py")
    peer = json.loads(output([sys.executable, script, "train", args.model, "--train", train, "--valid", valid, "--max-steps", steps], args.threads))
    return {"anaume": report["seconds"]["jsts"], "transformers": peer["train_seconds"] + peer["eval_seconds"],
            "anaume_pearson": report["results"]["jsts"]["pearson,none"], "transformers_pearson": peer["pearson"]}


def processor() -> str:
    lines = [line for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")]
    return f"{lines[0].split(': ')[1].strip()}, {len(lines)} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anaume", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--positions", type=int, default=10)
    parser.add_argument("--per-bin", type=int, default=1)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--tokens", default="1000,4000", metavar="FROM,TO")
    parser.add_argument("--works", default="pseudo-perplexity,jsts")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    works = {"pseudo-perplexity": pseudo_perplexity, "jsts": jsts}
    works = {name: works[name] for name in args.works.split(",")}
    rounds: dict[str, list[dict]] = {name: [] for name in works}
    for number in range(args.rounds):
        for name, work in works.items():
            rounds[name].append(work(args))
            print(number, name, rounds[name][-1], flush=True)
    result = {"processor": processor(), "system": platform.platform(), "threads": args.threads, "works": {}}
    for name, found in rounds.items():
        medians = {side: statistics.median(one[side] for one in found) for side in ("anaume", "transformers")}
        result["works"][name] = {"rounds": found, "median_seconds": medians, "ratio": medians["transformers"] / medians["anaume"]}
    (args.out / "times.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: work["ratio"] for name, work in result["works"].items()}))


if __name__ == "__main__":
    main()

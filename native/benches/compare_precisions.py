#!/usr/bin/env python3
"""How far evaluations in a lower precision are from those in f32.

    compare_precisions.py --anaume target/release/anaume --model MODEL --data DATA --out DIR [--precision bf16]

Runs the same evaluations in f32 and in the other precision and writes a table, Markdown, of the differences to stdout.
`DATA` has wiki_kyoto/ and jaquad/ as in `anaume eval all`. A second run reads what DIR holds.
"""
import argparse
import json
import pathlib
import statistics
import subprocess

NUM_MASKS = 500
CHARS = 60


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_masks(data, path):
    """One mask in the middle of the beginning of each of the first passages."""
    passages = lines(data / "wiki_kyoto" / "passage_pairs.jsonl")[:NUM_MASKS]
    texts = [passage["query"][:2 * CHARS] for passage in passages]
    masked = [text[:len(text) // 2] + "[MASK]" + text[len(text) // 2 + 1:] for text in texts]
    prompts = [{"id": str(number), "text": text} for number, text in enumerate(masked)]
    path.write_text("".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in prompts), encoding="utf-8")


def run(args, precision):
    """The reports of all evaluations, each with its predictions."""
    out = args.out / precision
    out.mkdir(parents=True, exist_ok=True)
    masks = args.out / "masks.jsonl"
    write_masks(args.data, masks)
    data, limit = ["--data", str(args.data)], ["--limit", str(args.limit)]
    tasks = {"fill-mask": ["--data", str(masks)], "similarity": [*data, *limit], "retrieval": [*data, *limit],
             "pseudo-perplexity": [*data, "--positions", "20", "--per-bin", str(args.per_bin)]}
    found = {}
    for name, words in tasks.items():
        command = [args.anaume, "eval", name, "--model", str(args.model), *words, "--out", str(out), "--device", "cpu", "--precision", precision, "--json"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for report in json.loads(printed)["reports"]:
            [task] = report["results"]
            found[task] = (report, lines(out / report["model"]["name"] / task / "samples.jsonl"))
    return found


def vectors(args, precision):
    """Vectors of length 1 of the texts with masks."""
    path = args.out / precision / "vectors.jsonl"
    files = ["--input", str(args.out / "masks.jsonl"), "--out", str(path)]
    subprocess.run([args.anaume, "embed", "--model", str(args.model), *files, "--normalize", "--device", "cpu", "--precision", precision], check=True, capture_output=True)
    return [line["embedding"] for line in lines(path)]


def vector_row(single, half):
    cosines = [sum(a * b for a, b in zip(*pair, strict=True)) for pair in zip(single, half, strict=True)]
    return f"1 - cosine of a text's two vectors, {len(cosines)} texts", "", "", f"largest {1 - min(cosines):.2g}"


def rows(single, half):
    """Name, value in f32, value in the other precision, difference."""
    task = "pseudo-perplexity-wiki_kyoto"
    losses = [[loss for sample in found[task][1] for loss in sample["nll"]] for found in (single, half)]
    apart = [abs(a - b) for a, b in zip(*losses, strict=True)]
    yield f"log-likelihood of a token, nats, {len(apart)} tokens", "", "", f"mean {statistics.mean(apart):.2g}, largest {max(apart):.2g}"
    bias = statistics.mean(b - a for a, b in zip(*losses))
    yield "the same with its sign", f"{statistics.mean(losses[0]):.4f}", f"{statistics.mean(losses[1]):.4f}", f"{bias:+.2g}"
    first = [[sample["answers"][0]["token_id"] for sample in found["fill-mask"][1]] for found in (single, half)]
    changed = sum(a != b for a, b in zip(*first, strict=True))
    yield f"first answer at {len(first[0])} masks", "", "", f"another at {changed} ({100 * changed / len(first[0]):.1f} %)"
    likeliest = [[sample["answers"][0]["probability"] for sample in found["fill-mask"][1]] for found in (single, half)]
    yield "probability of the first answer", "", "", f"largest {max(abs(a - b) for a, b in zip(*likeliest)):.2g}"
    for task in sorted(name for name in single if name.startswith("similarity")):
        for kind in ("positive", "random"):
            cosines = [[sample[f"{kind}_cosine"] for sample in found[task][1]] for found in (single, half)]
            apart = [abs(a - b) for a, b in zip(*cosines, strict=True)]
            yield f"{task}: cosine of {len(apart)} {kind} pairs", "", "", f"mean {statistics.mean(apart):.2g}, largest {max(apart):.2g}"
    for task, (report, _) in single.items():
        name = report["main_metric"][task]
        values = [found[task][0]["results"][task].get(f"{name},none") for found in (single, half)]
        if None not in values:
            yield f"{task}: {name}", f"{values[0]:.5g}", f"{values[1]:.5g}", f"{values[1] - values[0]:+.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anaume", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--per-bin", type=int, default=5, help="texts of pseudo-perplexity in each bin of length")
    parser.add_argument("--limit", type=int, default=500, help="pairs and queries")
    args = parser.parse_args()
    single, half = run(args, "f32"), run(args, args.precision)
    print(f"| | f32 | {args.precision} | difference |\n|:--|--:|--:|:--|")
    both = [vectors(args, precision) for precision in ("f32", args.precision)]
    for row in [*rows(single, half), vector_row(*both)]:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()

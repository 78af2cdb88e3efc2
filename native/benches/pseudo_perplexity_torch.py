#!/usr/bin/env python3
"""Pseudo-perplexity the original's way, in transformers: one text at a time, five masked copies a batch, f32 on the CPU.

    pseudo_perplexity_torch.py MODEL TEXTS SAMPLES [--documents N] [--threads N]

Scores the texts and positions that SAMPLES (samples.jsonl of `anaume eval pseudo-perplexity`) lists, prints both values of each
text and their difference, and the seconds it took. TEXTS is the JSON-lines file (.gz too) that was evaluated, with `id`.
"""
import argparse
import gzip
import json
import math
import time

import torch
import transformers

COPIES_PER_BATCH = 5


def read_lines(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@torch.inference_mode()
def mean_loss(model, ids, positions, mask_id):
    losses = []
    for start in range(0, len(positions), COPIES_PER_BATCH):
        chosen = torch.tensor(positions[start:start + COPIES_PER_BATCH])
        rows = torch.arange(len(chosen))
        copies = ids.repeat(len(chosen), 1)
        copies[rows, chosen] = mask_id
        logits = model(input_ids=copies).logits[rows, chosen]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[chosen], reduction="none"))
    return torch.cat(losses).double().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("texts")
    parser.add_argument("samples")
    parser.add_argument("--documents", type=int, default=None, help="only the first N of SAMPLES")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    model = transformers.AutoModelForMaskedLM.from_pretrained(args.model, dtype=torch.float32).eval()
    texts = {record["id"]: record["text"] for record in read_lines(args.texts)}
    largest, total = 0.0, 0.0
    for sample in read_lines(args.samples)[:args.documents]:
        ids = torch.tensor(tokenizer(texts[sample["doc_id"]])["input_ids"])
        assert len(ids) == sample["tokens"], f"{sample['doc_id']}: {len(ids)} tokens here, {sample['tokens']} there"
        start = time.perf_counter()
        value = math.exp(mean_loss(model, ids, sample["positions"], tokenizer.mask_token_id))
        seconds = time.perf_counter() - start
        difference = value / sample["pseudo_perplexity"] - 1
        largest, total = max(largest, abs(difference)), total + seconds
        tokens_per_second = len(ids) * len(sample["positions"]) / seconds
        print(json.dumps({
            "doc_id": sample["doc_id"], "tokens": len(ids), "transformers": value, "anaume": sample["pseudo_perplexity"],
            "relative_difference": difference, "seconds": seconds, "tokens_per_second": tokens_per_second}), flush=True)
    print(json.dumps({"largest_relative_difference": largest, "seconds": total, "torch": torch.__version__,
                      "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()

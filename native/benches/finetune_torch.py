#!/usr/bin/env python3
"""JSTS fine-tuning in transformers, as `anaume finetune jsts` does it; and whether its models answer the same there.

    python finetune_torch.py train MODEL --train jsts-train.json --valid jsts-valid.json [--epochs 3] [--max-steps N]
    python finetune_torch.py check results/MODEL/jsts/CELL --valid jsts-valid.json

`train` prints one JSON line: Pearson, Spearman, seconds of training and of evaluation. The order of examples and the new head
are PyTorch's own, so its numbers agree as those of another seed do. `check` loads the saved model of a run and compares its
predictions with samples.jsonl: the same model must give the same numbers.
"""
import argparse
import json
import pathlib
import time

import torch
from scipy.stats import pearsonr, spearmanr
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup


def rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


def batches(tokenizer, examples, size, max_length):
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        texts = [[e["sentence1"] for e in part], [e["sentence2"] for e in part]]
        inputs = tokenizer(*texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        yield inputs, torch.tensor([float(e["label"]) for e in part])


@torch.no_grad()
def predict(model, tokenizer, examples, max_length):
    model.eval()
    parts = [model(**inputs).logits[:, 0] for inputs, _ in batches(tokenizer, examples, 64, max_length)]
    return torch.cat(parts).tolist()


def train(args):
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, num_labels=1, problem_type="regression", attn_implementation="sdpa")
    examples, valid = rows(args.train), rows(args.valid)
    steps = min(-(-len(examples) // args.batch_size) * args.epochs, args.max_steps or 10**9)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, -(-steps // 10), steps)
    start, done = time.time(), 0
    model.train()
    while done < steps:
        order = torch.randperm(len(examples)).tolist()
        for inputs, labels in batches(tokenizer, [examples[i] for i in order], args.batch_size, args.max_length):
            if done == steps:
                break
            loss = model(**inputs, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
    trained = time.time()
    predicted = predict(model, tokenizer, valid, args.max_length)
    gold = [float(e["label"]) for e in valid]
    print(json.dumps({
        "steps": steps, "seed": args.seed, "threads": torch.get_num_threads(), "last_loss": loss.item(),
        "train_seconds": trained - start, "eval_seconds": time.time() - trained,
        "pearson": pearsonr(gold, predicted)[0], "spearman": spearmanr(gold, predicted)[0],
    }))


def check(args):
    cell = pathlib.Path(args.model)
    tokenizer = AutoTokenizer.from_pretrained(cell / "model")
    model, report = AutoModelForSequenceClassification.from_pretrained(cell / "model", output_loading_info=True)
    ours = [s["prediction"] for s in rows(cell / "samples.jsonl") if s["split"] == "valid"]
    theirs = predict(model, tokenizer, rows(args.valid), args.max_length)
    assert len(ours) == len(theirs) > 0
    largest = max(abs(a - b) for a, b in zip(ours, theirs))
    loading = {key: sorted(value) for key, value in report.items() if value}
    print(json.dumps({"examples": len(ours), "largest_difference": largest, "loading": loading}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "check"])
    parser.add_argument("model")
    parser.add_argument("--train")
    parser.add_argument("--valid", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train(args) if args.mode == "train" else check(args)


if __name__ == "__main__":
    main()

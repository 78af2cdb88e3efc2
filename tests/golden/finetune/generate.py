#!/usr/bin/env python3
"""Losses of fifty steps of fine-tuning in transformers (eager attention, f32, CPU, one thread).

    python generate.py

starts from ../model/classifier with a new last layer for each kind of task and writes, beside this file,
- losses.safetensors: for each KIND (classification, regression, span, choice) `KIND.classifier.weight`,
  `KIND.classifier.bias`, ten batches of four examples (`KIND.ids.B`, `KIND.lengths.B`, `KIND.targets.B`, scores as f64) that
  are gone through five times, and `KIND.losses`, the mean loss of each of the fifty steps;
- manifest.json: versions and SHA-256.
"""
import hashlib
import json
import pathlib
import platform

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    ModernBertForMultipleChoice, ModernBertForQuestionAnswering, ModernBertForSequenceClassification,
    get_linear_schedule_with_warmup,
)

HERE = pathlib.Path(__file__).parent
START = HERE.parent / "model" / "classifier"
NUM_STEPS, WARMUP_STEPS, PEAK_RATE, NUM_BATCHES, NUM_CHOICES = 50, 5, 5e-4, 10, 3
CLASSES = {
    "classification": (ModernBertForSequenceClassification, 3),
    "regression": (ModernBertForSequenceClassification, 1),
    "span": (ModernBertForQuestionAnswering, 2),
    "choice": (ModernBertForMultipleChoice, 1),
}


def start(kind, generator):
    """The model with a last layer of its own, deterministic whatever transformers draws."""
    cls, outputs = CLASSES[kind]
    labels = 2 if kind in ("span", "choice") else outputs
    model = cls.from_pretrained(START, attn_implementation="eager", num_labels=labels, ignore_mismatched_sizes=True)
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 32 ** 0.5)
    return model.train()


def batch(kind, generator):
    rows = 4 * (NUM_CHOICES if kind == "choice" else 1)
    lengths = torch.randint(5, 20, (rows,), generator=generator)
    if kind == "span":
        # transformers' softmax over the tokens includes those of padding, ours does not: equal lengths have none.
        lengths = lengths[:1].expand(rows).contiguous()
    ids = [torch.cat([torch.tensor([5]), torch.randint(8, 300, (n - 2,), generator=generator), torch.tensor([6])]) for n in lengths]
    if kind == "regression":
        targets = 5 * torch.rand(4, generator=generator, dtype=torch.float64)
    elif kind == "span":
        starts = [torch.randint(1, n - 2, (1,), generator=generator).item() for n in lengths]
        targets = torch.tensor([[s, s + 1] for s in starts]).flatten()
    else:
        targets = torch.randint(0, 3, (4,), generator=generator)
    return ids, lengths, targets


def loss_of(kind, model, ids, lengths, targets):
    width = max(lengths).item()
    padded = torch.full((len(ids), width), 4)
    mask = torch.zeros(len(ids), width, dtype=torch.long)
    for row, sequence in enumerate(ids):
        padded[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    if kind == "span":
        targets = targets.view(-1, 2)
        return model(padded, mask, start_positions=targets[:, 0], end_positions=targets[:, 1]).loss
    if kind == "choice":
        shape = (4, NUM_CHOICES, width)
        return model(padded.view(shape), mask.view(shape), labels=targets).loss
    return model(padded, mask, labels=targets.float() if kind == "regression" else targets).loss


def run(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    model = start(kind, generator)
    tensors = {f"{kind}.classifier.{name}": p.detach().clone() for name, p in model.classifier.named_parameters()}
    batches = [batch(kind, generator) for _ in range(NUM_BATCHES)]
    for index, (ids, lengths, targets) in enumerate(batches):
        tensors |= {f"{kind}.ids.{index}": torch.cat(ids), f"{kind}.lengths.{index}": lengths, f"{kind}.targets.{index}": targets}
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP_STEPS, NUM_STEPS)
    losses = []
    for step in range(NUM_STEPS):
        optimizer.zero_grad()
        loss = loss_of(kind, model, *batches[step % NUM_BATCHES])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return tensors | {f"{kind}.losses": torch.tensor(losses, dtype=torch.float64)}


def main():
    torch.set_num_threads(1)
    tensors = {}
    for seed, kind in enumerate(CLASSES):
        tensors |= run(kind, seed)
        losses = tensors[f"{kind}.losses"]
        print(kind, [round(x, 4) for x in losses[::10].tolist()], round(losses[-1].item(), 4))
    save_file(tensors, HERE / "losses.safetensors")
    sha256 = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = {
        "generator": "generate.py",
        "generator_sha256": sha256(HERE / "generate.py"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
        "sha256": {"losses.safetensors": sha256(HERE / "losses.safetensors")},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()

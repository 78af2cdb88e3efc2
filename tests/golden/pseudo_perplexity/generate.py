#!/usr/bin/env python3
"""Golden losses of masked tokens from transformers (eager attention, f32, CPU, one thread), one masked copy at a time.

    python generate.py

reads ../model/plain and writes, beside this file:
- losses.safetensors: for texts of 3, 24 and 200 ids `ids.LENGTH` and `nll.LENGTH`, the cross-entropy of every token between
  the first and the last one where it alone is masked (Salazar et al. 2020);
- manifest.json: versions, SHA-256 of the files, and by how much transformers' other attention differs.
"""
import hashlib
import json
import pathlib
import platform

import safetensors
import torch
import transformers
from safetensors.torch import save_file
from transformers import ModernBertForMaskedLM

HERE = pathlib.Path(__file__).parent
LENGTHS = [3, 24, 200]
MASK, CLS, SEP, FIRST_ORDINARY, VOCAB = 3, 5, 6, 8, 300


def text(length, generator):
    body = torch.randint(FIRST_ORDINARY, VOCAB, (length - 2,), generator=generator)
    return torch.cat([torch.tensor([CLS]), body, torch.tensor([SEP])])


@torch.no_grad()
def losses(model, ids):
    values = []
    for position in range(1, len(ids) - 1):
        copy = ids.clone()
        copy[position] = MASK
        logits = model(input_ids=copy[None]).logits[0, position]
        values.append(torch.nn.functional.cross_entropy(logits[None], ids[position][None]))
    return torch.stack(values)


def goldens(attention):
    model = ModernBertForMaskedLM.from_pretrained(HERE.parent / "model/plain", attn_implementation=attention).eval()
    generator = torch.Generator().manual_seed(11)
    texts = {length: text(length, generator) for length in LENGTHS}
    return {f"ids.{length}": ids for length, ids in texts.items()} | {
        f"nll.{length}": losses(model, ids) for length, ids in texts.items()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main():
    torch.set_num_threads(1)
    eager, sdpa = goldens("eager"), goldens("sdpa")
    save_file(eager, HERE / "losses.safetensors")
    difference = max(((eager[key] - sdpa[key]).abs().max() / eager[key].abs().max()).item()
                     for key in eager if key.startswith("nll"))
    manifest = {
        "generator": "generate.py",
        "generator_sha256": sha256(HERE / "generate.py"),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "safetensors": safetensors.__version__,
        },
        "eager_against_sdpa": difference,
        "sha256": {name: sha256(HERE / name) for name in ["losses.safetensors"]},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()

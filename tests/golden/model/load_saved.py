#!/usr/bin/env python3
"""Loads a folder that Anaume wrote in transformers and holds its logits against a reference.

    load_saved.py FOLDER REFERENCE

REFERENCE is a safetensors file as for `anaume verify`: input_ids, attention_mask, logits_first_16. Prints one JSON line; fails if
a key is missing or unexpected or if the largest relative difference is not below 1e-5.
"""
import json
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import ModernBertForMaskedLM


def main() -> None:
    folder, reference = sys.argv[1], load_file(sys.argv[2])
    model, info = ModernBertForMaskedLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    with torch.no_grad():
        logits = model.eval()(input_ids=reference["input_ids"], attention_mask=reference["attention_mask"]).logits[:, :16]
    keep = reference["attention_mask"][:, :16].bool()
    expected = reference["logits_first_16"]
    difference = ((logits - expected)[keep].abs().max() / expected[keep].abs().max()).item()
    print(json.dumps({
        "transformers": transformers.__version__, "missing_keys": sorted(info["missing_keys"]),
        "unexpected_keys": sorted(info["unexpected_keys"]), "largest_relative_difference": difference,
    }))
    assert not info["missing_keys"] and not info["unexpected_keys"] and difference < 1e-5


if __name__ == "__main__":
    main()

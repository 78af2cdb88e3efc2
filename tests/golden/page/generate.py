#!/usr/bin/env python3
"""What transformers answers with ../model/plain to one text, in the form of a model's `check` in site.json, so that the command line on
each device and the page on each device can be asked for the same. Every token has a word of its own (`t8` to `t299`).

    python generate.py
"""
import json
import pathlib
import random

import torch
from transformers import ModernBertForMaskedLM

HERE = pathlib.Path(__file__).parent
VOCAB, LENGTH, MASKED, STEP = 300, 200, 90, 5
SPECIAL = {"<unk>": 0, "[MASK]": 3, "[PAD]": 4, "[CLS]": 5, "[SEP]": 6}
ROLES = {"unk_token": "<unk>", "mask_token": "[MASK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def tokenizer():
    names = {index: name for name, index in SPECIAL.items()}
    vocab = {names.get(index, f"t{index}"): index for index in range(VOCAB)}
    token = lambda name, index: dict(
        id=index, content=name, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(
        version="1.0", truncation=None, padding=None, normalizer=None, decoder=None,
        added_tokens=[token(name, index) for name, index in SPECIAL.items()],
        pre_tokenizer={"type": "WhitespaceSplit"},
        post_processor={"type": "BertProcessing", "cls": ["[CLS]", 5], "sep": ["[SEP]", 6]},
        model={"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    )


@torch.no_grad()
def check():
    ids = random.Random(0).choices(range(8, VOCAB), k=LENGTH)
    words = [f"t{index}" for index in ids]
    ids[MASKED], words[MASKED] = SPECIAL["[MASK]"], "[MASK]"
    model = ModernBertForMaskedLM.from_pretrained(HERE.parent / "model/plain", attn_implementation="eager").eval()
    run = lambda body: model(torch.tensor([[SPECIAL["[CLS]"], *body, SPECIAL["[SEP]"]]]), output_hidden_states=True)
    logits = run(ids).logits[0, MASKED + 1]
    # In a text that becomes a vector the name of a special token is no token: `[` and `MASK]`, here two unknown words.
    ids[MASKED:MASKED + 1] = [SPECIAL["<unk>"]] * 2
    hidden = run(ids).hidden_states[-1][0]
    token_ids = list(range(0, VOCAB, STEP))
    rounded = lambda values: [float(f"{value:.8g}") for value in values.double().tolist()]
    return dict(
        text=" ".join(words), token_ids=token_ids, logits=rounded(logits[token_ids]), vector=rounded(hidden.mean(0)),
    )


if __name__ == "__main__":
    for name, value in [("tokenizer.json", tokenizer()), ("tokenizer_config.json", ROLES), ("check.json", check())]:
        (HERE / name).write_text(json.dumps(value, ensure_ascii=False) + "\n")

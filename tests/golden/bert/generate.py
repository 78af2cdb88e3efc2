#!/usr/bin/env python3
"""Golden values of BERT, and of the fine-tuning heads of BERT and ModernBERT, from transformers (eager attention, f32, CPU).

    python generate.py

writes, beside this file:
- masked_lm/: a small BertForMaskedLM as a folder of Hugging Face; encoder/: its BertModel with a pooler, in float16;
- forward.safetensors: packed sequences, half of them pairs, as `ids`, `lengths`, `types`; `hidden.LAYER` `[t, d]` (0 the
  embedding, then the output of each layer) and `logits` `[t, v]` of masked_lm, `untyped.hidden` the last hidden states of
  the same without types, `encoder.hidden` those of encoder/ with its values in f32;
- heads/MODEL_TASK.json: `config.json` as transformers writes it of `bert` (on masked_lm/) and `modernbert` (on ../model/plain)
  for each task, and heads.safetensors: the parameters that the pretrained files lack, `MODEL_TASK/NAME`, and the logits of
  the sequences of forward.safetensors, `MODEL_TASK.logits`: `[s, labels]`, of span `[t, 2]`, of choice `[s, 1]`, where two
  sequences are the choices of a question; for classification also the loss of `labels` and the gradients of a few
  parameters, `MODEL_classification.gradient/NAME`, where `NAME` is one of GRADIENTS;
- manifest.json: versions and SHA-256 of every file.
"""
import hashlib
import json
import pathlib
import platform

import numpy as np
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForMultipleChoice, AutoModelForQuestionAnswering, AutoModelForSequenceClassification, BertConfig,
    BertForMaskedLM, BertModel,
)

HERE = pathlib.Path(__file__).parent
PRETRAINED = {"bert": HERE / "masked_lm", "modernbert": HERE.parent / "model" / "plain"}
TASKS = {
    "classification": (AutoModelForSequenceClassification, dict(
        id2label={0: "含意", 1: "矛盾", 2: "中立"}, label2id={"含意": 0, "矛盾": 1, "中立": 2},
        problem_type="single_label_classification",
    )),
    "regression": (AutoModelForSequenceClassification, dict(num_labels=1, problem_type="regression")),
    "span": (AutoModelForQuestionAnswering, {}),
    "choice": (AutoModelForMultipleChoice, {}),
}
GRADIENTS = {
    "bert": [
        "bert.embeddings.token_type_embeddings.weight", "bert.embeddings.position_embeddings.weight",
        "bert.encoder.layer.0.attention.self.query.weight", "bert.encoder.layer.1.output.LayerNorm.bias",
        "bert.encoder.layer.2.intermediate.dense.bias", "bert.pooler.dense.weight", "classifier.weight",
    ],
    "modernbert": ["model.layers.0.attn.Wqkv.weight", "head.dense.weight", "head.norm.weight", "classifier.bias"],
}
# Tokens of each sequence, and of those before the second text of a pair (None: one text).
LENGTHS, SECOND = [7, 40, 2, 23], [4, None, None, 11]
VOCAB, PAD = 90, 0


@torch.no_grad()
def randomise(model, seed, only=lambda name: True):
    """Parameters that all matter: matrices that keep the size of their input, norms around 1, the rest around 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        normal = torch.randn(parameter.shape, generator=generator)
        if not only(name):
            continue
        if name.endswith("orm.weight"):
            parameter.copy_(1 + 0.2 * normal)
        elif name.endswith("bias"):
            parameter.copy_(0.2 * normal)
        elif "embeddings" in name:
            parameter.copy_(0.3 * normal)
        else:
            parameter.copy_(normal / parameter.shape[1] ** 0.5)


def build_pretrained():
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=40,
        max_position_embeddings=40, initializer_range=0.05, pad_token_id=PAD,
    )
    model = BertForMaskedLM(config)
    randomise(model, 1)
    model.save_pretrained(HERE / "masked_lm")
    encoder = BertModel.from_pretrained(HERE / "masked_lm")
    randomise(encoder, 2, lambda name: name.startswith("pooler"))
    encoder.half().save_pretrained(HERE / "encoder")


def load(kind, folder, **options):
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, **options)
    return model.eval()


def sequences():
    generator = torch.Generator().manual_seed(3)
    ids = [torch.randint(5, VOCAB, (length,), generator=generator) for length in LENGTHS]
    types = [(torch.arange(n) >= (n if second is None else second)).long() for n, second in zip(LENGTHS, SECOND)]
    return ids, types


def pad(rows):
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def batch(with_types=True):
    ids, types = sequences()
    keep = pad([torch.ones_like(row) for row in ids])
    return dict(input_ids=pad(ids), attention_mask=keep) | (dict(token_type_ids=pad(types)) if with_types else {})


def packed(values):
    return values[batch()["attention_mask"].bool()].contiguous()


@torch.no_grad()
def forward_goldens():
    ids, types = sequences()
    model = load(BertForMaskedLM, PRETRAINED["bert"])
    output = model(**batch(), output_hidden_states=True)
    tensors = {f"hidden.{layer}": packed(hidden) for layer, hidden in enumerate(output.hidden_states)}
    untyped = model(**batch(False), output_hidden_states=True).hidden_states[-1]
    encoder = load(BertModel, HERE / "encoder")
    return tensors | {
        "ids": torch.cat(ids), "lengths": torch.tensor(LENGTHS), "types": torch.cat(types),
        "logits": packed(output.logits), "untyped.hidden": packed(untyped),
        "encoder.hidden": packed(encoder(**batch()).last_hidden_state),
    }


def head_goldens(name, task):
    kind, options = TASKS[task]
    model = load(kind, PRETRAINED[name], **options)
    missing = set(model.state_dict()) - set(load_file(PRETRAINED[name] / "model.safetensors"))
    randomise(model, 4, lambda parameter: parameter in missing)
    (HERE / "heads").mkdir(exist_ok=True)
    model.config.architectures = [type(model).__name__]
    config = json.loads(model.config.to_json_string())
    (HERE / "heads" / f"{name}_{task}.json").write_text(
        json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    inputs = batch(with_types=name == "bert")
    if task == "choice":
        inputs = {key: value.reshape(2, 2, -1) for key, value in inputs.items()}
    labels = torch.tensor([2, 0, 1, 1])
    output = model(**inputs, **(dict(labels=labels) if task == "classification" else {}))
    prefix = f"{name}_{task}"
    tensors = {f"{prefix}/{key}": value for key, value in model.state_dict().items() if key in missing}
    if task == "span":
        logits = torch.stack([packed(output.start_logits), packed(output.end_logits)], dim=1)
    else:
        logits = output.logits.reshape(len(LENGTHS), -1)
    tensors[f"{prefix}.logits"] = logits.detach().contiguous()
    if task == "classification":
        output.loss.backward()
        parameters = dict(model.named_parameters())
        tensors |= {f"{prefix}.gradient/{key}": parameters[key].grad for key in GRADIENTS[name]}
        tensors |= {f"{prefix}.loss": output.loss.detach().reshape(1), f"{prefix}.labels": labels}
    return tensors


def check_legacy_names():
    """transformers reads what the test makes of masked_lm/: the layout of BertForPreTraining's first files."""
    state = load_file(HERE / "masked_lm" / "model.safetensors")
    rename = lambda key: key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    old = {rename(key): value for key, value in state.items()}
    old["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
    folder = HERE / "legacy"
    folder.mkdir()
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text((HERE / "masked_lm" / "config.json").read_text())
    with torch.no_grad():
        new_logits, old_logits = (load(BertForMaskedLM, path)(**batch()).logits for path in [HERE / "masked_lm", folder])
        assert torch.equal(new_logits, old_logits)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest():
    files = sorted(p for p in HERE.rglob("*") if p.suffix in {".safetensors", ".json"} and p.name != "manifest.json")
    manifest = {
        "generator": "generate.py",
        "generator_sha256": sha256(HERE / "generate.py"),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "safetensors": safetensors.__version__, "numpy": np.__version__,
        },
        "sha256": {path.relative_to(HERE).as_posix(): sha256(path) for path in files},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    build_pretrained()
    check_legacy_names()
    save_file(forward_goldens(), HERE / "forward.safetensors")
    heads = {}
    for name in PRETRAINED:
        for task in TASKS:
            heads |= head_goldens(name, task)
    save_file(heads, HERE / "heads.safetensors")
    write_manifest()


if __name__ == "__main__":
    main()

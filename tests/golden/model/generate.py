#!/usr/bin/env python3
"""Golden values of ModernBERT from transformers (eager attention, f32, CPU, one thread).

    python generate.py

writes, beside this file:
- plain/, biased/, classifier/: small models as folders of Hugging Face. `plain` has no bias and a tied decoder; `biased` has
  every bias, an untied decoder and a config.json in the layout before transformers 5; `classifier` has three labels;
- inputs.safetensors: token ids, `ids.LENGTH`;
- plain_forward.safetensors, biased_forward.safetensors: per length, `positions.LENGTH` (all, but every 16th of 700 and every
  4th of the logits) and there `hidden.LENGTH.LAYER` (the input of each layer, last the output of the final norm) and
  `logits.LENGTH` at `logit_positions.LENGTH`, computed as one right-padded batch; `left.…` the same of a left-padded pair;
- classifier_forward.safetensors: `logits_mean`, `logits_cls`, one row for each length;
- plain_gradients.safetensors, biased_gradients.safetensors: a masked-LM batch, its loss and the gradient of every parameter;
- plain_training.safetensors: twenty AdamW steps: batches, rates, losses, gradient norms, sums of squares at the end;
- plain_f16.safetensors, plain_bf16.safetensors: `plain` in half precision; half_forward.safetensors: the logits of their
  values in f32;
- manifest.json: versions, SHA-256 of every file, and by how much transformers' own two attentions differ on these goldens.
"""
import hashlib
import json
import pathlib
import platform

import numpy as np
import safetensors
import torch
import transformers
from safetensors.torch import save_file
from transformers import ModernBertConfig, ModernBertForMaskedLM, ModernBertForSequenceClassification
from transformers import get_linear_schedule_with_warmup

HERE = pathlib.Path(__file__).parent
LENGTHS = [1, 63, 64, 65, 129, 700]
STORED_LENGTHS = [1, 64, 129, 700]
LEFT_LENGTHS = [65, 129]
VOCAB, PAD, MASK, FIRST_ORDINARY = 300, 4, 3, 8
SIZES = dict(
    vocab_size=VOCAB, hidden_size=32, num_attention_heads=2, intermediate_size=48, max_position_embeddings=1024,
    initializer_range=0.1, pad_token_id=PAD, bos_token_id=5, eos_token_id=6, cls_token_id=5, sep_token_id=6,
)
NUM_STEPS, WARMUP_STEPS, PEAK_RATE = 20, 4, 1e-3


def rope(full, sliding):
    theta = lambda value: {"rope_type": "default", "rope_theta": value}
    return {"full_attention": theta(full), "sliding_attention": theta(sliding)}


@torch.no_grad()
def randomise(model, seed):
    """Parameters that all matter: matrices that keep the size of their input, norms around 1, biases around 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        normal = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.copy_(1 + 0.2 * normal)
        elif name.endswith("bias"):
            parameter.copy_(0.2 * normal)
        elif "tok_embeddings" in name or "decoder" in name:
            parameter.copy_(0.3 * normal)
        else:
            parameter.copy_(normal / parameter.shape[1] ** 0.5)


def plain():
    config = ModernBertConfig(
        **SIZES, num_hidden_layers=4, local_attention=128, rope_parameters=rope(160000.0, 10000.0), decoder_bias=False,
    )
    model = ModernBertForMaskedLM(config)
    randomise(model, 1)
    model.save_pretrained(HERE / "plain")


def biased():
    biases = {f"{part}_bias": True for part in ["norm", "attention", "mlp", "classifier", "decoder"]}
    config = ModernBertConfig(
        **SIZES, **biases, num_hidden_layers=4, local_attention=16, tie_word_embeddings=False,
        rope_parameters=rope(40000.0, 1000.0), global_attn_every_n_layers=2,
    )
    model = ModernBertForMaskedLM(config)
    randomise(model, 2)
    model.save_pretrained(HERE / "biased")
    path = HERE / "biased" / "config.json"
    layout = json.loads(path.read_text())
    for name in ["rope_parameters", "layer_types"]:
        del layout[name]
    layout |= {"global_rope_theta": 40000.0, "local_rope_theta": 1000.0, "global_attn_every_n_layers": 2}
    path.write_text(json.dumps(layout, indent=2, sort_keys=True) + "\n")


def classifier():
    config = ModernBertConfig(
        **SIZES, num_hidden_layers=2, local_attention=32, num_labels=3, classifier_pooling="mean",
        rope_parameters=rope(160000.0, 10000.0),
    )
    model = ModernBertForSequenceClassification(config)
    randomise(model, 3)
    model.save_pretrained(HERE / "classifier")


def load(kind, name, attention="eager", **options):
    model, report = kind.from_pretrained(
        HERE / name, attn_implementation=attention, dtype=torch.float32, output_loading_info=True, **options)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    return model.eval()


def random_ids(generator, length):
    ids = torch.randint(FIRST_ORDINARY, VOCAB, (length,), generator=generator)
    ids[0] = 5
    return ids


def pad(sequences, left=False):
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), PAD)
    keep = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        start = longest - len(sequence) if left else 0
        ids[row, start:start + len(sequence)] = sequence
        keep[row, start:start + len(sequence)] = 1
    return dict(input_ids=ids, attention_mask=keep)


def stored_positions(length):
    return list(range(0, length, 16 if length == 700 else 1))


@torch.no_grad()
def forward_of(model, sequences, prefix="", left=False):
    batch = pad(sequences, left)
    output = model(**batch, output_hidden_states=True)
    longest, tensors = batch["input_ids"].shape[1], {}
    for row, sequence in enumerate(sequences):
        length = len(sequence)
        if not left and length not in STORED_LENGTHS:
            continue
        positions = stored_positions(length)[::4 if left else 1]
        logit_positions = positions if length == 1 else positions[::4]
        first = longest - length if left else 0
        at = lambda tensor, chosen: tensor[row, first + torch.tensor(chosen)].contiguous()
        tensors[f"{prefix}positions.{length}"] = torch.tensor(positions)
        tensors[f"{prefix}logit_positions.{length}"] = torch.tensor(logit_positions)
        tensors[f"{prefix}logits.{length}"] = at(output.logits, logit_positions)
        for layer, hidden in enumerate(output.hidden_states):
            tensors[f"{prefix}hidden.{length}.{layer}"] = at(hidden, positions)
    return tensors


def forward_goldens(name, sequences, attention="eager"):
    model = load(ModernBertForMaskedLM, name, attention)
    tensors = forward_of(model, [sequences[length] for length in LENGTHS])
    return tensors | forward_of(model, [sequences[length] for length in LEFT_LENGTHS], "left.", left=True)


@torch.no_grad()
def classifier_goldens(sequences, attention="eager"):
    tensors = {}
    for pooling in ["mean", "cls"]:
        model = load(ModernBertForSequenceClassification, "classifier", attention, classifier_pooling=pooling)
        assert model.config.classifier_pooling == pooling
        tensors[f"logits_{pooling}"] = model(**pad([sequences[length] for length in LENGTHS])).logits
    return tensors


def masked_batch(generator, lengths, skewed=False):
    """Sequences, the indices of 30 % of their tokens in all tokens laid end to end, and what is to be predicted there."""
    sequences = [random_ids(generator, length) for length in lengths]
    if skewed:  # Few tokens are frequent, so that there is something to learn.
        draw = torch.rand(sum(lengths), generator=generator) ** 4 * (VOCAB - FIRST_ORDINARY)
        sequences = list((FIRST_ORDINARY + draw.long()).split(lengths))
    flat = torch.cat(sequences)
    masked = (torch.rand(len(flat), generator=generator) < 0.3).nonzero().flatten()
    labels = flat[masked].clone()
    flat[masked[::5]] = torch.randint(FIRST_ORDINARY, VOCAB, masked[::5].shape, generator=generator)
    for rest in range(1, 5):
        flat[masked[rest::5]] = MASK
    return list(flat.split(lengths)), masked, labels


def loss_of(model, sequences, masked, labels):
    all_labels = torch.full((sum(map(len, sequences)),), -100)
    all_labels[masked] = labels
    batch = pad(sequences)
    batch["labels"] = pad(list(all_labels.split([len(s) for s in sequences])))["input_ids"]
    batch["labels"][batch["attention_mask"] == 0] = -100
    return model(**batch).loss


def stored_batch(sequences, masked, labels):
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return dict(ids=torch.cat(sequences), lengths=lengths, masked=masked, labels=labels)


def gradient_goldens(name, attention="eager"):
    model = load(ModernBertForMaskedLM, name, attention)
    batch = masked_batch(torch.Generator().manual_seed(5), [40, 90])
    loss = loss_of(model, *batch)
    loss.backward()
    gradients = {f"gradient.{key}": value.grad for key, value in model.named_parameters()}
    return stored_batch(*batch) | gradients | {"loss": loss.detach().reshape(1)}


def optimizer_of(model):
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [dict(params=matrices, weight_decay=0.01), dict(params=vectors, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), eps=1e-6)


def training_goldens(attention="eager"):
    model = load(ModernBertForMaskedLM, "plain", attention).train()
    optimizer = optimizer_of(model)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP_STEPS, NUM_STEPS)
    generator, records, tensors = torch.Generator().manual_seed(6), [], {}
    for step in range(NUM_STEPS):
        batch = masked_batch(generator, [30, 50, 80], skewed=True)
        tensors |= {f"{key}.{step}": value for key, value in stored_batch(*batch).items()}
        loss = loss_of(model, *batch)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        records.append((loss.item(), norm.item(), schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    for key, column in zip(["losses", "grad_norms", "learning_rates"], zip(*records)):
        tensors[key] = torch.tensor(column, dtype=torch.float64)
    squares = {f"sum_squares.{key}": p.detach().double().square().sum().reshape(1) for key, p in model.named_parameters()}
    return tensors | squares


@torch.no_grad()
def half_goldens(sequence, attention="eager"):
    tensors = {"logit_positions": torch.arange(0, 64, 4)}
    for name, dtype in [("f16", torch.float16), ("bf16", torch.bfloat16)]:
        model = load(ModernBertForMaskedLM, "plain", attention)
        state = {key: value.to(dtype) for key, value in model.state_dict().items() if key != "decoder.weight"}
        if attention == "eager":
            save_file(state, HERE / f"plain_{name}.safetensors", metadata={"format": "pt"})
        # The parameters alone: `model.to(dtype)` would round the frequencies of RoPE too.
        model.load_state_dict(state, strict=False)
        logits = model(input_ids=sequence[None]).logits[0]
        tensors[f"logits_{name}"] = logits[tensors["logit_positions"]].contiguous()
    return tensors


def goldens(attention):
    generator = torch.Generator().manual_seed(4)
    sequences = {length: random_ids(generator, length) for length in LENGTHS}
    return {
        "inputs": {f"ids.{length}": ids for length, ids in sequences.items()},
        "plain_forward": forward_goldens("plain", sequences, attention),
        "biased_forward": forward_goldens("biased", sequences, attention),
        "classifier_forward": classifier_goldens(sequences, attention),
        "plain_gradients": gradient_goldens("plain", attention),
        "biased_gradients": gradient_goldens("biased", attention),
        "plain_training": training_goldens(attention),
        "half_forward": half_goldens(sequences[64], attention),
    }


def largest_difference(actual, expected):
    """Largest max |a - b| / max |b| over the floating-point tensors of a file, and where."""
    def relative(key):
        a, b = actual[key].double(), expected[key].double()
        return ((a - b).abs().max() / b.abs().max()).item()
    floating = [key for key in expected if expected[key].is_floating_point() and key != "learning_rates"]
    return max(((relative(key), key) for key in floating), default=(0.0, ""))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(differences):
    files = sorted(p for p in HERE.rglob("*") if p.suffix in {".safetensors", ".json"} and p.name != "manifest.json")
    manifest = {
        "generator": "generate.py",
        "generator_sha256": sha256(HERE / "generate.py"),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "safetensors": safetensors.__version__, "numpy": np.__version__,
        },
        "eager_against_sdpa": {name: {"relative_difference": d, "tensor": key} for name, (d, key) in differences.items() if key},
        "sha256": {path.relative_to(HERE).as_posix(): sha256(path) for path in files},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    for build in [plain, biased, classifier]:
        build()
    eager, sdpa = goldens("eager"), goldens("sdpa")
    for name, tensors in eager.items():
        save_file(tensors, HERE / f"{name}.safetensors")
    write_manifest({name: largest_difference(sdpa[name], eager[name]) for name in eager})


if __name__ == "__main__":
    main()

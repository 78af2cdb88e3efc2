#!/usr/bin/env python3
"""Exports a ModernBERT folder for onnxruntime-web and transformers.js: logits of every position (`onnx/model.onnx`, what
transformers.js expects) and of chosen positions alone (`onnx/model_at.onnx`, what Anaume computes), both in f32 and
checked against PyTorch.

    pip install torch transformers onnx onnxscript onnxruntime
    web/bench/export_onnx.py run/step-00000600 OUT
"""

import pathlib
import shutil
import sys

import numpy
import onnxruntime
import torch
import transformers

TOLERANCE = 1e-4


class AllPositions(torch.nn.Module):
    """Logits `[batch, tokens, vocabulary]`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


class ChosenPositions(AllPositions):
    """Logits `[chosen, vocabulary]` of one text, so that the decoder computes no more than it must."""

    def forward(self, input_ids, attention_mask, positions):
        hidden = self.model.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.model.decoder(self.model.head(hidden[0].index_select(0, positions)))


def inputs(tokens, vocabulary, generator):
    """A text of so many random tokens, all of them attended to, and two positions."""
    ids = torch.randint(0, vocabulary, (1, tokens), generator=generator)
    return ids, torch.ones_like(ids), torch.tensor([1, tokens // 2])


def export(module, example, path, output, dynamic):
    names = ["input_ids", "attention_mask", "positions"][: len(example)]
    torch.onnx.export(module, example, path, input_names=names, output_names=[output], dynamo=True, opset_version=18,
                      dynamic_shapes=dynamic, external_data=False)


def largest_difference(module, path, examples):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    differences = []
    for example in examples:
        with torch.no_grad():
            expected = module(*example).numpy()
        found, = session.run(None, dict(zip(names, [value.numpy() for value in example])))
        assert found.shape == expected.shape, (found.shape, expected.shape)
        differences.append(numpy.abs(found - expected).max())
    return max(differences)


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "model.safetensors"]:
        if (source / name).exists():
            shutil.copy(source / name, out / name)
    load = transformers.ModernBertForMaskedLM.from_pretrained
    model = load(source, attn_implementation="sdpa", dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    examples = [inputs(tokens, model.config.vocab_size, generator) for tokens in (32, 128, 333)]
    tokens, chosen = torch.export.Dim("tokens", min=2, max=8192), torch.export.Dim("chosen", min=1, max=8192)
    both, positions = {1: tokens}, {0: chosen}
    for name, module, count, shapes in [
        ("model", AllPositions(model), 2, (both, both)),
        ("model_at", ChosenPositions(model), 3, (both, both, positions)),
    ]:
        path = out / "onnx" / f"{name}.onnx"
        export(module.eval(), examples[0][:count], path, "logits", shapes)
        difference = largest_difference(module, path, [example[:count] for example in examples])
        print(f"{path}: {path.stat().st_size} bytes, logits within {difference:.1e} of PyTorch's")
        assert difference <= TOLERANCE, f"{name}: {difference} is more than {TOLERANCE}"


if __name__ == "__main__":
    main()

"""The golden logits of `anaume doctor` (native/src/doctor.rs), computed by transformers.

    anaume model init --preset tiny --tokenizer tests/golden/tokenizer/small --seed 0 --out MODEL
    python3 tests/golden/doctor/generate.py MODEL
"""
import sys

import torch
import transformers
from transformers import AutoModelForMaskedLM

model = AutoModelForMaskedLM.from_pretrained(sys.argv[1], attn_implementation="eager").eval()
ids = torch.tensor([[(7 * i * i + 3 * i + 11) % model.config.vocab_size for i in range(200)]])
with torch.no_grad():
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].double()
print(f"transformers {transformers.__version__}, torch {torch.__version__}")
for place in (0, 99, 199):
    print(place, [round(float(logit), 7) for logit in logits[place, :4]])

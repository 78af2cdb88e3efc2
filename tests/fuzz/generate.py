#!/usr/bin/env python3
"""The seeds of the corpus: small valid files, bombs and lies. Run it beside this file; it writes into corpus/TARGET/seed-NAME.

Files of other names are inputs that a fuzzer found to end the program once, made as small as it could.
"""
import gzip
import json
import pathlib
import struct
import subprocess

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden"


def seed(target, name, *parts):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part.encode() if isinstance(part, str) else part for part in parts]
    (folder / f"seed-{name}").write_bytes(b"\0".join(parts))


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else compact(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def weights():
    two = {"__metadata__": {"format": "pt"}, "a.weight": tensor([2, 3], 0, 24), "b": tensor([4], 24, 32, "BF16")}
    seed("safetensors", "two", safetensors(two, bytes(32)))
    seed("safetensors", "levels", safetensors({"w": tensor([2, 32], 0, 64, "I8"), "w_scale": tensor([2, 1], 64, 72)}, bytes(72)))
    seed("safetensors", "empty", safetensors({}))
    seed("safetensors", "claims-an-exabyte", safetensors({"a": tensor([1 << 58], 0, 1 << 60)}, bytes(8)))
    seed("safetensors", "overflow", safetensors({"a": tensor([1 << 60, 1 << 60], 0, 8)}, bytes(8)))
    seed("safetensors", "hole", safetensors({"a": tensor([1], 4, 8)}, bytes(8)))
    once = compact({"a": tensor([1], 0, 4)})[1:-1]
    seed("safetensors", "twice", safetensors(f"{{{once},{once}}}".encode(), bytes(4)))
    seed("safetensors", "long-header", struct.pack("<Q", 1 << 62) + b"{}")
    vectors = {"__metadata__": {"anaume_index": "1", "model": "m", "passages": compact(["京都の駅", "夏の海"])}, "vectors": tensor([2, 2], 0, 16)}
    seed("index", "two", safetensors(vectors, struct.pack("<4f", 1, 0, 0.6, 0.8)))
    vectors["vectors"] = tensor([2, 1 << 61], 0, 16)
    seed("index", "wide", safetensors(vectors, bytes(16)))


def configs():
    modernbert = json.loads((GOLDEN / "model/plain/config.json").read_text())
    bert = json.loads((GOLDEN / "bert/masked_lm/config.json").read_text())
    seed("config", "modernbert", compact(modernbert))
    seed("config", "bert", compact(bert))
    seed("config", "classifier", compact(json.loads((GOLDEN / "model/classifier/config.json").read_text())))
    largest = {"vocab_size": 1 << 24, "hidden_size": 1 << 16, "intermediate_size": 1 << 18, "num_hidden_layers": 1 << 10, "num_attention_heads": 1 << 10}
    seed("config", "largest", compact({"model_type": "modernbert", **largest, "max_position_embeddings": 1 << 17, "num_labels": 1 << 16, "architectures": ["ForSequenceClassification"]}))
    seed("config", "largest-bert", compact({"model_type": "bert", **largest, "max_position_embeddings": 1 << 20}))
    seed("config", "labels", compact({"model_type": "modernbert", "num_labels": (1 << 64) - 1, "architectures": ["ForSequenceClassification"]}))
    seed("config", "long-table", compact({"model_type": "modernbert", "hidden_size": 512, "num_attention_heads": 1, "max_position_embeddings": 1 << 20}))


SPECIAL = ["<unk>", "<s>", "</s>", "<MASK|LLM-jp>", "<PAD|LLM-jp>", "<CLS|LLM-jp>", "<SEP|LLM-jp>"]


def added(names):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": index, "content": name, **flags} for index, name in enumerate(names)]


def tokenizers():
    small = json.loads((GOLDEN / "tokenizer/small/tokenizer.json").read_text())
    vocab = small["model"]["vocab"]
    small["model"]["vocab"] = vocab[:7] + vocab[-20:]
    small["model"]["byte_fallback"] = False
    names = [token["content"] for token in small["added_tokens"]]
    seed("tokenizer", "unigram", compact(small), "")
    seed("tokenizer", "unigram-config", compact(small), compact({"mask_token": names[3]}))
    bert = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    words = {name: index for index, name in enumerate([*bert, "今", "##日", "は", "a", "##b"])}
    post = {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(bert), "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": post, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}
    piece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": words}
    seed("tokenizer", "wordpiece", compact({**base, "model": piece}), "")
    level = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {**words, "far": 4294967295}}
    seed("tokenizer", "far-id", compact({**base, "model": level}), "")
    bpe = {"type": "BPE", "dropout": None, "unk_token": "[UNK]", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": False, "vocab": {**words, "b": 10, "ab": 11}, "merges": [["a", "b"]]}
    byte = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    seed("tokenizer", "bpe", compact({**base, "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "(?<!\\n)^"}, "content": "▁"}]}, "pre_tokenizer": byte, "model": bpe}), "")
    deep = {"type": "NFC"}
    for _ in range(100):
        deep = {"type": "Sequence", "normalizers": [deep]}
    seed("tokenizer", "deep", compact({**base, "normalizer": deep, "model": piece}), "")
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece", "do_lower_case": True}
    lines = "\n".join([*bert, "今日", "は", "a", "##b", ""])
    seed("bert-japanese", "mecab", compact(settings), lines)
    seed("bert-japanese", "basic", compact({**settings, "word_tokenizer_type": "basic", "subword_tokenizer_type": "character", "never_split": ["今日"]}), lines)
    far = {str(index): {"content": f"<{index}>", "special": True} for index in (12, (1 << 20) - 1)}
    seed("bert-japanese", "far-id", compact({**settings, "added_tokens_decoder": far}), lines)


def sentencepiece():
    def piece(text, score, kind):
        text = text.encode()
        message = bytes([0x0A, len(text)]) + text + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind])
        return bytes([0x0A, len(message)]) + message

    pieces = [piece("<unk>", -90, 2)] + [piece(name, -90, 3) for name in ["<s>", "</s>", "<MASK>", "<PAD>", "<CLS>", "<SEP>"]]
    pieces += [piece(f"<0x{byte:02X}>", -90, 6) for byte in range(256)]
    pieces += [piece("▁", -1, 1), piece("今日", -2, 1)]
    tail = bytes([0x12, 5, 0x18, 1, 0x98, 0x02, 1, 0x1A, 12, 0x0A, 8]) + b"identity" + bytes([0x20, 0])
    seed("sentencepiece", "small", b"".join(pieces) + tail)
    seed("sentencepiece", "truncated", b"".join(pieces[:3]) + b"\x0A\xFF\xFF\xFF\xFF\x0F")


def mecab():
    files = [(GOLDEN / "bert_japanese/dictionary" / name).read_bytes() for name in ["sys.dic", "unk.dic", "matrix.bin", "char.bin"]]
    count = struct.unpack("<I", files[3][:4])[0]
    head = files[3][: 4 + 32 * count]
    infos = sorted(set(struct.unpack(f"<{0xFFFF}I", files[3][4 + 32 * count :])))
    seed("mecab", "empty", bytes(6))
    seed("mecab", "small", struct.pack("<3H", *map(len, files[:3])) + b"".join(files[:3]) + head + struct.pack(f"<{len(infos)}I", *infos))


def documents():
    lines = '{"id":"a","text":"今日は"}\n\n{"id":2,"text":null}\r\n{"text":["x"]}\n{"text":"\\ud800"}\nno\n'
    seed("jsonl", "lines", lines)
    seed("jsonl", "bom", "\ufeff" + lines)
    seed("jsonl", "deep", '{"text":' + "[" * 2000)
    seed("jsonl", "not-utf8", b'{"text":"\xff\xfe"}\n')
    text = "今日は雨。\n明日は晴れ。\n".encode()
    seed("gzip", "lines", gzip.compress(text, mtime=0))
    seed("gzip", "members", gzip.compress(text, mtime=0) + gzip.compress(text, mtime=0))
    zstd = lambda data: subprocess.run(["zstd", "-19", "-c"], input=data, capture_output=True, check=True).stdout
    seed("zstd", "lines", zstd(text))
    seed("zstd", "bomb", zstd(bytes(80 << 20)))
    seed("zstd", "window", bytes.fromhex("28b52ffd00ff") + b"x" * 20)
    miracl = GOLDEN / "retrieval/miracl"
    first = lambda name: b"\n".join((miracl / name).read_bytes().splitlines()[:3]) + b"\n"
    topics, qrels = "q1\t駅はどこ\nq2\t海\n", "q1 Q0 1#0 1\nq2\tQ0\t1#1\t0\n"
    seed("trec", "small", topics, qrels, '{"docid":"1#0","title":"駅","text":"南"}\n{"docid":"1#1","text":"海"}\n')
    seed("trec", "golden", *map(first, ["topics.miracl-v1.0-ja-dev.tsv", "qrels.miracl-v1.0-ja-dev.tsv", "docs-0.jsonl"]))


def records():
    hashes = {"a": "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f", "b": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}
    entry = lambda name: {"bytes": len(name) if name == "a" else 0, "blake3": hashes[name]}
    manifest = {"format_version": 1, "step": 3, "files": {"a": entry("a"), "b": entry("b")}}
    seed("checkpoint", "whole", compact(manifest))
    secret = {"bytes": 6, "blake3": "0" * 64}
    for name, path in [("upward", "../secret"), ("absolute", "/etc/hostname"), ("inside", "./a")]:
        seed("checkpoint", name, compact({**manifest, "files": {path: secret}}))
    lengths = {name: 1 for name in ["mean", "min", "p5", "p50", "p95", "p99", "max"]}
    shard = {"file": "train-00000.jsonl", "documents": 2, "file_bytes": 44, "blake3": "x"}
    split = {"documents": 2, "chars": 1, "text_bytes": 1, "length_chars": lengths, "shards": [shard]}
    dataset = {"version": 1, "fingerprint": "x", "options": {}, "sources": [], "dropped": {"empty": 0, "short": 0, "skipped": 0, "quarantined": 0}, "splits": {"train": split}}
    index = b"anaumidx" + struct.pack("<5Q", 1, 2, 0, 21, 44)
    seed("dataset", "whole", compact(dataset), index)
    seed("dataset", "short-index", compact(dataset), index[:-8])
    upward = {**split, "shards": [{**shard, "file": "../../etc/hostname"}]}
    seed("dataset", "upward", compact({**dataset, "splits": {"train": upward}}), index)
    many = {**split, "shards": [{**shard, "documents": (1 << 64) - 1}] * 2}
    seed("dataset", "many", compact({**dataset, "splits": {"train": many}}), index)
    seed("recipe", "tiny", (HERE.parent.parent / "native/recipes/tiny.toml").read_bytes(), "train.batch_rows=3")
    seed("recipe", "huge", "[train]\nmax_steps = 9223372036854775807\nmicro_batch_rows = 9223372036854775807\n[data]\nmax_length = 9223372036854775807\n", "")
    seed("recipe", "deep", "a = " + "[" * 300, "train.seed=[[[[[[[[[[[[")


def states():
    report = {"format_version": 1, "results": {"jsts": {"alias": "JSTS", "pearson,none": 0.8, "pearson_stderr,none": 0.1, "pearson_ci95,none": [0.7, 0.9]}}, "configs": {"jsts": {"options": {}, "seed": 1, "data": [{"blake3": "x"}]}}, "versions": {"jsts": 1}, "n-samples": {"jsts": {"original": 2, "effective": 2}}, "higher_is_better": {"jsts": {"pearson": True}}, "config": {"model": "anaume", "model_args": "m", "device": "cpu", "random_seed": 1, "bootstrap_iters": 10, "command_line": []}, "git_hash": None, "date": 1.0, "pretty_env_info": "", "task_hashes": {"jsts": "x"}, "model": {"name": "m", "architecture": "modernbert", "parameters": 1, "weights_blake3": "w", "tokenizer_blake3": "t", "max_length": 8, "step": 1}, "main_metric": {"jsts": "pearson"}, "series": {"jsts": {"similarity": [0.5, 1.0]}}, "seconds": {"jsts": 1.0}}
    seed("results", "report", compact(report))
    seed("results", "similarity", compact(report).replace("jsts", "similarity-jsts").replace("pearson", "gap"))
    seed("results", "sample", compact({"doc_id": 1, "target": 2, "prediction": 2.5}))
    seed("results", "step", compact({"event": "step", "step": 1, "epoch": 0, "loss": None, "accuracy": 0, "learning_rate": 1, "grad_norm": 1, "tokens": 1, "non_padding_tokens": 1, "tokens_per_second": 1, "non_padding_tokens_per_second": 1, "data_wait_secs": 0, "step_secs": 1}))
    seed("results", "site", compact({"models": [], "results": [{"url": "results/a/results.json", "size_bytes": 1, "sha256": None}], "runs": []}))
    model = {"name": "m", "weights_sha256": "0123456789abcdef" * 4}
    answer = {"model": model, "truncated": False, "masks": [{"place": {"start": 0, "end": 6}, "candidates": [["桜", 0.5]]}]}
    seed("link", "fill-mask", compact({"anaume_share": 1, "state": {"fill-mask": {"text": "[MASK]", "answers": [answer]}}}))
    hit = {"number": 1, "score": 0.5, "text": "春", "shared": [{"start": 0, "end": 3}]}
    seed("link", "retrieval", compact({"anaume_share": 1, "state": {"retrieval": {"passages": "春", "query": "春", "found": {"model": model, "by_meaning": [hit], "by_words": []}}}}))
    import base64
    import zlib

    packed = lambda text: "v1." + base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")
    seed("link", "packed", packed(compact({"fill-mask": {"text": "[MASK]", "answers": [answer]}})))
    seed("link", "bomb", packed(" " * (4 << 20)))


for make in [weights, configs, tokenizers, sentencepiece, mecab, documents, records, states]:
    make()

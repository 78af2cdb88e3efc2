#!/usr/bin/env python3
"""A small corpus in MIRACL's own file format, and what BM25 finds in it, judged by trec_eval.

    python generate.py

writes, beside this file:
- miracl/: topics.miracl-v1.0-ja-dev.tsv, qrels.miracl-v1.0-ja-dev.tsv, docs-0.jsonl, docs-1.jsonl.gz: passages cut from the
  project's own corpus, some twice under another docid (ties), one query without judgements, one without a relevant
  passage, one that shares no term with any passage;
- golden.json: terms of some texts; for each judged query the best 100 passages by BM25 with their scores in single
  precision (a plain computation of the formula, without an index), and pytrec_eval's ndcg_cut_10 and recall_100;
- manifest.json: versions and the SHA-256 of every file.
"""
import collections
import gzip
import hashlib
import importlib.metadata
import json
import math
import pathlib
import platform
import random
import unicodedata

import numpy as np
import pytrec_eval

HERE = pathlib.Path(__file__).parent
NAME = "miracl-v1.0-ja-dev"
TEXTS = ["東京タワー", "Ｔｏｋｙｏ ﾀﾜｰ", "あ", "あ、い。うえ", "", "。、", "カレーライスを2皿", "A b-cd", "が か\u3099"]


def terms(text):
    """Runs of letters and digits in NFKC and lower case as pairs of characters; a single character alone."""
    text = unicodedata.normalize("NFKC", text).lower()
    runs = "".join(c if c.isalnum() else " " for c in text).split(" ")
    return [run[i : i + 2] for run in runs if run for i in range(max(len(run) - 1, 1))]


def bm25(query, passages, k1=0.9, b=0.4):
    """Scores by docno of the passages that share a term with the query."""
    counts = {docno: collections.Counter(terms(text)) for docno, text in passages.items()}
    lengths = {docno: sum(count.values()) for docno, count in counts.items()}
    mean = sum(lengths.values()) / len(lengths)
    scores = collections.defaultdict(float)
    for term, repeats in sorted(collections.Counter(terms(query)).items()):
        found = [docno for docno in passages if counts[docno][term]]
        idf = math.log(1 + (len(passages) - len(found) + 0.5) / (len(found) + 0.5))
        for docno in found:
            f = counts[docno][term]
            scores[docno] += repeats * idf * f / (f + k1 * (1 - b + b * lengths[docno] / mean))
    return {docno: float(np.float32(score)) for docno, score in scores.items()}


def corpus():
    """(docid, title, text): two parts of each document; every seventh document once more under another docid."""
    documents = []
    for path in sorted((HERE / "../../../public/corpus").glob("*.jsonl"))[:5]:
        documents += [json.loads(line) for line in path.read_text().splitlines()[:14]]
    rows = []
    for number, document in enumerate(documents):
        text = " ".join(document["text"].split())
        rows += [(f"{1000 + number}#{part}", document["title"], text[90 * part : 90 * part + 90]) for part in range(2)]
        if number % 7 == 0:
            rows.append((f"{5000 + number}#0", document["title"], text[:90]))
    return rows


def topics_and_qrels(rows, chance):
    topics, qrels = [], []
    for number, (docid, title, text) in enumerate(rows[::9]):
        topics.append((f"{number}", text[40:52] + "について知りたい"))
        levels = {other: 1 for other, t, _ in rows if t == title and chance.random() < 0.8} | {docid: 1}
        levels |= {other: 0 for other, t, _ in chance.sample(rows, 4) if t != title}
        if number == 3:
            levels = {docid: 0 for docid in levels}
        qrels += [(f"{number}", docid, level) for docid, level in levels.items()]
    topics += [("900", "ΩΨΦ"), ("901", "誰も判定していない質問")]
    qrels.append(("900", rows[0][0], 1))
    return topics, qrels


def main():
    folder = HERE / "miracl"
    folder.mkdir(exist_ok=True)
    rows = corpus()
    topics, qrels = topics_and_qrels(rows, random.Random(0))
    lines = [json.dumps({"docid": d, "title": t, "text": x}, ensure_ascii=False) + "\n" for d, t, x in rows]
    half = len(lines) // 2
    (folder / "docs-0.jsonl").write_text("".join(lines[:half]))
    (folder / "docs-1.jsonl.gz").write_bytes(gzip.compress("".join(lines[half:]).encode(), mtime=0))
    (folder / f"topics.{NAME}.tsv").write_text("".join(f"{q}\t{text}\n" for q, text in topics))
    (folder / f"qrels.{NAME}.tsv").write_text("".join(f"{q}\tQ0\t{d}\t{level}\n" for q, d, level in qrels))

    passages = {docid: f"{title} {text}" for docid, title, text in rows}
    judged = collections.defaultdict(dict)
    for query, docid, level in qrels:
        judged[query][docid] = level
    runs = {}
    for query, text in topics:
        if query in judged:
            ranked = sorted(bm25(text, passages).items(), key=lambda item: (item[1], item[0]), reverse=True)
            runs[query] = dict(ranked[:100])
    names = ["ndcg_cut_10", "recall_100"]
    found = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.100"}).evaluate(runs)
    # As trec_eval -c: a judged query without results counts 0.
    by_query = {query: {name: found.get(query, {}).get(name, 0.0) for name in names} for query in judged}
    golden = {
        "terms": {text: terms(text) for text in TEXTS},
        "runs": {query: list(map(list, run.items())) for query, run in runs.items()},
        "metrics": by_query,
        "means": {name: sum(values[name] for values in by_query.values()) / len(by_query) for name in names},
    }
    (HERE / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    files = sorted(path for path in HERE.rglob("*") if path.is_file() and path.name != "manifest.json")
    manifest = {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("numpy", "pytrec_eval-terrier")},
        },
        "sha256": {str(path.relative_to(HERE)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(len(rows), "passages", len(topics), "topics", golden["means"])


if __name__ == "__main__":
    main()

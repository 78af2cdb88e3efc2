#!/usr/bin/env python3
"""Golden values of the metrics from the libraries that the field trusts.

    python generate.py

writes, beside this file, one JSON file of generated cases for each module of core/src/metrics, and manifest.json with the
versions of the libraries and the SHA-256 of this script and of what it wrote. A value is null where the metric is
undefined: where scipy answers NaN, and where scikit-learn answers 0 for a correlation with a constant.

JGLUE's metric for JSQuAD is a patch to a file that newer releases of transformers no longer carry; its definition is
written out here.
"""
import collections
import hashlib
import json
import math
import pathlib
import platform
import random
import warnings

import numpy
import pytrec_eval
import scipy
import scipy.spatial
import scipy.stats
import sklearn
import sklearn.decomposition
import sklearn.metrics

HERE = pathlib.Path(__file__).parent
CUTOFFS = [1, 3, 10, 100]
BINS = 12


def classification():
    rng = numpy.random.default_rng(1)
    for case in range(40):
        size, num_labels = int(rng.integers(1, 60)), int(rng.integers(2, 6))
        gold = rng.integers(0, num_labels, size)
        predicted = numpy.where(rng.random(size) < 0.5, gold, rng.integers(0, num_labels, size))
        if case % 8 == 0:
            gold[:] = 1
        if case % 8 == 4:
            predicted[:] = 0
        degenerate = len(set(gold)) == 1 or len(set(predicted)) == 1
        matthews = sklearn.metrics.matthews_corrcoef(gold, predicted)
        assert not degenerate or matthews == 0
        yield {
            "gold": gold.tolist(), "predicted": predicted.tolist(), "num_labels": num_labels,
            "accuracy": sklearn.metrics.accuracy_score(gold, predicted),
            "matthews": None if degenerate else float(matthews),
            "f1_macro": float(sklearn.metrics.f1_score(gold, predicted, average="macro")),
            "confusion": sklearn.metrics.confusion_matrix(gold, predicted, labels=range(num_labels)).tolist(),
        }


def columns(rng, case):
    size = int(rng.integers(2, 40))
    gold = rng.normal(size=size)
    predicted = gold * rng.normal() + rng.normal(size=size)
    if case % 5 == 1:  # many ties
        gold, predicted = numpy.round(gold), numpy.round(predicted * 2) / 2
    if case % 5 == 2:  # an offset and a scale
        gold, predicted = gold * 1e-3 + 50, predicted * 20 - 100
    if case % 5 == 3:  # a straight line
        predicted = 3 - 2 * gold
    if case % 10 == 4:
        gold[:] = 2.5
    return gold, predicted


def correlation():
    rng = numpy.random.default_rng(2)
    for case in range(40):
        gold, predicted = columns(rng, case)
        values = [float(scipy.stats.pearsonr(gold, predicted)[0]), float(scipy.stats.spearmanr(gold, predicted)[0])]
        assert all(math.isnan(value) == (case % 10 == 4) for value in values)
        pearson, spearman = (None if math.isnan(value) else value for value in values)
        yield {
            "gold": gold.tolist(), "predicted": predicted.tolist(), "pearson": pearson, "spearman": spearman,
            "ranks": scipy.stats.rankdata(gold).tolist(),
            "mean_squared_error": sklearn.metrics.mean_squared_error(gold, predicted),
            "mean_absolute_error": sklearn.metrics.mean_absolute_error(gold, predicted),
        }


def normalised(answer):
    return " ".join(answer.lower().rstrip("。").split())


def span_values(gold, predicted):
    gold, predicted = normalised(gold), normalised(predicted)
    shared = sum((collections.Counter(gold) & collections.Counter(predicted)).values())
    if not gold or not predicted:
        return float(gold == predicted), float(gold == predicted)
    if shared == 0:
        return 0.0, 0.0
    precision, recall = shared / len(predicted), shared / len(gold)
    return float(gold == predicted), 2 * precision * recall / (precision + recall)


def span():
    pieces = ["東京", "京都府", "大阪", "都", "ＡＢＣ", "abc", "ABC", "「猫」", "。", "。。", " ", "\u3000", "\t", "\x1c", "1868年", "", "İ", "ΑΣ", "ー", "が", "か\u3099"]
    draw = random.Random(3)
    text = lambda: "".join(draw.choice(pieces) for _ in range(draw.randint(0, 4)))
    for case in range(120):
        gold = [text() for _ in range(draw.randint(1, 3))]
        predicted = draw.choice(gold) + draw.choice(["", "", "。", " 。", "。 ", "都"]) if case % 2 else text()
        golds = [answer for answer in gold if normalised(answer)] or [""]
        exact, f1 = (max(values) for values in zip(*(span_values(answer, predicted) for answer in golds)))
        yield {"gold": gold, "predicted": predicted, "normalised": normalised(predicted), "exact_match": exact, "character_f1": f1}


def query(draw, case):
    names = [f"{prefix}{number}" for prefix in ("d", "D", "文書", "é") for number in range(12)]
    docnos = draw.sample(names, draw.randint(2, 25))
    judged = draw.sample(names, draw.randint(1, 20))
    levels = [-1, 0, 0, 1, 1, 2, 3] if case % 3 else [0, 1]
    qrels = {docno: draw.choice(levels) for docno in judged}
    score = draw.choice([
        lambda: float(draw.randint(0, 3)),  # many ties
        lambda: 1 + draw.randint(0, 3) * 1e-9,  # tied in single precision only
        lambda: 1 + draw.randint(0, 3) * 1e-6,  # different in single precision
        lambda: draw.choice([0.0, -0.0, 1e300, 1e200, -1e300, 1e-60]),
        lambda: draw.gauss(0, 1),
    ])
    run = {docno: score() for docno in docnos}
    if case % 15 == 7:
        run = {}
    if case % 15 == 11:
        qrels = dict.fromkeys(qrels, 0)
    return run, qrels


def ranking():
    draw = random.Random(4)
    cutoffs = ",".join(map(str, CUTOFFS))
    measures = {"map", "recip_rank", *(f"{name}.{cutoffs}" for name in ("ndcg_cut", "recall", "success"))}
    for case in range(90):
        run, qrels = query(draw, case)
        values = pytrec_eval.RelevanceEvaluator({"q": qrels}, measures).evaluate({"q": run})["q"]
        first = {k: values["recip_rank"] if values["recip_rank"] * k >= 1 - 1e-9 else 0.0 for k in CUTOFFS}
        yield {
            "run": list(run.items()), "qrels": list(qrels.items()),
            "average_precision": values["map"], "reciprocal_rank": values["recip_rank"],
            "reciprocal_rank_at": [first[k] for k in CUTOFFS],
            "ndcg_at": [values[f"ndcg_cut_{k}"] for k in CUTOFFS],
            "recall_at": [values[f"recall_{k}"] for k in CUTOFFS],
            "success_at": [values[f"success_{k}"] for k in CUTOFFS],
        }


def unit(rng, rows, width):
    rows = rng.normal(size=(rows, width)) + rng.normal(size=width)
    return numpy.round(rows / numpy.linalg.norm(rows, axis=1, keepdims=True), 6)


def jackknife(rows):
    """Standard error of the uniformity, each row really left out; None where too few rows stay."""
    uniformity = lambda rows: numpy.log(numpy.exp(-2 * scipy.spatial.distance.pdist(rows, "sqeuclidean")).mean())
    without = [uniformity(numpy.delete(rows, row, axis=0)) for row in range(len(rows))] if len(rows) > 2 else []
    return float(numpy.std(without) * (len(rows) - 1) ** 0.5) if without else None


def similarity():
    rng = numpy.random.default_rng(5)
    for rows, width in [(2, 1), (2, 3), (7, 8), (33, 5), (40, 19)]:
        first, second = unit(rng, rows, width), unit(rng, rows, width)
        squared = ((first - second) ** 2).sum(axis=1)
        low, high = numpy.quantile(squared, [0.1, 0.9]) + [0, 1e-3]
        edges = numpy.linspace(low, high, BINS + 1)
        values = numpy.concatenate([squared, edges])
        bins = lambda sample: numpy.histogram(numpy.clip(sample, low, high), BINS, (low, high))[0]
        yield {
            "first": first.ravel().tolist(), "second": second.ravel().tolist(), "width": width,
            "alignment": float(squared.mean()),
            "uniformity": float(numpy.log(numpy.exp(-2 * scipy.spatial.distance.pdist(first, "sqeuclidean")).mean())),
            "uniformity_error": jackknife(first),
            "auroc": float(sklearn.metrics.roc_auc_score([1] * len(values) + [0] * first.size, [*values, *first.ravel()])),
            "cosine": float(1 - scipy.spatial.distance.cosine(first[0], second[0])),
            "range": [float(low), float(high)], "values": values.tolist(), "histogram": bins(values).tolist(),
            "overlap": float(numpy.minimum(bins(values) / len(values), bins(squared) / len(squared)).sum()),
        }


def randomisation(first, second):
    statistic = lambda a, b, axis: numpy.mean(a - b, axis=axis)
    test = scipy.stats.permutation_test((first, second), statistic, permutation_type="samples", n_resamples=math.inf, vectorized=True)
    return float(test.pvalue)


def statistics():
    rng = numpy.random.default_rng(6)
    for case in range(24):
        size = int(rng.integers(2, 13))
        first, second = rng.normal(size=size), rng.normal(size=size) + rng.choice([0, 0.5, 2])
        if case % 3 == 1:
            first, second = (rng.integers(0, 2, size).astype(float) for _ in range(2))
        if case % 3 == 2:
            first, second = (numpy.round(column, 1) for column in (first, second))
        shares = [0.0, 0.025, 0.25, 0.5, 0.61, 0.975, 1.0]
        yield {
            "first": first.tolist(), "second": second.tolist(), "mean": float(first.mean()),
            "standard_deviation": float(first.std(ddof=1)),
            "shares": shares, "quantiles": numpy.quantile(first, shares).tolist(),
            "paired_randomisation": randomisation(first, second),
        }


def projection():
    """Principal components, of more rows than columns and of fewer, of unequal scales, and of rows on a line."""
    rng = numpy.random.default_rng(7)
    for case, (rows, width) in enumerate([(3, 2), (5, 12), (8, 3), (24, 64), (60, 19), (6, 4)]):
        values = rng.normal(size=(rows, width)) * rng.uniform(0.1, 3, size=width) + rng.normal(size=width)
        if case == 5:
            values = numpy.outer(rng.normal(size=rows), rng.normal(size=width)) + 1
        fitted = sklearn.decomposition.PCA(2, svd_solver="full").fit(values)
        yield {
            "values": values.ravel().tolist(), "width": width,
            "points": fitted.transform(values).tolist(), "shares": fitted.explained_variance_ratio_.tolist(),
        }


def comparison():
    rng = numpy.random.default_rng(8)
    for rows, columns, width in [(1, 2, 3), (2, 0, 4), (4, 3, 8), (7, 0, 16), (9, 12, 5)]:
        first, second = rng.normal(size=(rows, width)) + 1, rng.normal(size=(columns, width)) + 1
        cosines = 1 - scipy.spatial.distance.cdist(first, second if columns else first, "cosine")
        different = cosines.ravel() if columns else cosines[numpy.triu_indices(rows, 1)]
        others = cosines if columns else cosines - 9 * numpy.eye(rows)
        every = numpy.concatenate([first, second])
        fitted = sklearn.decomposition.PCA(2 if len(every) > 2 else 1, svd_solver="full").fit_transform(
            every / numpy.linalg.norm(every, axis=1, keepdims=True))
        yield {
            "first": first.tolist(), "second": second.tolist(), "cosines": cosines.tolist(),
            "mean": float(different.mean()), "spread": float(different.std(ddof=1)) if len(different) > 1 else None,
            "nearest": others.argmax(axis=1).tolist(), "points": fitted.tolist(),
        }


def main():
    warnings.simplefilter("ignore")  # constant columns are meant
    written = {}
    for cases in (classification, correlation, span, ranking, similarity, statistics, projection, comparison):
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases())
        path = HERE / f"{cases.__name__}.json"
        path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = {
        "generator": "generate.py",
        "generator_sha256": hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest(),
        "versions": {
            "python": platform.python_version(), "numpy": numpy.__version__, "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__, "pytrec_eval-terrier": pytrec_eval.__version__,
        },
        "sha256": written,
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


main()

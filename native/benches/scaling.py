#!/usr/bin/env python3
"""Training on several ranks: what it takes on one machine, beside a model of what it takes, and what that model says of larger ones.

    scaling.py measure --anaume target/release/anaume-mpi --out native/benches/runs/DATE-ranks
    tc qdisc add dev lo root tbf rate 800mbit burst 256kb latency 100ms    # a slow network, as root
    scaling.py overlap --anaume target/release/anaume-mpi
    scaling.py predict

`measure` trains the preset `small` on the built-in corpus with 1 to 4 ranks of one thread, each reduction in turn, round after round. It
needs mpirun of Open MPI, and mpi4py for the speed of the machine's own all-reduce. The model's constants come from runs with one rank (a
whole batch, and a row of it) and from that all-reduce; nothing is fitted to the runs that it is compared with. Both sides are the least of all steps:
what other programs of a shared machine take only adds. `predict` takes its constants from the
record of an H200 and from published interconnect figures; they stand below, with their sources in scaling.md. `overlap` lets two ranks
talk over the loopback network, and compares how long they wait for sums with how long the sums take by themselves.
"""
import argparse
import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

BYTES = {"fast": 4, "fast-f16": 2, "exact": 8}
RANKS = [1, 2, 3, 4]
BATCH_ROWS, STEPS, WARM_UP = 12, 8, 2
ALL_REDUCE = """
import time, numpy, sys
from mpi4py import MPI
values = numpy.zeros(int(sys.argv[1]) // 4, dtype=numpy.float32); sums = numpy.empty_like(values)
times = []
for _ in range(12):
    MPI.COMM_WORLD.Barrier(); start = time.perf_counter()
    for i in range(0, len(values), 1 << 20):
        MPI.COMM_WORLD.Allreduce(values[i:i + (1 << 20)], sums[i:i + (1 << 20)])
    times.append(time.perf_counter() - start)
if MPI.COMM_WORLD.rank == 0: print(sorted(times)[len(times) // 2])
"""


def step_seconds(compute: float, fixed: float, ranks: int, micro_batches: int, crowding: float, exchange: float) -> float:
    """Seconds of a step: a rank's share of the micro-batches, what every rank does alone (the norm and AdamW), the exchange that nothing hides.

    `crowding` is how many ranks share a core (1 where each has its own): computing takes so much longer.
    """
    share = -(-micro_batches // ranks)
    return (share * compute + fixed) * crowding + exchange


# --- here ---

def environment() -> dict[str, str]:
    crowded = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {**os.environ, **crowded, **as_root, "RAYON_NUM_THREADS": "1", "LC_ALL": "C"}


def run(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, env=environment()).stdout


def workshop(anaume: str, here: pathlib.Path) -> None:
    corpus = sorted(pathlib.Path("public/corpus").glob("*.jsonl"))
    run(anaume, "tokenizer", "train", *corpus, "--vocab-size", 2000, "--out", here / "tokenizer")
    run(anaume, "data", "prepare", *corpus, "--out", here / "data")
    run(anaume, "model", "init", "--preset", "small", "--tokenizer", here / "tokenizer", "--out", here / "model")


def train(anaume: str, here: pathlib.Path, ranks: int, reduction: str, rows: int, at_once: int = 1, shard: bool = False) -> dict:
    out = here / "run"
    shutil.rmtree(out, ignore_errors=True)
    printed = run(
        "mpirun", "--bind-to", "none", "-n", ranks, anaume, "pretrain", "--recipe", "tiny", "--device", "cpu", "--plain",
        "--data", here / "data", "--model", here / "model", "--out", out, "--reduction", reduction, "--stop-after", STEPS,
        "--set", f"train.batch_rows={rows}", "--set", f"train.micro_batch_rows={at_once}", "--set", "data.max_length=256",
        "--set", "validation.every_steps=0", "--set", "checkpoint.every_steps=1000", "--set", f"train.shard_optimizer={str(shard).lower()}",
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["event"] == "step"][WARM_UP:]
    return {
        "seconds": [record["step_secs"] for record in steps],
        "wait": [record.get("reduction_wait_secs", 0.0) for record in steps],
        "peak_bytes": steps[-1]["peak_memory_bytes"],
        "hash": printed.split()[-1],
    }


def overlap(args: argparse.Namespace) -> None:
    os.environ.update({"OMPI_MCA_btl": "tcp,self", "OMPI_MCA_btl_tcp_if_include": "lo"})
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        workshop(args.anaume, here)
        parameters = json.loads(run(args.anaume, "model", "info", here / "model", "--json"))["parameters"]
        alone = float(run("mpirun", "--bind-to", "none", "-n", 2, sys.executable, "-c", ALL_REDUCE, 4 * parameters))
        trained = train(args.anaume, here, 2, "fast", BATCH_ROWS, at_once=BATCH_ROWS // 2)
    wait, step = statistics.median(trained["wait"]), statistics.median(trained["seconds"])
    print(f"| {alone:.3f} | {wait:.3f} | {1 - wait / alone:.0%} | {step:.3f} |")


def measure(args: argparse.Namespace) -> None:
    anaume, rounds = args.anaume, args.rounds
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        workshop(anaume, here)
        info = json.loads(run(anaume, "model", "info", here / "model", "--json"))
        parameters = info["parameters"]
        results: dict[str, list[dict]] = {}
        for _ in range(rounds):
            results.setdefault("row", []).append(train(anaume, here, 1, "fast", 1))
            for reduction in BYTES:
                for ranks in RANKS:
                    results.setdefault(f"{reduction} {ranks}", []).append(train(anaume, here, ranks, reduction, BATCH_ROWS))
                    print(f"{reduction} {ranks} {statistics.median(results[f'{reduction} {ranks}'][-1]['seconds']):.3f} s", flush=True)
            results.setdefault("sharded 4", []).append(train(anaume, here, 4, "exact", BATCH_ROWS, shard=True))
        exchange = {1: 0.0}
        for ranks in RANKS[1:]:
            exchange[ranks] = float(run("mpirun", "--bind-to", "none", "-n", ranks, sys.executable, "-c", ALL_REDUCE, 4 * parameters))
    write(args.out, parameters, results, exchange)


def median(results: list[dict], key: str) -> float:
    return statistics.median([value for one in results for value in one[key]])


def least(results: list[dict]) -> float:
    return min(value for one in results for value in one["seconds"])


def write(out: pathlib.Path, parameters: int, results: dict[str, list[dict]], exchange: dict[int, float]) -> None:
    cores = len(os.sched_getaffinity(0))
    whole, row = least(results["fast 1"]), least(results["row"])
    compute = (whole - row) / (BATCH_ROWS - 1)
    fixed = row - compute
    rows = []
    for reduction, size in BYTES.items():
        for ranks in RANKS:
            runs = results[f"{reduction} {ranks}"]
            seconds, wait, usual = least(runs), median(runs, "wait"), median(runs, "seconds")
            predicted = step_seconds(compute, fixed, ranks, BATCH_ROWS, max(1.0, ranks / cores), exchange[ranks] * size / 4)
            alone = least(results[f"{reduction} 1"])
            rows.append(
                f"| {reduction} | {ranks} | {usual:.3f} | {wait:.3f} | {seconds:.3f} | {alone / seconds:.2f} | {predicted:.3f} | {predicted / seconds - 1:+.0%} "
                f"| {0 if ranks == 1 else 2 * (ranks - 1) / ranks * size * parameters / 1e6:.0f} | {max(one['peak_bytes'] for one in runs) / 2**20:.0f} |"
            )
    hashes = {ranks: {one["hash"] for one in results[f"exact {ranks}"]} for ranks in RANKS}
    hashes["4, sharded"] = {one["hash"] for one in results["sharded 4"]}
    sharded = max(one["peak_bytes"] for one in results["sharded 4"]) / 2**20
    lines = [
        "# 1 to 4 ranks on one machine", "",
        f"`small` with 2,000 pieces ({parameters:,} parameters), batches of {BATCH_ROWS} rows of 256 tokens in micro-batches of one, one thread a rank, "
        f"{len(results['row'])} rounds of every configuration in turn, steps {WARM_UP + 1} to {STEPS} of each. {processor()}, {cores} cores: "
        f"with 3 and 4 ranks cores are shared.", "",
        "```sh", "cargo build --release --features anaume/mpi --bin anaume", "native/benches/scaling.py measure --anaume target/release/anaume --out …", "```", "",
        f"One micro-batch takes {compute:.3f} s and the rest of a step {fixed:.3f} s (from batches of {BATCH_ROWS} rows and of one); an all-reduce of all gradients in f32 takes "
        + ", ".join(f"{exchange[ranks] * 1000:.0f} ms on {ranks} ranks" for ranks in RANKS[1:]) + " where nothing else runs.", "",
        "| reduction | ranks | median step s | of it waiting for sums s | least step s | times as fast as 1 | the model says s | off by | MB sent by a rank | peak MiB of rank 0 |",
        "|---|---|---|---|---|---|---|---|---|---|", *rows, "",
        f"With the moments sharded over 4 ranks (exact) rank 0's peak is {sharded:.0f} MiB.", "",
        "Parameters after the last step, exact sums:", "", "| ranks | BLAKE3 |", "|---|---|",
        *(f"| {ranks} | {', '.join(sorted(found))} |" for ranks, found in hashes.items()), "",
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "README.md").write_text("\n".join(lines))
    (out / "results.json").write_text(json.dumps({"parameters": parameters, "exchange": exchange, "results": results}, indent=1) + "\n")
    print((out / "README.md").read_text())
    assert len(set.union(*hashes.values())) == 1, "exact sums differ"


def processor() -> str:
    names = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


# --- elsewhere ---

BASE = 186_900_000  # parameters
STEP = {"as measured, without tensor cores in attention": 0.277, "if attention were as fast as PyTorch's": 0.061}  # 8 x 1,024 tokens, f16, one H200
FIXED = 0.004  # the norm and AdamW
BACKWARD = 2 / 3  # of a micro-batch
PCIE, MEMORY, NETWORK, LATENCY = 50e9, 250e9, 45e9, 5e-6
MICRO_BATCHES = 4  # of a rank and step


def exchange_seconds(reduction: str, gpus: int, per_node: int = 8) -> float:
    """Seconds from gradients on the devices to sums on the devices, through host memory."""
    message, chunks = BYTES[reduction] * BASE, BASE / 2**20
    local, nodes = min(gpus, per_node), -(-gpus // per_node)
    to_host_and_back = 2 * 4 * BASE / PCIE
    # A rank sends and receives 2 (n - 1) / n of a message; every byte is read twice and written once.
    within = 2 * (local - 1) / local * message * local * 3 / MEMORY
    if nodes == 1:
        return to_host_and_back + within
    # The sums of MPI go through a node's adapter once (coll/han), in rounds of halving and doubling; all-to-all once for each rank, pairwise.
    all_to_all = reduction == "fast-f16"
    between = 2 * (nodes - 1) / nodes * message / NETWORK * (per_node if all_to_all else 1)
    rounds = 2 * (gpus - 1) if all_to_all else 2 * math.log2(gpus)
    return to_host_and_back + within + between + rounds * LATENCY * chunks


def predict(_: argparse.Namespace) -> None:
    print("| step of a micro-batch | reduction | GPUs | compute s | exchange s | of it hidden s | step s | efficiency | tokens/s | days for 0.69 T tokens |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, micro in STEP.items():
        for reduction in BYTES:
            for gpus in [1, 8, 64, 512]:
                compute = MICRO_BATCHES * (micro - FIXED)
                exchange = 0.0 if gpus == 1 else exchange_seconds(reduction, gpus)
                # The last backward pass hides what it can; the embedding's gradient, 0.41 of all, comes at its end.
                hidden = min(BACKWARD * (micro - FIXED), 0.59 * exchange)
                step = step_seconds(compute, FIXED, 1, 1, 1.0, exchange - hidden)
                tokens = gpus * MICRO_BATCHES * 8 * 1024 / step
                print(
                    f"| {name}, {micro} s | {reduction} | {gpus} | {compute:.2f} | {exchange:.3f} | {hidden:.3f} | {step:.2f} "
                    f"| {(compute + FIXED) / step:.2f} | {tokens / 1e6:.2f} M | {0.69e12 / tokens / 86400:.1f} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--anaume", required=True)
    measuring.add_argument("--out", type=pathlib.Path, required=True)
    measuring.add_argument("--rounds", type=int, default=3)
    measuring.set_defaults(call=measure)
    overlapping = commands.add_parser("overlap")
    overlapping.add_argument("--anaume", required=True)
    overlapping.set_defaults(call=overlap)
    commands.add_parser("predict").set_defaults(call=predict)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()

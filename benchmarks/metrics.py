"""Voxel AUROC and animal bootstrap: our streaming counts beside scikit-learn and a resampling loop, in one run.

    python benchmarks/metrics.py [--voxels 20000000] [--animals 40] [--ours]

With --ours scikit-learn, which takes 60 times the memory, is left out. Prints times, peak memory added, the ratio and the
difference of the values.
"""

import argparse
import time
import tracemalloc

import numpy as np
from sklearn.metrics import roc_auc_score

from darklung.evaluate.histogram import empty_histogram, logit_histogram, voxel_results
from darklung.evaluate.statistics import bootstrap_weights, count_pairs

SLAB = 2_000_000


def timed(work):
    """Result, seconds and peak MiB that Python and numpy allocated."""
    tracemalloc.start()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return result, seconds, peak


def report(name, ours, theirs):
    """One line each and the ratio."""
    for label, (value, seconds, peak) in (("ours", ours), ("peer", theirs)):
        print(f"{name:28s} {label}: {seconds:8.3f} s  {peak:8.0f} MiB  value {np.mean(value):.6f}")
    difference = float(np.max(np.abs(np.asarray(ours[0]) - np.asarray(theirs[0]))))
    print(f"{name:28s} ratio: {theirs[1] / ours[1]:.1f}x faster, largest difference {difference:.2e}\n")


def voxels(count, alone):
    """Streaming AUROC, curves and confusion of logits against scikit-learn's AUROC on the whole array."""
    rng = np.random.default_rng(0)
    labels = rng.random(count, dtype=np.float32) < 0.01
    logits = rng.standard_normal(count, dtype=np.float32) * 2 - 6 + 3 * labels

    def ours():
        total = empty_histogram()
        for start in range(0, count, SLAB):
            part = slice(start, start + SLAB)
            total = total + logit_histogram(logits=logits[part], labels=labels[part])
        return voxel_results(total)["auroc"]

    if alone:
        used = time.process_time()
        value, seconds, peak = timed(ours)
        used = time.process_time() - used
        print(f"{count:,} voxels: {seconds:.2f} s, processor {used:.2f} s, {peak:.0f} MiB, AUROC {value:.6f}")
        return
    report(f"AUROC of {count:,} voxels", timed(ours), timed(lambda: roc_auc_score(labels, logits)))


def animals(count, replicates=2000, rows=200):
    """Cluster bootstrap of the AUROC: pair counts against drawing the rows again and again (scaled from 50 replicates)."""
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(count), rows)
    labels = (rng.random(len(who)) < 0.05).astype(int)
    scores = rng.normal(labels, 1)
    weights = bootstrap_weights(clusters=count, seed=0, replicates=replicates)
    few = 50

    def loop():
        values = []
        for w in weights[:few]:
            index = np.repeat(np.arange(len(who)), w[who])
            values.append(roc_auc_score(labels[index], scores[index]))
        return np.array(values)

    ours = timed(lambda: count_pairs(scores=scores, labels=labels, clusters=who, count=count).auroc(weights))
    theirs = timed(loop)
    scaled = (theirs[0], theirs[1] * replicates / few, theirs[2])
    report(f"{replicates} replicates, {count} animals", (ours[0][:few], *ours[1:]), scaled)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=20_000_000)
    parser.add_argument("--animals", type=int, default=40)
    parser.add_argument("--ours", action="store_true")
    options = parser.parse_args()
    voxels(options.voxels, options.ours)
    if not options.ours:
        animals(options.animals)

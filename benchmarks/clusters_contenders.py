"""What `make bench-clusters` measures, one contender per process: the same k-means, the same assignment.

Each fits from the same start, once with one iteration and once with more of them: the difference is the time of the
iterations alone. Only numpy is imported before the contender itself, so that faiss may be installed elsewhere.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.clusters.blocks import Block

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Job:
    """Files of column-major rows (`rows-*.npy`), where the labels go, the clusters and the iterations measured."""

    files: tuple[Path, ...]
    labels: Path
    k: int
    iterations: int


def peak_mb() -> float:
    """The largest memory the process has had so far, in MiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used * (1 if sys.platform == "darwin" else 1024) / MEBIBYTE, 1)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it gave."""
    started = time.perf_counter()
    result = action()
    return time.perf_counter() - started, result


def start_of(job: Job) -> NDArray[np.float64]:
    """The first rows of the first file."""
    return np.array(np.load(job.files[0], mmap_mode="r")[: job.k])


def all_rows(job: Job, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """The rows of all files as one array, row by row, as libraries want them."""
    shapes = [np.load(file, mmap_mode="r").shape for file in job.files]
    rows = np.empty((sum(length for length, _ in shapes), shapes[0][1]), dtype=dtype)
    at = 0
    for file, (length, _) in zip(job.files, shapes, strict=True):
        # One at a time: mapped files count as memory of the process.
        rows[at : at + length] = np.load(file, mmap_mode="r")
        at += length
    return rows


def by_tamis(job: Job) -> dict[str, Any]:
    """Blocks streamed from the files."""
    from engine.clusters.blocks import BlockFile, FileBlocks
    from engine.clusters.kernel import compiled_loops
    from engine.clusters.kmeans import KMeansFit, lloyd
    from engine.clusters.quality import assess_blocks
    from engine.execution.local import LocalExecutor

    loading, loops = timed(compiled_loops)
    files = [BlockFile(str(file), len(np.load(file, mmap_mode="r"))) for file in job.files]
    blocks = FileBlocks(LocalExecutor(), files)
    start = start_of(job)

    def fit(iterations: int) -> KMeansFit:
        return lloyd(blocks, start, max_iter=iterations, tol=0)

    once, _ = timed(lambda: fit(1))
    more, found = timed(lambda: fit(1 + job.iterations))
    fit_peak = peak_mb()
    assigning, labels = timed(lambda: np.concatenate(blocks.map(labels_of, found.centroids)))
    np.save(job.labels, labels)
    judging, quality = timed(lambda: assess_blocks(blocks, found.centroids))
    return {
        "iteration_seconds": (more - once) / job.iterations,
        "fit_seconds": more,
        "assign_seconds": assigning,
        "silhouette_seconds": judging,
        "load_seconds": loading,
        "compiled": loops is not None,
        "fit_peak_mb": fit_peak,
        "iterations": found.iterations,
        "inertia": found.inertia,
        "silhouette": quality.silhouette,
        "centroids": found.centroids.tolist(),
    }


def labels_of(block: Block, centroids: NDArray[np.float64]) -> NDArray[np.int32]:
    """The nearest centroid of each row of a block."""
    from engine.clusters.kernel import nearest

    return nearest(block.rows, centroids, block.threads)[0].astype(np.int32)


def by_scikit_learn(job: Job) -> dict[str, Any]:
    """All rows in one array, which it may write to, so that it need not copy them."""
    from sklearn.cluster import KMeans

    rows, start = all_rows(job, np.float64), start_of(job)

    def fit(iterations: int) -> KMeans:
        model = KMeans(
            job.k, init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd", copy_x=False, verbose=0
        )
        return model.fit(rows)

    once, _ = timed(lambda: fit(1))
    more, found = timed(lambda: fit(1 + job.iterations))
    fit_peak = peak_mb()
    assigning, labels = timed(lambda: found.predict(rows))
    np.save(job.labels, labels)
    return {
        "iteration_seconds": (more - once) / job.iterations,
        "fit_seconds": more,
        "assign_seconds": assigning,
        "fit_peak_mb": fit_peak,
        "iterations": int(found.n_iter_),
        "inertia": float(found.inertia_),
        "centroids": found.cluster_centers_.tolist(),
    }


def by_faiss(job: Job) -> dict[str, Any]:
    """All rows in one array of single precision; faiss has no other."""
    import faiss

    rows, start = all_rows(job, np.float32), start_of(job).astype(np.float32)

    def fit(iterations: int) -> Any:
        model = faiss.Kmeans(
            rows.shape[1], job.k, niter=iterations, max_points_per_centroid=len(rows), min_points_per_centroid=1
        )
        model.train(rows, init_centroids=start)
        return model

    once, _ = timed(lambda: fit(1))
    more, found = timed(lambda: fit(1 + job.iterations))
    fit_peak = peak_mb()
    assigning, assigned = timed(lambda: found.index.search(rows, 1)[1])
    np.save(job.labels, assigned[:, 0].astype(np.int32))
    return {
        "iteration_seconds": (more - once) / job.iterations,
        "fit_seconds": more,
        "assign_seconds": assigning,
        "fit_peak_mb": fit_peak,
        "iterations": 1 + job.iterations,
        "inertia": float(found.obj[-1]),
        "centroids": found.centroids.astype(np.float64).tolist(),
        "version": faiss.__version__,
    }


CONTENDERS = {"tamis": by_tamis, "scikit-learn": by_scikit_learn, "faiss": by_faiss}


def main(arguments: list[str]) -> None:
    """Measure one contender and print what was found: contender, folder, file of labels, clusters, iterations."""
    contender, folder, labels, k, iterations = arguments
    files = tuple(sorted(Path(folder).glob("rows-*.npy")))
    job = Job(files, Path(labels), int(k), int(iterations))
    found = CONTENDERS[contender](job)
    sys.stdout.write(json.dumps(found | {"peak_mb": peak_mb(), "threads": os.cpu_count()}))


if __name__ == "__main__":
    main(sys.argv[1:])

"""The tasks of a clustering that read features: the sample that it is chosen on, and the blocks that it is fitted to.

In: the files of the users at `as_of`, one per bucket. Out: blocks of prepared coordinates, which every later pass
reads, and small records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from engine.clusters.blocks import BlockFile, write_block
from engine.clusters.choose import choose_k
from engine.clusters.kmeans import KMeansFit
from engine.clusters.mixture import MixtureFit
from engine.clusters.preparation_report import PreparationReport
from engine.clusters.prepare import Preparation, fit_preparation, to_matrix
from engine.clusters.rules import CurvePoint
from engine.clusters.sampled import Sampled
from engine.config import Clusters
from engine.propensity.folds import in_sample
from engine.stages.target_learning import scan_rows

_KEY: Final = pl.col("user_key")


@dataclass(frozen=True)
class ChooseTask:
    """Prepare a sample of the users and choose the number of clusters on it.

    Attributes:
        files: The users at `as_of`.
        users: How many they are; of more than `settings.max_rows`, about as many are the sample.
        features: What the clusters are made of.
        folder: Where the blocks of the sample are written.
        threads: Threads that may be used.
    """

    files: tuple[str, ...]
    users: int
    features: tuple[str, ...]
    settings: Clusters
    seed: int
    folder: str
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Chosen:
    """What the sample gave.

    Attributes:
        preparation: From features to coordinates.
        report: What it did to the sample.
        k: The number of clusters.
        fit: The solution on the sample, without the labels of its rows.
        curve: The figures of every number that was tried.
        notes: Sentences about the choice.
        everyone: Coordinates of the sample, users who are set apart included.
        sample: Coordinates of those who are not.
    """

    preparation: Preparation
    report: PreparationReport
    k: int
    fit: KMeansFit | MixtureFit | Sampled
    curve: tuple[CurvePoint, ...]
    notes: tuple[str, ...]
    everyone: BlockFile
    sample: BlockFile


def choose_on_sample(task: ChooseTask) -> Chosen:
    """Preparation, number of clusters and first solution, from a sample of the users.

    Raises:
        DataError: The users are too few or too alike, all of them would be set apart, or a feature has values that are
            not finite.
    """
    rows = scan_rows(task.files)
    if task.users > task.settings.max_rows:
        rows = rows.filter(in_sample(_KEY, task.users, task.settings.max_rows))
    # In an order that no cut into buckets changes.
    frame = rows.select("user_key", "user_id", *task.features).collect().sort("user_key", "user_id")
    matrix = to_matrix(frame, task.features)
    preparation, report = fit_preparation(matrix, task.features, task.settings)
    apart = preparation.apart(matrix)
    coordinates = preparation.apply(matrix)
    folder = Path(task.folder)
    everyone = write_block(coordinates, folder / "clusters-everyone.npy")
    sample = everyone
    if apart.any():
        coordinates = np.asfortranarray(coordinates[~apart])
        sample = write_block(coordinates, folder / "clusters-sample.npy")
    choice = choose_k(coordinates, task.settings, task.seed, threads=task.threads)
    fit = choice.fit
    if isinstance(fit, Sampled):
        # One label per row would be large.
        fit = replace(fit, labels=fit.labels[:0])
    return Chosen(preparation, report, choice.k, fit, choice.curve, choice.notes, everyone, sample)


@dataclass(frozen=True)
class BlockTask:
    """Prepare the users of one bucket: those of `file` that are not set apart, as a block in `target`."""

    file: str
    preparation: Preparation
    target: str


def write_bucket(task: BlockTask) -> BlockFile:
    """Write the coordinates of a bucket.

    Raises:
        DataError: A feature has values that are not finite.
    """
    matrix = to_matrix(read_bucket(task.file, task.preparation.features), task.preparation.features)
    coordinates = task.preparation.apply(matrix)
    apart = task.preparation.apart(matrix)
    if apart.any():
        coordinates = np.asfortranarray(coordinates[~apart])
    return write_block(coordinates, Path(task.target))


def read_bucket(file: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """Some columns of the users of one bucket."""
    return scan_rows([file]).select(columns).collect()

"""The tasks of a clustering that look at the sample again: how far users are, and whether other samples agree.

In: blocks of prepared coordinates and a clustering. Out: small records.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.clusters.assign import Clustering, far_limit, place
from engine.clusters.blocks import Block, BlockFile, read_block
from engine.clusters.nearest import Labels
from engine.clusters.solutions import readable
from engine.clusters.stability import Labelled, Resampled, ResampleTask, resample, write_labelled
from engine.clusters.weighted import distinct_rows
from engine.config import Clusters
from engine.errors import DataError


@dataclass(frozen=True)
class FarTask:
    """How far the users in `block` are from their clusters."""

    block: BlockFile
    clustering: Clustering


def far_of_sample(task: FarTask) -> float:
    """The distance that 99 % of the users of the sample do not exceed."""
    return far_limit(place(read_block(task.block), task.clustering).distances)


@dataclass(frozen=True)
class LabelTask:
    """The users in `block` and their clusters, to be written to `target`: as many as the algorithm can read."""

    block: BlockFile
    clustering: Clustering
    settings: Clusters
    seed: int
    target: str


def label_sample(task: LabelTask) -> str:
    """Write users with their clusters for `resample_whatever`; the file."""
    users = readable(distinct_rows(read_block(task.block)), task.settings, task.seed)
    labels = place(users.rows, task.clustering).positions
    return str(write_labelled(Labelled(users, labels), Path(task.target)))


def resample_whatever(task: ResampleTask) -> Resampled:
    """As `resample`; a sample in which the algorithm finds nothing agrees with nothing."""
    try:
        return resample(task)
    except DataError:
        return Resampled(0.0, (0.0,) * task.clusters)


@dataclass(frozen=True, eq=False)
class PlaceLabels:
    """Labels rows by the place of their cluster, -1 for none."""

    clustering: Clustering

    def __call__(self, block: Block) -> Labels:
        """Places of the rows of a block."""
        return place(block.rows, self.clustering).positions

"""The task of a clustering that looks at the users: who is in which cluster, what they are like, where they were.

In: files of the users at `as_of`, the clustering and, if there is one, that of the bundle before. Out: whole sums,
which add up over files in any cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.clusters.assign import Clustering, assign, place
from engine.clusters.moves import APART
from engine.clusters.overlap import Overlap, merge_overlaps, overlap_of
from engine.clusters.prepare import to_matrix
from engine.clusters.profile_sums import ProfilePlan, ProfileSums, count_profiles, merge_profiles
from engine.stages.cluster_blocks import read_bucket

_TASKS: Final = 64


@dataclass(frozen=True)
class Before:
    """The clusters of the bundle before.

    Attributes:
        clustering: What assigns users to them.
        by_place: Whether distances between its centroids and new clusters mean something.
    """

    clustering: Clustering
    by_place: bool


@dataclass(frozen=True)
class ViewTask:
    """The users of some buckets under a clustering whose ids are the places of its clusters, and under that before."""

    files: tuple[str, ...]
    clustering: Clustering
    plan: ProfilePlan
    before: Before | None


@dataclass(frozen=True, eq=False)
class View:
    """What the users are like, by place of their cluster, and who was where; None without clusters before."""

    sums: ProfileSums
    overlap: Overlap | None


def view_users(task: ViewTask) -> View:
    """Look at the users of some buckets.

    Raises:
        DataError: A feature has values that are not finite.
    """
    views = [_view(file, task) for file in task.files]
    return merge_views(views)


def merge_views(views: list[View]) -> View:
    """The users of several views as those of one; at least one."""
    overlaps = [view.overlap for view in views if view.overlap is not None]
    sums = merge_profiles(view.sums for view in views)
    return View(sums, merge_overlaps(overlaps) if overlaps else None)


def view_tasks(
    files: tuple[str, ...], clustering: Clustering, plan: ProfilePlan, before: Before | None
) -> list[ViewTask]:
    """A task for every file, or for several: what comes back is not so small that it could be thousands."""
    size = -(-len(files) // _TASKS)
    return [
        ViewTask(files[start : start + size], clustering, plan, before) for start in range(0, len(files), max(size, 1))
    ]


def _view(file: str, task: ViewTask) -> View:
    plan, features = task.plan, task.clustering.preparation.features
    older = () if task.before is None else task.before.clustering.preparation.features
    value = () if plan.value is None else (plan.value,)
    columns = dict.fromkeys(("user_key", *features, *older, *plan.features, *plan.categories, *value))
    frame = read_bucket(file, tuple(columns))
    matrix = to_matrix(frame, features)
    labels = np.where(
        task.clustering.preparation.apart(matrix),
        APART,
        place(task.clustering.preparation.apply(matrix), task.clustering).positions,
    )
    sums = count_profiles(frame, labels, frame["user_key"], plan)
    if task.before is None:
        return View(sums, None)
    old = task.before.clustering
    coordinates = old.preparation.apply(to_matrix(frame, old.preparation.features)) if task.before.by_place else None
    ids = assign(frame, old)["cluster"].to_numpy().astype(np.intp)
    return View(sums, overlap_of(ids, labels, len(task.clustering.centroids), coordinates))

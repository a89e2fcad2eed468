"""The first half of finding clusters: from the users' features to clusters without ids, and their figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.clusters.assign import Clustering
from engine.clusters.blocks import BlockFile, FileBlocks
from engine.clusters.kmeans import KMeansFit, lloyd
from engine.clusters.mixture import MixtureFit, fit_mixture
from engine.clusters.preparation_report import PreparationReport
from engine.clusters.quality import Quality, assess_blocks
from engine.clusters.rules import CurvePoint
from engine.clusters.solutions import Fit
from engine.clusters.stability import Stability, resample_tasks, summarise
from engine.config import Config
from engine.execution.protocol import Executor
from engine.features.spec import FeatureSpec
from engine.progress import Progress, track
from engine.stages.cluster_blocks import BlockTask, ChooseTask, Chosen, choose_on_sample, write_bucket
from engine.stages.cluster_samples import (
    FarTask,
    LabelTask,
    PlaceLabels,
    far_of_sample,
    label_sample,
    resample_whatever,
)


@dataclass(frozen=True)
class ClusterInput:
    """What clusters are learnt from.

    Attributes:
        files: The users at `as_of`, one file per bucket.
        users: How many they are.
        features: The features the clusters are made of.
        order_by: The one of them by which new ids fall.
        categories: Text attributes that profiles look at.
        first_id: The smallest id that no cluster has had.
    """

    files: tuple[str, ...]
    users: int
    features: tuple[str, ...]
    order_by: str
    categories: tuple[str, ...] = ()
    first_id: int = 0


@dataclass(frozen=True)
class ClusterRun:
    """A fit of clusters: what it is made of, and where it is done."""

    given: ClusterInput
    config: Config
    spec: FeatureSpec
    work: Path
    executor: Executor
    progress: Progress | None


@dataclass(frozen=True)
class Found:
    """A clustering whose ids are the places of its clusters, and its figures; `far` is told when the ids are."""

    clustering: Clustering
    report: PreparationReport
    curve: tuple[CurvePoint, ...]
    notes: tuple[str, ...]
    quality: Quality | None
    stability: Stability | None


def find_clusters(run: ClusterRun) -> Found:
    """Choose on the sample, fit to all users, and measure.

    Raises:
        DataError: The users are too few or too alike, or a feature has values that are not finite.
    """
    given, settings = run.given, run.config.clusters
    task = ChooseTask(
        given.files, given.users, given.features, settings, run.config.seed, str(run.work), run.executor.threads
    )
    [chosen] = run.executor.map(choose_on_sample, [task], on_done=track(run.progress, "choose clusters", 1))
    tasks = [
        BlockTask(file, chosen.preparation, str(run.work / f"clusters-{number:05d}.npy"))
        for number, file in enumerate(given.files)
    ]
    written = run.executor.map(write_bucket, tasks, on_done=track(run.progress, "prepare clusters", len(tasks)))
    clustering, fit = _fitted(chosen, FileBlocks(run.executor, written), run)
    [far] = run.executor.map(far_of_sample, [FarTask(chosen.everyone, clustering)])
    return Found(
        replace(clustering, far=far),
        chosen.report,
        chosen.curve,
        chosen.notes,
        _quality(clustering, FileBlocks(run.executor, written)),
        _stability(clustering, fit, chosen.sample, run),
    )


def _fitted(chosen: Chosen, blocks: FileBlocks, run: ClusterRun) -> tuple[Clustering, Fit]:
    """The solution over all users, without names."""
    fit, mixture, exemplars = chosen.fit, None, None
    if isinstance(fit, KMeansFit):
        fit = lloyd(blocks, fit.centroids)
        centroids = fit.centroids
    elif isinstance(fit, MixtureFit):
        k = len(fit.mixture.weights)
        fit = fit_mixture(blocks, k, fit.mixture, covariance=run.config.clusters.covariance)
        mixture, centroids = fit.mixture, np.array(fit.mixture.means)
    else:
        centroids, exemplars = fit.centroids, fit.exemplars
    k = len(centroids)
    clustering = Clustering(
        preparation=chosen.preparation,
        algorithm=run.config.clusters.algorithm,
        centroids=tuple(tuple(centroid) for centroid in centroids.tolist()),
        ids=tuple(range(k)),
        names=("",) * k,
        apart_name="",
        far=0.0,
        next_id=k,
        mixture=mixture,
        exemplars=exemplars,
    )
    return clustering, fit


def _quality(clustering: Clustering, blocks: FileBlocks) -> Quality | None:
    by_centroid = clustering.mixture is None and clustering.exemplars is None
    try:
        return assess_blocks(blocks, np.array(clustering.centroids), None if by_centroid else PlaceLabels(clustering))
    except ValueError:
        # All users are in one cluster, so that there is nothing to compare it with.
        return None


def _stability(clustering: Clustering, fit: Fit, sample: BlockFile, run: ClusterRun) -> Stability | None:
    settings, seed = run.config.clusters, run.config.seed
    if not settings.resamples:
        return None
    task = LabelTask(sample, clustering, settings, seed, str(run.work / "clusters-labelled.npz"))
    [labelled] = run.executor.map(label_sample, [task])
    tasks = resample_tasks(Path(labelled), fit, settings, seed, run.executor.threads)
    return summarise(
        run.executor.map(resample_whatever, tasks, on_done=track(run.progress, "resample", len(tasks))),
        settings.stable_at,
    )

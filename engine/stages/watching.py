"""How far the users of today are from those that the clusters were learnt from: one task per bucket of users.

In: the rows of a bucket and a bundle. Out: a small record of counts; nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.bundle import Bundle, load_bundle
from engine.clusters.assign import assign
from engine.consent.permits import Permits, Withheld
from engine.propensity.drift import Counts, Reference, count
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import KeyRange
from engine.stages.accounts import AccountFiles, join_accounts, users_with_account
from engine.stages.features import load_features
from engine.stages.permitting import permitted
from engine.stages.users import HAS_CONTACT

_AGES = {"tenure_days", "btyd_t_days"}


@dataclass(frozen=True)
class WatchTask:
    """One bucket of users to compare with the bundle in the folder `bundle`; the contacts tell their accounts."""

    bucket: int
    keys: KeyRange
    shelf: Shelf
    contacts: str | None
    bundle: str
    accounts: AccountFiles = ()
    permits: Permits | None = None


@dataclass(frozen=True)
class WatchRecord:
    """What a bucket gave.

    Attributes:
        users: Users with an event before the day.
        kept: Their events.
        contacts_matched: Those of them whose account is known; 0 without accounts.
        counts: The users in the bins of `watched_reference`.
        far: Users who are farther from every cluster than 99 % were at the fit.
        withheld: Further users with an event before the day, of whom nothing is computed.
    """

    users: int
    kept: int
    contacts_matched: int
    counts: Counts
    far: int
    withheld: Withheld = field(default_factory=Withheld)


def watch_bucket(task: WatchTask) -> WatchRecord:
    """The users of one bucket beside those of the fit.

    Raises:
        IntegrityError: The bundle is damaged.
    """
    bundle = load_bundle(Path(task.bundle))
    spec, clustering = bundle.spec, bundle.clustering
    loaded = load_features(task.shelf, task.keys, task.bucket, spec, permits=task.permits)
    bucket, withheld = permitted(loaded, task.permits, task.keys)
    features, matched = bucket.features, 0
    if spec.account is not None:
        users = users_with_account(bucket.users, task.contacts, task.keys, spec.account, task.shelf.end_day)
        features = features.join(users, on="user", how="left", maintain_order="left")
        matched = int(features[HAS_CONTACT].sum())
        features = join_accounts(features, task.accounts, task.shelf.end_day, spec)
    far = 0
    if clustering is not None:
        far = int((assign(features, clustering)["cluster_distance"] > clustering.far).sum())
    return WatchRecord(
        features.height, bucket.kept, matched, count(features, watched_reference(bundle)), far, withheld.counts
    )


def watched_reference(bundle: Bundle) -> Reference:
    """The part of a bundle's drift reference that is about the features of its clusters.

    What grows by a day every day, such as `tenure_days`, is left out: it moves while nobody does anything.
    """
    if bundle.drift is None or bundle.clustering is None:
        return Reference(0, ())
    names = set(bundle.clustering.preparation.features) - _AGES
    kept = tuple(column for column in bundle.drift.columns if column.kind == "numeric" and column.column in names)
    return Reference(bundle.drift.rows, kept)

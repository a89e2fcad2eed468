"""Features of an account: of all users who have one value of a contact attribute, such as their company.

Whoever decides on a purchase of a company is seldom one person, so what its users did together tells more of each of
them than what one did alone. Users are summed up in integers, bucket by bucket and then over the buckets; as integers
add up to the same in any order, it does not matter how users are cut into buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Feature
from engine.features.money import major_units, minor_units
from engine.features.spec import FeatureSpec

ACCOUNT_FAMILY: Final = "account"
"""Name of the family: beside those of the registry, as it is made of more users than a bucket has."""
ACCOUNT_NEEDS: Final = "[accounts], with the contact attribute that tells the account of a user"
"""What a configuration must have for these features."""
ACCOUNT: Final = "__account"
"""The account of a user; null without one. No attribute may have such a name."""

_USERS: Final = "account_users"
_LAST_EVENT: Final = "account_days_since_last_event"
_SHARE: Final = "account_user_share_of_amount"


def account_features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns of the family: none without accounts.

    Null for users without an account, never 0: the user counts as one of the account's users.
    """
    return () if spec.account is None else tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    yield integer(spec, _USERS, "count", "Users of the account with an event before as_of.", ())
    for window in spec.windows:
        meaning = "Users of the account with at least one event."
        yield integer(spec, f"account_active_users_{window}d", "count", meaning, (), window=window)
    for window in spec.windows:
        meaning = "Days with at least one event, summed over the users of the account."
        yield integer(spec, f"account_active_days_{window}d", "count", meaning, (), window=window)
    for name in _counted(spec):
        for window in spec.windows:
            meaning = f"Events of type {name} of all users of the account."
            column = f"account_{spec.slug(name)}_count_{window}d"
            yield integer(spec, column, "count", meaning, (name,), window=window)
    for column, name, window in _amounts(spec):
        meaning = f"Sum of the amounts of {name} of all users of the account."
        yield real(spec, f"account_{column}", "money", meaning, (name,), window=window)
    yield integer(spec, _LAST_EVENT, "days", "Days from the account's last event's day to as_of.", ())
    if spec.purchase is not None:
        meaning = f"Days from the account's last {spec.purchase}'s day to as_of; null when there is none."
        yield integer(spec, f"account_{_since_purchase(spec.purchase, spec)}", "days", meaning, (spec.purchase,))
    for _, name, window in _amounts(spec)[-1:]:
        meaning = f"The user's amount of {name} per amount of the account; null when that is 0."
        yield real(spec, _SHARE, "ratio", meaning, (name,), window=window)


def _counted(spec: FeatureSpec) -> tuple[str, ...]:
    """The types whose events are counted: purchases, opens and clicks, as far as there are such roles."""
    return tuple(dict.fromkeys(name for name in (spec.purchase, spec.open, spec.click) if name is not None))


def _amounts(spec: FeatureSpec) -> tuple[tuple[str, str, int], ...]:
    """The core columns of what was spent, with their type and window; none when purchases have no amounts."""
    code, name = spec.code(spec.purchase), spec.purchase
    if code is None or name is None or not spec.types[code].priced:
        return ()
    return tuple((f"{spec.slug(name)}_amount_{window}d", name, window) for window in spec.windows)


def _since_purchase(name: str, spec: FeatureSpec) -> str:
    return f"days_since_{spec.slug(name)}"


def sum_users(users: pl.DataFrame, spec: FeatureSpec) -> pl.DataFrame:
    """The users of one bucket, summed up per account.

    Args:
        users: `ACCOUNT` and the core features, one row per user with an event before the day; users without an account
            do not count.
        spec: The features.

    Returns:
        `ACCOUNT` and the columns of the family but for the user's share, all Int64 (amounts in minor units); one row
        per account, sorted.
    """
    sums = {_USERS: pl.len()}
    for window in spec.windows:
        active = pl.col(f"active_days_{window}d")
        sums |= {f"account_active_users_{window}d": (active > 0).sum(), f"account_active_days_{window}d": active.sum()}
        for name in _counted(spec):
            column = f"{spec.slug(name)}_count_{window}d"
            sums[f"account_{column}"] = pl.col(column).sum()
    for column, _, _ in _amounts(spec):
        sums[f"account_{column}"] = minor_units(pl.col(column), spec.currency_digits).sum()
    sums |= {name: pl.col(name.removeprefix("account_")).min() for name in _nearest(spec)}
    per_account = users.filter(pl.col(ACCOUNT).is_not_null()).group_by(ACCOUNT)
    return per_account.agg(expression.cast(pl.Int64).alias(name) for name, expression in sums.items()).sort(ACCOUNT)


def add_up(parts: pl.LazyFrame, spec: FeatureSpec) -> pl.DataFrame:
    """The sums of several buckets together.

    Args:
        parts: Rows of `sum_users`, in any order; an account may have several.
        spec: The features.

    Returns:
        As `sum_users`.
    """
    nearest = pl.col(_nearest(spec))
    summed = pl.exclude(ACCOUNT, *_nearest(spec)).sum()
    return parts.group_by(ACCOUNT).agg(summed, nearest.min()).sort(ACCOUNT).collect()


def _nearest(spec: FeatureSpec) -> tuple[str, ...]:
    """The columns of which the smallest counts, not the sum."""
    bought = () if spec.purchase is None else (f"account_{_since_purchase(spec.purchase, spec)}",)
    return (_LAST_EVENT, *bought)


def add_account_columns(users: pl.DataFrame, sums: pl.DataFrame, spec: FeatureSpec) -> pl.DataFrame:
    """Users with the features of their accounts, in their order.

    Args:
        users: `ACCOUNT`, the core features and anything else.
        sums: What `add_up` gave; accounts of other users do no harm.
        spec: The features.
    """
    table = users.join(sums, on=ACCOUNT, how="left", maintain_order="left", validate="m:1")
    digits = spec.currency_digits
    columns = [major_units(pl.col(f"account_{column}"), digits) for column, _, _ in _amounts(spec)]
    for column, _, _ in _amounts(spec)[-1:]:
        whole = pl.col(f"account_{column}")
        share = minor_units(pl.col(column), digits) / whole
        columns.append(pl.when(whole != 0).then(share).alias(_SHARE))
    return table.with_columns(columns)

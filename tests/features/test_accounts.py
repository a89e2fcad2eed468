from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features.accounts import ACCOUNT, account_features, add_account_columns, add_up, sum_users
from engine.features.build import build_features
from engine.features.catalogue import catalogue, families, shared_names, user_catalogue
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from tests.features.dailies import Daily, Row, by_user, full_spec, histories, inside, over, rows_of
from tests.features.specs import spec_of

SPEC = full_spec(account="company")
TYPES = ("purchase", "open", "click", "visit")
COUNTED = ("purchase", "open", "click")
USERS = 4

Accounts = Mapping[int, str | int | None]


def expected(events: Iterable[Daily], as_of: date, accounts: Accounts) -> dict[int, Row]:
    """Every account from the events of its users, in plain Python."""
    past = by_user(events, as_of)
    return {user: _row(user, past, as_of, accounts) for user in past}


def _row(user: int, past: Mapping[int, list[Daily]], as_of: date, accounts: Accounts) -> Row:
    account = accounts.get(user)
    if account is None:
        return dict.fromkeys(feature.name for feature in account_features(SPEC))
    users = [other for other in past if accounts.get(other) == account]
    every = [event for other in users for event in past[other]]
    row: Row = {"account_users": len(users)}
    for window in SPEC.windows:
        recent = inside(every, as_of, window, *TYPES)
        row[f"account_active_users_{window}d"] = len({event.user for event in recent})
        row[f"account_active_days_{window}d"] = len({(event.user, event.day) for event in recent})
        for name in COUNTED:
            row[f"account_{name}_count_{window}d"] = sum(event.type == name for event in recent)
        bought = [event for event in recent if event.type == "purchase"]
        row[f"account_purchase_amount_{window}d"] = sum(event.amount for event in bought) / 100
    row["account_days_since_last_event"] = (as_of - max(event.day for event in every)).days
    last = max((event.day for event in every if event.type == "purchase"), default=None)
    row["account_days_since_purchase"] = None if last is None else (as_of - last).days
    own = sum(event.amount for event in bought if event.user == user)
    row["account_user_share_of_amount"] = over(own, sum(event.amount for event in bought))
    return row


def users_of(events: Iterable[Daily], as_of: date, accounts: Accounts, spec: FeatureSpec = SPEC) -> pl.DataFrame:
    """The core features of the users, with their accounts."""
    core = build_features(rows_of(events, spec), USERS, day_number(as_of), spec)
    return core.with_columns(pl.Series(ACCOUNT, [accounts.get(user) for user in core["user"]]))


@given(
    history=histories(TYPES),
    accounts=st.dictionaries(st.integers(0, USERS - 1), st.sampled_from(["ACME", "Été", None])),
    cut=st.integers(0, USERS),
)
@settings(max_examples=60)
def test_accounts_are_what_their_users_did(
    history: tuple[date, list[Daily]], accounts: dict[int, str | None], cut: int
) -> None:
    as_of, events = history
    users = users_of(events, as_of, accounts).with_columns(pl.col(ACCOUNT).cast(pl.String))
    whole = sum_users(users, SPEC)
    parts = [
        sum_users(part, SPEC) for part in (users.filter(pl.col("user") >= cut), users.filter(pl.col("user") < cut))
    ]
    assert add_up(pl.concat(parts).lazy(), SPEC).equals(whole)
    table = add_account_columns(users, whole, SPEC)
    assert table["user"].to_list() == users["user"].to_list()
    features = account_features(SPEC)
    assert {feature.name: feature.dtype for feature in features} == {
        feature.name: table.schema[feature.name] for feature in features
    }
    found = table.select("user", *(feature.name for feature in features)).rows_by_key("user", named=True, unique=True)
    assert found == expected(events, as_of, accounts)


def test_a_user_alone_is_the_account_and_others_do_not_show() -> None:
    day = date(2024, 3, 1)
    events = [Daily(user, "purchase", date(2024, 2, 29), 57) for user in (0, 1, 1)]
    users = users_of(events, day, {0: 7, 1: 8})
    sums = add_up(sum_users(users, SPEC).lazy(), SPEC)
    table = add_account_columns(users.filter(pl.col("user") == 0), sums, SPEC)
    names = ["account_users", "account_purchase_amount_30d", "account_user_share_of_amount"]
    assert table.select(names).rows() == [(1, 0.57, 1.0)]


@pytest.mark.parametrize("amount", [2**51 - 1, 10**15 + 1, -(2**51) + 1])
def test_large_amounts_are_summed_to_the_unit(amount: int) -> None:
    day = date(2024, 3, 1)
    users = users_of(
        [Daily(user, "purchase", date(2024, 2, 29), amount) for user in (0, 1, 2)], day, {0: 1, 1: 1, 2: 1}
    )
    assert sum_users(users, SPEC)["account_purchase_amount_30d"].to_list() == [3 * amount]


@pytest.mark.parametrize(
    ("changes", "there", "missing"),
    [
        ({"purchase": None}, "account_open_count_30d", "purchase"),
        ({"open": None}, "account_click_count_30d", "open"),
        ({"types": spec_of(full_spec().type_names, ()).types}, "account_purchase_count_30d", "amount"),
    ],
)
def test_columns_follow_the_roles(changes: dict[str, object], there: str, missing: str) -> None:
    spec = full_spec(account="company", **changes)
    names = [feature.name for feature in account_features(spec)]
    assert there in names
    assert [name for name in names if missing in name] == []
    users = users_of([Daily(0, "open", date(2024, 2, 29))], date(2024, 3, 1), {0: "a"}, spec)
    table = add_account_columns(users, sum_users(users, spec), spec)
    assert [name for name in table.columns if name.startswith("account_")] == sorted(names, key=table.columns.index)


def test_the_family_stands_last_and_needs_the_section() -> None:
    assert account_features(full_spec()) == ()
    assert "account" not in families(full_spec())
    spec = full_spec(account="company", families=("cadence",))
    names = [feature.name for feature in account_features(spec)]
    assert [feature.name for feature in catalogue(spec)][-len(names) :] == names
    assert [feature.name for feature in user_catalogue(spec)] == [feature.name for feature in catalogue(spec)][
        : -len(names)
    ]
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_features_know_what_they_are_made_of() -> None:
    by_name = {feature.name: feature for feature in account_features(SPEC)}
    assert by_name["account_open_count_3d"].purposes == ("profiling", "email_tracking")
    assert by_name["account_users"].purposes == ("profiling", "email_tracking")
    assert by_name["account_purchase_amount_3d"].purposes == ("profiling",)
    assert by_name["account_user_share_of_amount"].window_days == 30
    assert {feature.absent for feature in by_name.values()} == {None}


def test_an_event_type_with_a_column_of_the_family_is_refused() -> None:
    spec = spec_of(("purchase", "account_purchase"), account="company")
    assert shared_names(spec) == {("account_purchase",): "account_purchase_count_7d"}

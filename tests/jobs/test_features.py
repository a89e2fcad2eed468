from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

Tamis = Callable[..., Result]
PURCHASES = ("--set", "events.purchase=purchase")


def columns(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


def test_list_prints_what_is_published(tamis: Tamis, folder: Path) -> None:
    found = columns(tamis("features", "list"))
    assert found[0] == "tenure_days"
    assert "purchase_count_7d" in found
    assert "purchase_gap_mean_days" not in found
    assert "rfm_recency_days" in columns(tamis("features", "list", *PURCHASES))


def test_list_all_prints_what_could_be(tamis: Tamis, folder: Path) -> None:
    result = tamis("features", "list", "--all", *PURCHASES)
    published = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines()[1:]}
    assert published["purchase_gap_mean_days"] == "no"
    assert published["purchase_count_7d"] == "yes"
    assert "funnel_sent_count_7d" not in published


def test_list_all_prints_what_else_rules_can_name(tamis: Tamis, folder: Path) -> None:
    contacts = folder / "people.parquet"
    pl.DataFrame({"user_id": [1], "region": ["north"]}).write_parquet(contacts)
    asked = ("--set", f"contacts.path={contacts}", "--set", "contacts.user_id=user_id", *PURCHASES)
    result = tamis("features", "list", "--all", *asked)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["region", "String", "–", "contact", "attribute", "yes"] in lines
    assert ["engagement_score", "Float64", "–", "score", "yes"] in lines
    assert "region" not in columns(tamis("features", "list", *asked))
    others = json.loads(tamis("features", "list", "--all", "--json", *asked).stdout)["others"]
    assert {"name": "region", "type": "String", "kind": "contact attribute"} in others
    described = tamis("features", "describe", "region", *asked).stdout
    assert [line.split(maxsplit=1) for line in described.splitlines()] == [
        ["column", "region"],
        ["type", "String"],
        ["kind", "contact attribute"],
    ]
    assert json.loads(tamis("features", "describe", "engagement_score", "--json", *asked).stdout)["kind"] == "score"


def test_list_all_without_its_contacts_lists_the_features(tamis: Tamis, folder: Path) -> None:
    asked = ("--set", f"contacts.path={folder / 'none.parquet'}", "--set", "contacts.user_id=user_id")
    result = tamis("features", "list", "--all", *asked)
    assert "purchase_count_7d" in columns(result)
    assert "scores and contact attributes are not listed" in result.stderr


def test_list_one_family(tamis: Tamis, folder: Path) -> None:
    asked = ("--set", 'features.families=["lifecycle"]')
    assert columns(tamis("features", "list", "--family", "lifecycle", *asked))[:2] == ["first_seen", "last_seen"]
    refused = tamis("features", "list", "--family", "lifecycle")
    assert refused.exit_code == 2
    assert "More with --all" in refused.stderr


def test_features_of_accounts_come_with_their_section(tamis: Tamis, folder: Path) -> None:
    asked = ("--set", "accounts.column=company", *PURCHASES)
    names = columns(tamis("features", "list", "--family", "account", *asked))
    assert (names[0], names[-1]) == ("account_users", "account_days_since_purchase")
    assert columns(tamis("features", "list", *asked))[-len(names) :] == names
    assert "account_users" not in columns(tamis("features", "list", "--all", *PURCHASES))
    assert "it is published" in tamis("features", "describe", "account_users", *asked).stdout


def test_list_as_json(tamis: Tamis, folder: Path) -> None:
    result = json.loads(tamis("features", "list", "--all", "--json").stdout)
    assert result["event_types_complete"] is True
    by_name = {entry["name"]: entry for entry in result["features"]}
    assert by_name["purchase_count_7d"] == {
        "name": "purchase_count_7d",
        "meaning": "Events of type purchase.",
        "unit": "count",
        "type": "Int64",
        "window_days": 7,
        "event_types": ["purchase"],
        "purposes": ["profiling"],
        "absent": 0,
        "family": "event types",
        "published": True,
    }
    assert by_name["weekend_share"]["published"] is False


@pytest.mark.parametrize(("quiet", "told"), [((), True), (("-q",), False)])
def test_types_that_only_the_data_knows_are_told(
    tamis: Tamis, folder: Path, quiet: tuple[str, ...], told: bool
) -> None:
    file = folder / "tamis.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('{ value = "purchase" }', '"kind"'), encoding="utf-8")
    assert ("others that the data has" in tamis("features", "list", *quiet).stderr) == told


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("purchase_count_30d", ["30 days", "event types", "it is published", "purchase", "without events  0"]),
        ("purchase_gap_mean_days", ["cadence", 'add "cadence" to features.families', "Float64", "null"]),
        ("funnel_open_rate_7d", ["funnel", "it needs an event type for one of the e-mail roles", "email_tracking"]),
        ("tenure_days", ["all event types", "window          all"]),
        ("account_users", ["account", "it needs [accounts]", "null"]),
    ],
)
def test_describe(tamis: Tamis, folder: Path, name: str, words: list[str]) -> None:
    result = tamis("features", "describe", name, *PURCHASES)
    assert result.exit_code == 0, result.stderr
    assert [word for word in words if word not in result.stdout] == []
    described = json.loads(tamis("features", "describe", name, *PURCHASES, "--json").stdout)
    assert described["name"] == name
    assert described["enable"] in result.stdout


def test_describe_suggests_the_nearest_column(tamis: Tamis, folder: Path) -> None:
    result = tamis("features", "describe", "purchase_gap_means_day", *PURCHASES)
    assert result.exit_code == 2
    assert "error[feature-unknown]" in result.stderr
    assert "did you mean 'purchase_gap_mean_days'" in result.stderr

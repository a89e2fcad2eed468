from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from engine.config import Config
from engine.config_segments import Experiment
from engine.errors import ConfigError
from engine.execution.local import LocalExecutor
from engine.exports.export import export_segments
from engine.exports.record import Request
from engine.pipeline import fit_run, score_run
from engine.planning.audience import find_audience
from engine.why.preview import Preview, checked_rule, preview
from engine.why.published import open_published
from engine.why.scope import scope_of, spec_of
from engine.why.standing import standing_of
from jobs.app import app
from tests.consent.logs import saved
from tests.consent.sample import MAILS, NO, PROFILING, YESTERDAY, consents, variant, write
from tests.published import published_tables
from tests.samples import AS_OF, configuration

LOCAL = LocalExecutor(threads=1)
RULE = "purchase_count_30d > 0"
WITHDRAWN, NO_MAILS, OBJECTING = (3, 12, 30), (5, 12, 44), (9, 31)
KEY = "0f" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = configuration(write(tmp_path_factory.mktemp("previewed")))
    arms = Experiment(name="test", key="k", arms={"a": 1, "b": 1}, purposes=(MAILS,))
    config = config.model_copy(update={"experiments": (arms,)})
    fit_run(config, AS_OF, executor=LOCAL)
    return variant(config, tmp_path_factory.mktemp("scored") / "all", consents())


def previewed(config: Config, purposes: tuple[str, ...] = ()) -> Preview:
    published = open_published(Path(config.out), AS_OF)
    rule = checked_rule(RULE, scope_of(published, spec_of(published, config)))
    standing, notes = standing_of(config, published, purposes)
    return preview(rule, published, ("engagement_score",), standing=standing, purposes=purposes, notes=notes)


def log(*, later: bool = False) -> pl.DataFrame:
    at = YESTERDAY + timedelta(days=9) if later else YESTERDAY
    rows: list[Any] = [(user, PROFILING, NO, at) for user in WITHDRAWN] + [(user, MAILS, NO, at) for user in NO_MAILS]
    return consents(rows)


@pytest.mark.parametrize("purposes", [pytest.param((), marks=pytest.mark.slow), (MAILS,)])
def test_gd02_a_preview_counts_whom_a_run_would_publish(
    world: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, purposes: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TAMIS_KEY", KEY)
    config = variant(world, tmp_path / "v", consents())
    score_run(config, AS_OF, executor=LOCAL)
    before = previewed(config, purposes)
    assert (before.withheld, before.without_consent) == (0, 0)
    # What is withdrawn after the day plays no part in a run of it.
    assert config.consent is not None
    saved(log(later=True), Path(str(config.consent.path)))
    assert previewed(config, purposes) == before
    saved(log(), Path(str(config.consent.path)))
    (tmp_path / "no.txt").write_text("\n".join(map(str, OBJECTING)), encoding="utf-8")
    privacy = config.privacy.model_copy(update={"opposed": (str(tmp_path / "no.txt"),)})
    config = config.model_copy(update={"privacy": privacy})
    told = previewed(config, purposes)
    score_run(config, AS_OF, executor=LOCAL)
    again = previewed(config, purposes)
    tables = published_tables(Path(config.out), AS_OF)
    joined = tables["features"].filter(pl.col("purchase_count_30d") > 0)["user_id"]
    own = joined.filter(~joined.is_in(NO_MAILS)) if purposes else joined
    assert (told.total, told.users) == (tables["features"].height, own.len())
    assert told.withheld == before.total - told.total > 0
    assert told.without_consent == joined.len() - own.len()
    assert told.clauses == again.clauses
    assert told.composition == again.composition
    if purposes:
        members = tables["memberships"].filter(pl.col("segment") == "by mail")["user_id"]
        assert sorted(own) == sorted(members)


def test_the_command_asks_for_the_purposes_it_is_given(world: Config, tmp_path: Path) -> None:
    config = variant(world, tmp_path / "v", log())
    score_run(config, AS_OF, executor=LOCAL)
    assert config.consent is not None
    file = write(tmp_path / "sample")
    command = ["segments", "preview", RULE, "-c", str(file), "--out", config.out, "--json"]
    command += ["--set", f"consent.path={config.consent.path}"]

    def told(*more: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*command, *more])
        assert done.exit_code == 0, done.stderr
        return dict(json.loads(done.stdout))

    own, everybody = told("--purpose", MAILS), told()
    assert own["users"] == previewed(config, (MAILS,)).users < everybody["users"]
    assert own["without_consent"] == everybody["users"] - own["users"]
    assert (own["purposes"], everybody["purposes"]) == ([MAILS], [])


def test_what_is_not_at_hand_is_told_and_purposes_are_checked(world: Config, tmp_path: Path) -> None:
    config = variant(world, tmp_path / "v", consents())
    score_run(config, AS_OF, executor=LOCAL)
    with pytest.raises(ConfigError) as refused:
        previewed(config, ("email",))
    assert refused.value.code == "purpose-unknown"
    assert "--purpose: no purpose 'email'" in refused.value.message
    assert config.consent is not None
    Path(str(config.consent.path)).unlink()
    found = previewed(config)
    assert found.withheld == 0
    assert any("is not known here" in note for note in found.notes)
    with pytest.raises(ConfigError):
        previewed(config, (MAILS,))


def test_gd02_arms_are_drawn_from_those_who_agreed(world: Config, tmp_path: Path) -> None:
    config = variant(world, tmp_path / "v", log())
    record = score_run(config, AS_OF, executor=LOCAL)
    members = published_tables(Path(config.out), AS_OF)["memberships"]
    arms = members.filter(pl.col("segment").is_in(["test_a", "test_b"]))["user_id"]
    assert arms.is_duplicated().sum() == 0
    assert arms.len() == record.counts["users"] - len({*NO_MAILS} - {*WITHDRAWN})
    assert not arms.is_in([*NO_MAILS, *WITHDRAWN]).any()
    assert record.counts["purposes"]["segments"]["test_a"] == [MAILS]
    # Nobody who withdraws later is in a file of the arm.
    contacts = pl.DataFrame({"customer": arms.sort(), "mail": [f"u{user}@example.org" for user in arms.sort()]})
    assert config.contacts is not None
    saved(contacts, tmp_path / "contacts.parquet")
    assert config.consent is not None
    first = int(arms.sort()[0])
    rows: list[Any] = [(user, MAILS, NO, YESTERDAY) for user in NO_MAILS]
    saved(consents([*rows, (first, MAILS, NO, YESTERDAY + timedelta(days=3))]), Path(str(config.consent.path)))
    changed = config.model_copy(
        update={
            "contacts": config.contacts.model_copy(update={"path": str(tmp_path / "contacts.parquet"), "columns": ()}),
            "exports": config.exports.model_copy(update={"email": "mail"}),
            "consent": config.consent.model_copy(update={"exports": ()}),
        }
    )
    units = export_segments(changed, Request("brevo", ("test_a", "test_b"), tmp_path / "to")).units
    assert sum(unit.left_out["without_consent"] for unit in units) == 1


def test_purposes_of_arms_must_be_known(world: Config, tmp_path: Path) -> None:
    config = variant(world, tmp_path / "v", consents())
    arms = world.experiments[0].model_copy(update={"purposes": ("email",)})
    with pytest.raises(ConfigError) as refused:
        score_run(config.model_copy(update={"experiments": (arms,)}), AS_OF, executor=LOCAL)
    assert "experiments.test.purposes: no purpose 'email'" in refused.value.message


def test_gd02_a_plan_moves_those_alone_whom_the_run_will_publish(
    world: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import date

    from engine.privacy.suppress import add_people

    monkeypatch.setenv("TAMIS_KEY", KEY)
    config = variant(world, tmp_path / "v", log())
    add_people(config, pl.Series("id", [str(user) for user in OBJECTING]), date(2026, 2, 1))
    found = find_audience(config, AS_OF, executor=LOCAL, share=1.0)
    record = score_run(config, AS_OF, executor=LOCAL)
    assert found.users == record.counts["users"] == published_tables(Path(config.out), AS_OF)["features"].height
    sizes = {one.segment: one.after for one in found.segments if one.group == "primary" and one.after}
    assert sizes == {name: size["users"] for name, size in record.counts["segments"].items() if size["users"]}

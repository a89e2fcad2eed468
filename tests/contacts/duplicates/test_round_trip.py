from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle_store import current_bundle
from engine.config import Config
from engine.config_file import load_config
from engine.contacts.duplicates.decisions import decisions_file, read_decisions
from engine.contacts.duplicates.run import Decided, decide, pairs_among
from engine.contacts.duplicates.table import Asked
from engine.errors import IntegrityError
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from engine.schedule.late import input_marks
from engine.stages.opening import check_unchanged, open_run
from engine.tables.layout import manifest_path
from tests.published import published_tables
from tests.samples import AS_OF, files, write_sample

ON = date(2026, 3, 5)
EARLIER = AS_OF - timedelta(days=7)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of 50 users with a model, and a score of the earlier day."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, users=50)
    config = config_of(folder)
    fit_run(config, EARLIER, executor=LocalExecutor())
    score_run(config, EARLIER, executor=LocalExecutor())
    return folder


def config_of(folder: Path, **overrides: object) -> Config:
    config = load_config(folder / "tamis.toml").config
    return config.model_copy(update=overrides)


def say(config: Config, kind: str, *ids: str) -> Decided:
    asked = [Asked(pair, kind) for pair in pairs_among(ids)]  # type: ignore[arg-type]
    return decide(config, asked, on=ON)


def score(config: Config, as_of: date = AS_OF) -> dict[str, pl.DataFrame]:
    score_run(config, as_of, executor=LocalExecutor())
    return published_tables(Path(config.out), as_of)


def user(table: pl.DataFrame, user_id: int) -> dict[str, object]:
    [row] = table.filter(pl.col("user_id") == user_id).to_dicts()
    return row


def published(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(out).items() if not name.startswith("_contacts")}


def test_dq03_merged_contacts_are_one_user_and_undo_brings_the_bytes_back(sample: Path) -> None:
    config = config_of(sample)
    out = Path(config.out)
    before = score(config)
    first = published(out)

    assert say(config, "merge", "7", "12", "3").counts == {"merged": 2, "undone": 0, "refused": 0, "unchanged": 0}
    after = score(config)
    ids = {name: set(table["user_id"]) for name, table in after.items() if "user_id" in table.columns}
    assert ids["features"] == set(before["features"]["user_id"]) - {7, 12}
    assert ids["features"] == ids["scores"] == ids["segments"]
    told = ("purchase_count_30d", "purchase_amount_30d", "email_send_count_30d")
    for name in told:
        alone = [user(before["features"], one)[name] or 0 for one in (3, 7, 12)]
        assert user(after["features"], 3)[name] == sum(alone)  # type: ignore[arg-type]
    manifest = json.loads(manifest_path(out, AS_OF).read_text())
    assert manifest["counts"]["users"] == before["features"].height - 2

    # The ledger: who is no user any more leaves every segment.
    left = after["membership_changes"].filter(pl.col("user_id").is_in([7, 12]))
    assert set(left["user_id"]) == {7, 12}
    assert before["membership_changes"].filter(pl.col("user_id").is_in([7, 12])).height < left.height

    assert say(config, "undo", "3", "7").counts["undone"] == 1
    half = score(config)
    assert user(half["features"], 7) == user(before["features"], 7)
    assert 12 not in set(half["features"]["user_id"])
    assert say(config, "undo", "3", "12").counts["undone"] == 1
    score(config)
    assert published(out) == first


@pytest.mark.slow
def test_a_store_that_learns_of_merges_is_one_that_always_knew(sample: Path, tmp_path: Path) -> None:
    config = config_of(sample)
    bundle = current_bundle(Path(config.out))
    outs = []
    for name, late in (("late", True), ("early", False)):
        one = config_of(sample, out=str(tmp_path / name))
        if late:
            score_run(one, AS_OF, executor=LocalExecutor(), bundle=bundle)
        say(one, "merge", "3", "7")
        say(one, "merge", "7", "12")
        score_run(one, AS_OF, executor=LocalExecutor(), bundle=bundle)
        outs.append(published(Path(one.out)))
    assert outs[0] == outs[1]


def test_merges_join_the_links_of_an_identity_table(sample: Path, tmp_path: Path) -> None:
    links = pl.DataFrame({"from": [12, 20], "to": [4, 12]})
    links.write_parquet(tmp_path / "links.parquet")
    text = (sample / "tamis.toml").read_text()
    section = f'\n[identity]\npath = "{tmp_path}/links.parquet"\nanonymous_id = "from"\nuser_id = "to"\n'
    (sample / "linked.toml").write_text(text + section)
    config = load_config(sample / "linked.toml").config.model_copy(update={"out": str(tmp_path / "out")})
    from engine.stages.input import read_links

    say(config, "merge", "12", "7")
    say(config, "merge", "7", "2")
    found = read_links(config, open_run(config).given)
    assert found is not None
    assert dict(found.rows()) == {12: 2, 20: 2, 7: 2, 4: 2}


def test_a_merge_changes_the_identity_of_a_run_and_stops_one_that_is_under_way(sample: Path, tmp_path: Path) -> None:
    config = config_of(sample, out=str(tmp_path / "out"))
    opened = open_run(config)
    say(config, "merge", "3", "7")
    with pytest.raises(IntegrityError) as raised:
        check_unchanged(opened)
    assert raised.value.code == "input-changed"
    merged, marks = open_run(config).fingerprints["input"], input_marks(config, (), AS_OF)
    assert merged != opened.fingerprints["input"]
    say(config, "undo", "3", "7")
    assert open_run(config).fingerprints == opened.fingerprints
    assert marks != input_marks(config, (), AS_OF) == input_marks(config_of(sample), (), AS_OF)
    say(config, "merge", "7", "3")
    assert open_run(config).fingerprints["input"] == merged


def test_the_contact_that_stays_is_filled_from_the_others(sample: Path, tmp_path: Path) -> None:
    # Of the sample's users 2, 5 and so on have no region, 4 and 7 are of the south.
    config = config_of(sample, out=str(tmp_path / "out"))
    bundle = current_bundle(Path(config_of(sample).out))
    contacts = dict(pl.read_parquet(sample / "contacts.parquet").rows())
    assert (contacts[2], contacts[4], contacts[6]) == (None, "sud", "nord-été")
    say(config, "merge", "2", "4", "6")
    score_run(config, AS_OF, executor=LocalExecutor(), bundle=bundle)
    rows = published_tables(Path(config.out), AS_OF)["features"]
    assert user(rows, 2)["region"] == "sud"


def test_the_decisions_are_for_their_owner_alone(sample: Path, tmp_path: Path) -> None:
    config = config_of(sample, out=str(tmp_path / "out"))
    say(config, "merge", "3", "7")
    path = decisions_file(Path(config.out))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.slow
def test_merges_of_pseudonyms_are_those_of_the_ids(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_KEY", "0123456789abcdef" * 4)
    text = (sample / "tamis.toml").read_text()
    (sample / "hidden.toml").write_text(f"{text}\n[privacy]\npseudonyms = true\n")
    hidden = load_config(sample / "hidden.toml").config.model_copy(update={"out": str(tmp_path / "hidden")})
    say(hidden, "merge", "12", "7")
    say(hidden, "merge", "3", "7")
    assert {len(name) for act in read_decisions(Path(hidden.out)) for name in act.pair} == {64}
    fit_run(hidden, AS_OF, executor=LocalExecutor())
    clear = config_of(sample, out=str(tmp_path / "clear"))
    say(clear, "merge", "7", "12", "3")
    score_run(clear, AS_OF, executor=LocalExecutor(), bundle=current_bundle(Path(config_of(sample).out)))
    tables = [score(hidden)["features"], published_tables(Path(clear.out), AS_OF)["features"]]
    told = ("purchase_count_30d", "purchase_amount_30d", "email_send_count_30d", "email_open_count_30d")
    counted, wanted = (sorted(table.select(told).rows(), key=repr) for table in tables)
    assert counted == wanted
    assert len(wanted) == 48

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.erasure.erase import erase_people
from engine.erasure.subject import subject_of
from engine.pipeline import fit_run, score_run
from engine.privacy.key import key_source, load_key
from engine.privacy.pseudonyms import pseudonym_of
from engine.stages.verifying import verify_output
from tests.erasure.conftest import World, make_world
from tests.erasure.sample import LAST, LOCAL, TOML, device, email, person, run_dates
from tests.erasure.scan import found_in
from tests.samples import AS_OF, configuration, write_sample

WHO = 7
CLEAR = (person(WHO), device(WHO), email(WHO))
# Contacts that are merged belong to the world of clear ids; attributes may hold addresses in both.
PSEUDONYMS = TOML.replace('columns = ["region", "email"]', 'columns = ["region"]') + "\n[privacy]\npseudonyms = true\n"
NUMBERS = """
[rfm]
recency = "rank"
frequency = "rank"
monetary = "rank"
"""


@pytest.fixture(scope="module")
def made_pseudonymous(tmp_path_factory: pytest.TempPathFactory) -> World:
    from tests.erasure.sample import KEY

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_KEY", KEY)
        return make_world(tmp_path_factory.mktemp("pseudonyms") / "w", toml=PSEUDONYMS)


@pytest.fixture
def pseudonymous(made_pseudonymous: World, tmp_path: Path) -> Iterator[World]:
    # In its place for one test, and then as it was.
    shutil.copytree(made_pseudonymous.out, tmp_path / "kept")
    yield made_pseudonymous
    shutil.rmtree(made_pseudonymous.out)
    shutil.copytree(tmp_path / "kept", made_pseudonymous.out)


def pseudonyms(config: Config) -> tuple[str, ...]:
    key = load_key(key_source(config))
    return (pseudonym_of(person(WHO), key), pseudonym_of(device(WHO), key))


@pytest.mark.slow
def test_gd05_pseudonyms_are_found_by_the_clear_id_and_erased(pseudonymous: World) -> None:
    config = pseudonymous.config
    names = (*CLEAR, *pseudonyms(config))
    held = subject_of(config, person(WHO))
    assert {part.holding for part in held.held} >= {"rollups", "converted", "tables"}
    assert {name.split("/")[0] for name in found_in(pseudonymous.out, names)} >= {"_rollups", "_converted", "features"}
    erase_people(config, [person(WHO)], "ticket")
    assert found_in(pseudonymous.out, names) == []
    assert subject_of(config, person(WHO)).held == ()
    assert verify_output(pseudonymous.out, deep=True, executor=LOCAL).problems == ()
    run_dates(config, [LAST])
    assert found_in(pseudonymous.out, names) == []


@pytest.mark.slow
def test_gd05_somebody_can_be_named_by_a_pseudonym(pseudonymous: World) -> None:
    key = load_key(key_source(pseudonymous.config))
    other = pseudonym_of(person(9), key)
    assert found_in(pseudonymous.out, [other])
    erase_people(pseudonymous.config, [other], "ticket")
    assert found_in(pseudonymous.out, [other]) == []


@pytest.mark.slow
def test_gd05_whole_numbers_as_ids(tmp_path: Path) -> None:
    file = write_sample(tmp_path / "numbers", 60)
    text = file.read_text(encoding="utf-8")
    quick = text[: text.index("[[targets]]")] + text[text.index("[clusters]") :]
    file.write_text(quick.replace("propensity_buys >= 0.5", "r_score = 5") + NUMBERS, encoding="utf-8")
    config = configuration(file)
    out = Path(config.out)
    fit_run(config, AS_OF, executor=LOCAL)
    score_run(config, AS_OF, executor=LOCAL)
    before = subject_of(config, "17")
    assert {part.holding for part in before.held} >= {"rollups", "tables"}
    users = pl.read_parquet(f"{out}/features/as_of={AS_OF}/*.parquet").height
    erase_people(config, ["17"], "ticket")
    assert subject_of(config, "17").held == ()
    features = pl.read_parquet(f"{out}/features/as_of={AS_OF}/*.parquet")
    assert (features.height, 17 in features["user_id"].to_list()) == (users - 1, False)
    assert 1 in features["user_id"].to_list()
    assert verify_output(out, deep=True, executor=LOCAL).problems == ()
    score_run(config, AS_OF, executor=LOCAL)
    assert subject_of(config, "17").held == ()
    assert pl.read_parquet(f"{out}/features/as_of={AS_OF}/*.parquet").height == users - 1

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.planning.census import take_census
from engine.planning.inputs import due_jobs
from engine.planning.reasons import reasons
from tests.samples import AS_OF, configuration, mail, write_sample


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasons")
    run(configuration(write_sample(folder, users=40)), AS_OF, executor=LocalExecutor(threads=1))
    return folder


def told(config: Config, day: date) -> set[tuple[str, str]]:
    census = take_census(config, day)
    return {(one.item, one.why) for one in reasons(config, census, due_jobs(config, census, day), day)}


def test_nothing_to_do(published: Path) -> None:
    found = told(configuration(published / "tamis.toml"), AS_OF)
    assert found == {
        ("read shop", "nothing to do"),
        ("read mail", "nothing to do"),
        ("fit", "nothing to do"),
        ("score", "nothing to do"),
    }


def test_the_next_day_and_the_next_fit(published: Path) -> None:
    config = configuration(published / "tamis.toml")
    assert ("score", "first time") in told(config, AS_OF + timedelta(days=1))
    late = AS_OF + timedelta(days=config.refit_after_days)
    assert ("fit", "model") in told(config, late)


def test_another_configuration(published: Path) -> None:
    config = configuration(published / "tamis.toml", model__trees=9)
    found = told(config, AS_OF)
    assert ("fit", "configuration") in found
    assert {why for item, why in found if item == "score"} == {"configuration", "model"}
    rules = configuration(published / "tamis.toml", guards__max_shift=0.9)
    assert ("fit", "nothing to do") in told(rules, AS_OF)
    assert ("score", "configuration") in told(rules, AS_OF)


def test_another_code_version(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.identity.version", lambda name: f"{name} 0")
    assert ("score", "code version") in told(configuration(published / "tamis.toml"), AS_OF)


def test_new_and_changed_files(tmp_path: Path) -> None:
    config = configuration(write_sample(tmp_path, users=40))
    assert {why for item, why in told(config, AS_OF) if item.startswith("read")} == {"new data"}
    assert ("fit", "first time") in told(config, AS_OF)
    run(config, AS_OF, executor=LocalExecutor(threads=1))
    mail(40, seed=8).write_parquet(tmp_path / "mail" / "001.parquet")
    found = told(config, AS_OF)
    assert ("read mail", "new data") in found
    assert ("read shop", "nothing to do") in found
    assert ("score", "new data") in found
    mail(40, seed=9).write_parquet(tmp_path / "mail" / "000.parquet")
    (tmp_path / "mail" / "001.parquet").unlink()
    assert ("read mail", "changed file") in told(config, AS_OF)


@pytest.mark.parametrize(
    ("day", "code"), [(date(2020, 1, 1), "plan-no-events"), (date(2036, 1, 1), "plan-date-future")]
)
def test_days_that_the_log_does_not_have(published: Path, day: date, code: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        take_census(configuration(published / "tamis.toml"), day)
    assert caught.value.code == code

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import Config
from engine.config_contacts import Cleaning
from engine.erasure.erase import plan_erasure
from engine.erasure.resolve import check_ids
from engine.erasure.subject import subject_of
from engine.errors import ConfigError
from tests.exports.published import PREMIUM, make, people


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    # The id of 3 is an address, which somebody else has as well.
    contacts = people(
        {"1": "Ann@Example.org", "2": None, "c@example.org": "c@example.org", "4": "c@example.org"},
        mobile=["06 11 11 11 11", None, None, None],
    )
    made = make(tmp_path, contacts, members={PREMIUM: ["1", "2"]}, email="mail")
    assert made.contacts is not None
    cleaned = made.contacts.model_copy(update={"cleaning": Cleaning(phone="mobile")})
    return made.model_copy(update={"contacts": cleaned})


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        (["1", "ann@example.org"], "2"),
        (["+33 6 11 11 11 11", "1", "ANN@example.org "], "1, 3"),
        (["c@example.org", "d@example.org", "+33622222222", "0611111111", "1"], None),
    ],
)
def test_gd05_an_address_that_is_given_as_an_id_is_refused(
    config: Config, asked: list[str], numbers: str | None
) -> None:
    if numbers is None:
        check_ids(config, asked)
        return
    with pytest.raises(ConfigError) as refused:
        check_ids(config, asked)
    assert refused.value.code == "user-address"
    assert refused.value.message.startswith(f"number {numbers} of those given")
    assert "example.org" not in refused.value.message + refused.value.hint


def test_gd05_neither_erasure_nor_access_takes_an_address_for_a_person(config: Config) -> None:
    for command in (lambda: plan_erasure(config, ["ann@example.org"]), lambda: subject_of(config, "ann@example.org")):
        with pytest.raises(ConfigError, match="no id of a user"):
            command()

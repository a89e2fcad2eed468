from __future__ import annotations

import tomllib
from pathlib import Path

import polars as pl
import pytest

from engine.config import Segment
from engine.errors import ConfigError
from engine.why.freeze import freeze
from tests.samples import AS_OF
from tests.why.published_sample import EARLIER, Sample


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_list_has_the_users_of_the_day(sample: Sample, tmp_path: Path, ending: str) -> None:
    found = freeze(sample.config, "buyers", EARLIER, tmp_path / f"list.{ending}", beside=tmp_path)
    read = pl.read_csv if ending == "csv" else pl.read_parquet
    members = sample.table("memberships", EARLIER).filter(pl.col("segment") == "buyers")
    assert read(found.file)["user_id"].to_list() == sorted(members["user_id"])
    assert found.users == members.height
    [stanza] = tomllib.loads(found.stanza)["segments"]
    assert Segment.model_validate(stanza).frozen_on == EARLIER
    assert (stanza["name"], stanza["list"]) == ("buyers 2026-02-15", f"list.{ending}")


def test_a_list_elsewhere_has_its_whole_path(sample: Sample, tmp_path: Path) -> None:
    found = freeze(sample.config, "buyers", AS_OF, tmp_path / "l.csv", called="x", beside=sample.file.parent)
    [stanza] = tomllib.loads(found.stanza)["segments"]
    assert (stanza["name"], stanza["list"]) == ("x", str(tmp_path / "l.csv"))


@pytest.mark.parametrize(
    ("name", "file", "code"),
    [
        ("buyers", "there.csv", "list-exists"),
        ("Été", "new.csv", "list-empty"),
        ("bayers", "new.csv", "segment-unknown"),
    ],
)
def test_what_is_refused(sample: Sample, tmp_path: Path, name: str, file: str, code: str) -> None:
    (tmp_path / "there.csv").write_text("user_id\n1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        freeze(sample.config, name, AS_OF, tmp_path / file, beside=tmp_path)
    assert caught.value.code == code
    assert (tmp_path / "there.csv").read_text(encoding="utf-8") == "user_id\n1\n"

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Segment
from engine.config_consent import Consent
from engine.errors import ConfigError
from engine.why.freeze import freeze
from tests.consent.logs import frame, saved
from tests.consent.sample import LONG_AGO, MAILS, NO, PROFILING, YES
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


def test_gd01_who_has_withdrawn_since_or_objects_is_not_in_a_list(sample: Sample, tmp_path: Path) -> None:
    everybody = sorted(sample.table("memberships", EARLIER).filter(pl.col("segment") == "buyers")["user_id"])
    gone, no_mails, objecting, again = everybody[:4]
    since = LONG_AGO + timedelta(days=9_000)
    rows = [(user, purpose, YES, LONG_AGO) for user in everybody for purpose in (PROFILING, MAILS)]
    # The last word is dated after the day, one of them after all days that have been.
    rows += [(gone, PROFILING, NO, since), (no_mails, MAILS, NO, LONG_AGO.replace(year=2900))]
    rows += [
        (again, PROFILING, NO, LONG_AGO + timedelta(hours=1)),
        (again, PROFILING, YES, LONG_AGO.replace(year=2900)),
    ]
    log = saved(frame(rows, pl.Int64()), tmp_path / "consents.parquet")
    (tmp_path / "no.txt").write_text(f"{objecting}\n", encoding="utf-8")
    asked = [
        one.model_copy(update={"purposes": (MAILS,)} if one.name == "buyers" else {}) for one in sample.config.segments
    ]
    config = sample.config.model_copy(
        update={
            "consent": Consent(path=str(log), user_id="user_id"),
            "privacy": sample.config.privacy.model_copy(update={"opposed": (str(tmp_path / "no.txt"),)}),
            "segments": tuple(asked),
        }
    )
    found = freeze(config, "buyers", EARLIER, tmp_path / "list.csv", beside=tmp_path)
    assert pl.read_csv(found.file)["user_id"].to_list() == everybody[4:]
    assert (found.users, found.withheld, found.without_consent) == (len(everybody) - 4, 3, 1)
    assert tomllib.loads(found.stanza)["segments"][0]["purposes"] == [MAILS]
    # A list that cannot be told to be without them is not written.
    log.unlink()
    with pytest.raises(ConfigError, match="consent"):
        freeze(config, "buyers", EARLIER, tmp_path / "other.csv", beside=tmp_path)
    assert not (tmp_path / "other.csv").exists()

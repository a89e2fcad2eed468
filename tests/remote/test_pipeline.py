from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError, DataError, IntegrityError, TamisError, TransientError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.pipeline import check_run, features_run, run
from engine.stages.opening import open_run
from tests.remote.conftest import Bucket
from tests.remote.proxy import Fault
from tests.samples import AS_OF, TOML, configuration, mail, shop, write_sample

# Each day is a folder of its own, which is listed again and again.
MAIL_DAYS = 3
DAILY = TOML.replace('path = "mail"', 'path = "mail/date=*"')


def by_day(folder: Path, frame: pl.DataFrame) -> None:
    for (day,), part in frame.group_by(pl.col("at").dt.date(), maintain_order=True):
        file = folder / f"date={day}" / "part-0.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(file)


@dataclass(frozen=True)
class Twins:
    """One log twice: in a folder, and in a bucket."""

    folder: Path
    bucket: Bucket

    def local(self, **overrides: object) -> Config:
        return configuration(self.folder / "tamis.toml", **overrides)

    def remote(self, **overrides: object) -> Config:
        file = self.folder / "remote" / "tamis.toml"
        file.parent.mkdir(exist_ok=True)
        text = (self.folder / "tamis.toml").read_text(encoding="utf-8")
        for path in ("shop", "mail", "contacts.parquet", "links.parquet"):
            text = text.replace(f'path = "{path}', f'path = "{self.bucket.url}/in/{path}')
        file.write_text(text, encoding="utf-8")
        return configuration(file, **overrides)


@pytest.fixture
def twins(tmp_path: Path, bucket: Bucket) -> Twins:
    """A small log; the mails in files of a day."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_sample(folder, 12, toml=DAILY)
    for file in (folder / "mail").iterdir():
        file.unlink()
    by_day(folder / "mail", mail(12, days=MAIL_DAYS))
    pl.DataFrame({"from": [900], "to": [1]}).write_parquet(folder / "links.parquet")
    for name in ("shop", "mail", "contacts.parquet", "links.parquet"):
        bucket.upload(folder / name, f"in/{name}")
    bucket.proxy.requests.clear()
    return Twins(folder, bucket)


def hashes(folder: Path) -> list[str]:
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.parquet"))


def features(config: Config, to: Path, executor: Executor) -> list[str]:
    features_run(config, AS_OF, to, executor=executor)
    return hashes(to)


@pytest.mark.parametrize(
    "executor", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])], indirect=True
)
def test_features_are_those_of_local_files(twins: Twins, tmp_path: Path, executor: Executor) -> None:
    toml = twins.folder / "tamis.toml"
    identity = '\n[identity]\npath = "links.parquet"\nanonymous_id = "from"\nuser_id = "to"\n'
    toml.write_text(toml.read_text(encoding="utf-8") + identity, encoding="utf-8")
    expected = features(twins.local(), tmp_path / "local", LocalExecutor())
    found = features(twins.remote(), tmp_path / "remote", executor)
    assert expected
    assert found == expected
    assert not (twins.folder / "remote" / "out" / "_remote").exists()
    # Nothing was new: nothing is read of the log.
    twins.bucket.proxy.requests.clear()
    assert features(twins.remote(), tmp_path / "again", executor) == expected
    assert twins.bucket.proxy.asked("GET", r"/in/(shop|mail)/.*parquet") == 0


@pytest.mark.slow
def test_only_what_is_new_is_fetched(twins: Twins, tmp_path: Path) -> None:
    config = twins.remote()
    features(config, tmp_path / "first", LocalExecutor())
    assert twins.bucket.proxy.asked("GET", r"/in/shop/000\.parquet") == 1
    twins.bucket.proxy.requests.clear()
    new = twins.folder / "mail" / "date=2026-02-20" / "part-0.parquet"
    new.parent.mkdir()
    mail(5, days=1).with_columns(pl.col("at").dt.offset_by("81d"), message="n" + pl.col("message")).write_parquet(new)
    twins.bucket.upload(new, "in/mail/date=2026-02-20/part-0.parquet")
    found = features(config, tmp_path / "second", LocalExecutor())
    assert found == features(twins.local(), tmp_path / "local", LocalExecutor())
    assert twins.bucket.proxy.asked("GET", r"/in/mail/.*\.parquet") == 1
    assert twins.bucket.proxy.asked("GET", r"/in/shop/.*\.parquet") == 0


@pytest.mark.slow
def test_faults_that_end_change_nothing(twins: Twins, tmp_path: Path) -> None:
    expected = features(twins.local(), tmp_path / "local", LocalExecutor())
    twins.bucket.proxy.faults += [
        Fault(kind, path, times=2)
        for kind, path in (
            ("503", "list-type"),
            ("short", "shop/000"),
            ("cut", "contacts.parquet"),
            ("reset", "part-0"),
        )
    ]
    assert features(twins.remote(), tmp_path / "remote", LocalExecutor()) == expected
    assert set(twins.bucket.proxy.failed) == {"503", "short", "cut", "reset"}


CASES = {
    "no bucket": ({"sources__shop__path": "s3://nosuch-bucket/shop"}, [], "remote-not-found", 2),
    "no file": ({"sources__shop__path": "{url}/in/nosuch/*.parquet"}, [], "input-no-files", 2),
    "no contacts": ({"contacts__path": "{url}/in/nosuch.parquet"}, [], "input-no-files", 2),
    "another kind of store": ({"sources__shop__path": "ftp://host/log"}, [], "input-remote", 2),
    "wrong credentials": ({}, [Fault("403"), Fault("403", method="HEAD")], "remote-denied", 2),
    "credentials that may only list": ({}, [Fault("403", "shop/000")], "remote-denied", 2),
    "the store is down": ({}, [Fault("503"), Fault("503", method="HEAD")], "remote-unavailable", 75),
    "one file is never answered": ({}, [Fault("503", "shop/000")], "remote-unavailable", 75),
    "one file is always cut": ({}, [Fault("short", "shop/000")], "remote-unavailable", 75),
}
# As far as an attempt to read a file, of which one case is enough every day.
LONG = {"credentials that may only list", "one file is never answered"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in CASES]
)
def test_what_cannot_be_read_is_told_and_nothing_is_written(twins: Twins, name: str) -> None:
    changes, faults, code, exit_code = CASES[name]
    config = twins.remote(**{key: value.format(url=twins.bucket.url) for key, value in changes.items()})
    twins.bucket.proxy.faults += [Fault(fault.kind, fault.path, fault.method) for fault in faults]
    with pytest.raises(TamisError) as caught:
        run(config, AS_OF, executor=LocalExecutor())
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert not Path(config.out).exists()


def test_nobody_listens(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    config = twins.remote()
    with pytest.raises(TransientError, match=r"cannot list s3://.* after 3 attempts") as caught:
        run(config, AS_OF, executor=LocalExecutor())
    assert caught.value.code == "remote-unavailable"
    assert not Path(config.out).exists()


def test_damaged_files_are_named_by_their_address(twins: Twins) -> None:
    url = twins.bucket.put("in/shop/001.parquet", b"PAR1 and nothing else PAR1")
    config = twins.remote()
    with pytest.raises(DataError) as caught:
        open_run(config)
    assert caught.value.code == "input-unreadable"
    assert url in caught.value.message
    assert "_remote" not in caught.value.message
    assert not Path(config.out).exists()


def torn(file: Path) -> bytes:
    """A file whose footer is whole and whose data is not."""
    whole = file.read_bytes()
    return whole[:40] + b"\xff" * 200 + whole[240:]


@pytest.mark.slow
def test_files_that_are_left_out_are_named_by_their_address(twins: Twins, tmp_path: Path) -> None:
    whole = features(twins.local(), tmp_path / "whole", LocalExecutor())
    bad = [
        twins.bucket.put("in/shop/001.parquet", b"PAR1 and nothing else PAR1"),
        twins.bucket.put("in/shop/002.parquet", torn(twins.folder / "shop" / "000.parquet")),
        # Alone in its unit.
        twins.bucket.put("in/mail/date=2026-02-20/part-0.parquet", torn(min(twins.folder.glob("mail/*/*.parquet")))),
    ]
    config = twins.remote(checks__bad_files="quarantine")
    for folder in ("once", "again"):
        # Once looked at, they are remembered.
        record = features_run(config, AS_OF, tmp_path / folder, executor=LocalExecutor())
        assert sorted(one["file"] for one in record.counts["quarantined"]) == sorted(bad)
        [warning] = [line for line in record.counts["warnings"] if "left out" in line]
        assert warning.startswith("3 files of the log cannot be read")
        assert all(f"{url} (" in warning for url in bad)
        assert "_remote" not in str(record.counts)
        assert hashes(tmp_path / folder) == whole
    counted = check_run(config, AS_OF, executor=LocalExecutor()).counts
    assert sorted(one["file"] for one in counted["quarantined"]) == sorted(bad)
    # Damage that only shows when the rows are read.
    twins.bucket.store.delete_file(f"{twins.bucket.name}/in/shop/001.parquet")
    with pytest.raises(DataError) as caught:
        run(twins.remote(), AS_OF, executor=LocalExecutor())
    assert caught.value.code == "input-unreadable"
    assert all(url in caught.value.message for url in bad[1:])
    assert "_remote" not in caught.value.message


def test_contacts_are_named_by_their_address(twins: Twins) -> None:
    config = twins.remote(contacts__user_id="nosuch")
    with pytest.raises(DataError) as caught:
        open_run(config)
    assert caught.value.code == "contacts-columns"
    assert f"{twins.bucket.url}/in/contacts.parquet" in caught.value.message


@pytest.mark.slow
def test_a_check_writes_nothing(twins: Twins) -> None:
    config = twins.remote()
    record = check_run(config, AS_OF, executor=LocalExecutor())
    assert record.counts["rows"]["read"] == shop(12).height + mail(12, days=MAIL_DAYS).height
    assert not Path(config.out).exists()


@pytest.mark.slow
def test_input_that_changes_during_a_run_is_noticed(twins: Twins, tmp_path: Path) -> None:
    config = twins.remote()

    class Replacing(LocalExecutor):
        def map(self, function: Any, tasks: Any, **more: Any) -> Any:
            if function.__name__ == "write_features":
                twins.bucket.put("in/shop/000.parquet", b"another one")
            return super().map(function, tasks, **more)

    with pytest.raises(IntegrityError) as caught:
        features_run(config, AS_OF, tmp_path / "to", executor=Replacing())
    assert caught.value.code == "input-changed"
    assert f"{twins.bucket.url}/in/shop/000.parquet" in caught.value.message


@pytest.mark.slow
def test_text_files_are_converted_once(twins: Twins, tmp_path: Path) -> None:
    for frame, name in ((shop(12), "shop"), (mail(12, days=MAIL_DAYS), "mail/date=x")):
        (twins.folder / name).mkdir(parents=True, exist_ok=True)
        for file in (twins.folder / name).glob("*.parquet"):
            file.unlink()
            twins.bucket.store.delete_file(f"{twins.bucket.name}/in/{name}/{file.name}")
        if name == "shop":
            frame.write_csv(twins.folder / "shop" / "000.csv")
            twins.bucket.upload(twins.folder / "shop" / "000.csv", "in/shop/000.csv")
    expected = features(twins.local(), tmp_path / "local", LocalExecutor())
    assert features(twins.remote(), tmp_path / "remote", LocalExecutor()) == expected
    assert twins.bucket.proxy.asked("GET", r"/000\.csv") == 1
    features(twins.remote(), tmp_path / "again", LocalExecutor())
    assert twins.bucket.proxy.asked("GET", r"/000\.csv") == 1


def test_a_list_in_a_bucket(twins: Twins) -> None:
    from engine.segments.definitions import definitions
    from engine.segments.static_lists import read_lists

    entry = '\n[[segments]]\nname = "vip"\nlist = "{path}"\nfrozen_on = 2026-01-01\n'
    toml = twins.folder / "tamis.toml"
    text = toml.read_text(encoding="utf-8")
    listed = twins.folder / "vip.csv"
    listed.write_text("user_id\n3\n1\n", encoding="utf-8")
    url = twins.bucket.upload(listed, "in/vip.csv")
    found = []
    for path in (str(listed), url):
        toml.write_text(text + entry.format(path=path), encoding="utf-8")
        plan = definitions(twins.local())
        found.append(([one.version for one in plan], read_lists(plan, "Int64")["vip"].to_list()))
    assert found[0] == found[1]
    assert found[0][1] == [1, 3]
    toml.write_text(text + entry.format(path=f"{url}.gone"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        definitions(twins.local())
    assert caught.value.code == "segment-list"
    assert f"{url}.gone" in caught.value.message

from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pytest

from engine.errors import DataError, IntegrityError, ResourceError, TamisError, TransientError
from engine.events.read import reading, unchanged

IO = pl.exceptions.ComputeError


def told(error: BaseException) -> TamisError:
    with pytest.raises(TamisError) as caught, reading("source 'log'", "/data/a.parquet"):
        raise error
    return caught.value


def in_words(number: int, kind: type[BaseException] = OSError) -> BaseException:
    """As Polars tells it."""
    return kind(f"{os.strerror(number)} (os error {number}): /data/a.parquet")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), TransientError, "storage-unreachable"),
        (in_words(errno.ESTALE), TransientError, "storage-unreachable"),
        (in_words(errno.ESTALE, IO), TransientError, "storage-unreachable"),
        (in_words(errno.ETIMEDOUT), TransientError, "storage-unreachable"),
        (in_words(errno.EIO), ResourceError, "disk-failed"),
        (in_words(errno.EMFILE), ResourceError, "system-limit"),
        (in_words(errno.ENOENT), DataError, "input-unreadable"),
        (in_words(errno.EACCES), DataError, "input-unreadable"),
        (OSError("thrift"), DataError, "input-unreadable"),
        (IO("parquet: File out of specification"), DataError, "input-unreadable"),
        (IO("could not find an appropriate format to parse dates"), DataError, "events-values"),
    ],
)
def test_what_went_wrong(error: BaseException, kind: type[TamisError], code: str) -> None:
    failure = told(error)
    assert (type(failure), failure.code) == (kind, code)
    assert "source 'log'" in failure.message
    assert "/data/a.parquet" in failure.message
    assert "cannot write" not in failure.message


@pytest.mark.parametrize("chunk", ["1 out of 1 values", "1 out of 2 values", "12 out of 99 values"])
def test_a_message_does_not_depend_on_how_the_rows_were_cut(chunk: str) -> None:
    conversion = pl.exceptions.InvalidOperationError(
        f"conversion from `str` to `i64` failed in column 'a' for {chunk}: [\"x\"]"
    )
    assert told(conversion).message == (
        "source 'log': /data/a.parquet: InvalidOperationError: conversion from `str` to `i64` failed in column 'a'"
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"12345")
    os.utime(path, ns=(7, 7))
    return path


def test_an_unchanged_file(file: Path) -> None:
    with unchanged("source 'log'", str(file), (5, 7)):
        pass
    with unchanged("source 'log'", "nosuch", None):
        pass


@pytest.mark.parametrize("stamp", [(4, 7), (5, 8)])
def test_a_file_that_changed_before_it_was_read(file: Path, stamp: tuple[int, int]) -> None:
    done = []
    with pytest.raises(IntegrityError, match="was replaced") as caught, unchanged("source 'log'", str(file), stamp):
        done.append("read")
    assert (caught.value.code, done) == ("input-changed", [])


def test_a_file_that_changes_while_it_is_read(file: Path) -> None:
    with (
        pytest.raises(IntegrityError, match=r"source 'log': .*a\.parquet was removed"),
        unchanged("source 'log'", str(file), (5, 7)),
    ):
        file.unlink()


def test_a_damaged_file_is_told_from_one_that_changes(file: Path) -> None:
    with pytest.raises(DataError), unchanged("source 'log'", str(file), (5, 7)):
        raise DataError("malformed", code="input-unreadable")


def test_a_file_that_looks_damaged_because_it_changes(file: Path) -> None:
    def read() -> None:
        with unchanged("source 'log'", str(file), (5, 7)):
            file.write_bytes(b"123456")
            raise DataError("malformed", code="input-unreadable")

    with pytest.raises(IntegrityError, match="was replaced"):
        read()


def test_storage_that_does_not_answer_for_the_time_of_change(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(_: Path) -> object:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "stat", stale)
    with pytest.raises(TransientError, match="Stale file handle"), unchanged("source 'log'", str(file), (5, 7)):
        pass

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.exports.listed import Phones, forms
from engine.exports.suppression import read_suppressed


def parquet(frame: pl.DataFrame) -> Callable[[Path], object]:
    return frame.write_parquet


def text(content: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("name", "write", "addresses"),
    [
        ("a.txt", text("A@b.org\r\n\r\n c@d.org \r\n"), ["a@b.org", "c@d.org"]),
        ("a.txt", text('"a@b.org"\n'), ["a@b.org"]),
        ("a.csv", text("EMAIL;NAME\na@b.org;x\n;y\n"), ["a@b.org"]),
        ("a.csv", text('\ufeffName,Email Address\n"x, y",a@b.org\n'), ["a@b.org"]),
        ("a.csv", text("user_id\temail\n7\ta@b.org\n"), ["7", "a@b.org"]),
        ("a.csv", text("Adresse e-mail\na@b.org\n"), ["a@b.org"]),
        ("a.csv", text("courriel;x\na@b.org;1\n"), ["a@b.org"]),
        ("a.csv", text(""), []),
        ("a.parquet", parquet(pl.DataFrame({"anything": ["a@b.org", None]})), ["a@b.org"]),
        ("a.parquet", parquet(pl.DataFrame({"user_id": [7], "x": [1.5]})), ["7"]),
    ],
)
def test_lists_of_several_kinds(
    tmp_path: Path, name: str, write: Callable[[Path], object], addresses: list[str]
) -> None:
    write(tmp_path / name)
    found = read_suppressed([tmp_path / name, tmp_path / name], ["courriel"])
    assert found.addresses.to_list() == addresses
    assert found.files == ((str(tmp_path / name), len(addresses)),)


def test_ids_are_whole_numbers_or_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("007\n+8\nx1\n", encoding="utf-8")
    found = read_suppressed([tmp_path / "a.txt"])
    users = pl.DataFrame({"id": ["7", "8", "x1", "X1", "9"], "address": ["a@b.org", None, None, None, None]})
    held = users.select(found.holds(pl.col("address"), pl.col("id")).alias("held"))["held"]
    assert held.to_list() == [True, True, True, False, False]
    # Ids that are text keep their zeros.
    assert {"007", "7"} <= set(found.ids)


@pytest.mark.parametrize(
    ("value", "region", "address", "ids"),
    [
        ("+33 6 12-34.56 78", "FR", "tel:33612345678", {"+33 6 12-34.56 78"}),
        ("0612345678", "FR", "tel:33612345678", {"0612345678", "612345678"}),
        ("0612345678", None, "tel:0612345678", {"0612345678", "612345678"}),
        ("0033612345678", None, "tel:33612345678", {"0033612345678", "33612345678"}),
        ("(030) 123456", "DE", "tel:4930123456", {"(030) 123456"}),
        ("tel:612345678", "FR", "tel:33612345678", {"tel:33612345678"}),
        ("tel:none", "FR", None, set()),
        ("612345678", "FR", "612345678", {"612345678"}),
        ("u-612345678", "FR", "u-612345678", {"u-612345678"}),
        ("Ann@B.org", "FR", "ann@b.org", {"Ann@B.org"}),
    ],
)
def test_a_value_is_all_that_it_may_be(value: str, region: str | None, address: str | None, ids: set[str]) -> None:
    found = forms(pl.Series([value]), Phones(("mobile",), region))
    assert set(found["address"]) == ({address} - {None})
    assert set(found["id"]) == ids


def test_numbers_are_taken_where_they_can_be_compared_and_refused_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("E-mail;Mobile\na@b.org;612345678\nb@b.org;-\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("u1\n+33 6 12 34 56 78\n", encoding="utf-8")
    (tmp_path / "c.csv").write_text("user_id\n+33612345678\n", encoding="utf-8")
    paths = [tmp_path / name for name in ("a.csv", "b.txt", "c.csv")]
    found = read_suppressed(paths, [], Phones(("mobile",), "FR"))
    assert set(found.addresses) == {"a@b.org", "b@b.org", "tel:33612345678", "u1"}
    assert [values for _, values in found.files] == [3, 2, 1]
    assert set(read_suppressed([paths[0]], [], Phones()).addresses) == {"a@b.org", "b@b.org"}
    with pytest.raises(ConfigError, match="1 of its values can only be telephone numbers") as refused:
        read_suppressed(paths, [], Phones())
    # Below the header of ids it is an id.
    assert "b.txt" in refused.value.message
    assert "c.csv" not in refused.value.message
    assert "612" not in refused.value.message


def test_lists_that_cannot_be_read_are_all_named_without_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("né@b.org".encode("latin-1"))
    (tmp_path / "columns.csv").write_text("secret@b.org;x\nb@b.org;y\n", encoding="utf-8")
    (tmp_path / "no.parquet").write_bytes(b"secret@b.org")
    paths = [tmp_path / name for name in ("latin.txt", "columns.csv", "no.parquet", "gone.txt", "gone.parquet")]
    with pytest.raises(ConfigError) as refused:
        read_suppressed(paths)
    assert refused.value.code == "export-suppress"
    assert all(str(path) in str(refused.value) for path in paths)
    assert "secret" not in str(refused.value)

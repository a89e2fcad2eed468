from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.erasure.named import is_named
from engine.erasure.people import People
from engine.erasure.proof import files_with, holds

NUMBER = 700000007
WEIRD = 'Zoë "50%"\n/x'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"rows": NUMBER}, False),
        ({"size": NUMBER, "modificationTime": NUMBER}, False),
        ({"counts": {"events": {"purchase": NUMBER}}}, False),
        ({"summary": {"added-files-size": str(NUMBER)}}, False),
        ({"stats": json.dumps({"numRecords": NUMBER})}, False),
        ({"share": 700000007.5, "all": True}, False),
        ({"users": NUMBER}, False),
        ({"users": [NUMBER]}, True),
        ({"rfm_edges": {"recency": {"users": [1, NUMBER], "values": [3]}}}, True),
        ({"anything": NUMBER}, True),
        ({"rows": {"of": NUMBER}}, True),
        ({"user_id": str(NUMBER)}, True),
        ({"counts": {"warnings": [f"no user {NUMBER}"]}}, True),
        ({"counts": {str(NUMBER): 1}}, True),
        ({"stats": json.dumps({"minValues": {"user_id": NUMBER}})}, True),
        ({"rows": f"of {NUMBER}"}, True),
        ([{"rows": 1}, NUMBER], True),
    ],
)
def test_an_id_in_json_is_found_and_a_figure_of_its_digits_is_not(content: Any, expected: bool) -> None:
    people = People((str(NUMBER),), user_dtype="Int64")
    assert is_named("a.json", json.dumps(content).encode(), people) is expected
    assert is_named("a.json", json.dumps(content, indent=2).encode(), people) is expected
    lines = b"\n".join(json.dumps(one).encode() for one in ({"rows": 3}, content))
    assert is_named("_delta_log/0.json", lines, people) is expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b'{"rows": 700000007}'),
        ("a.json", b'{"rows": 700000007'),
        ("a.json", b'{"rows": 700000007}}'),
        ("a.json", b'{"user_id": 700000007, "user_id": 3}'),
    ],
)
def test_what_is_no_json_is_searched_byte_by_byte(name: str, content: bytes) -> None:
    assert is_named(name, content, People((str(NUMBER),)))


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_name_is_found_however_json_writes_it(ascii_only: bool) -> None:
    people = People((WEIRD,))
    content = json.dumps({"warnings": [f"not {WEIRD}: here"]}, ensure_ascii=ascii_only).encode()
    assert WEIRD.encode() not in content
    assert is_named("a.json", content, people)
    assert not is_named("a.json", json.dumps({"warnings": ["Zoë \n"]}).encode(), people)


def test_a_name_of_letters_is_found_in_every_field() -> None:
    assert is_named("a.json", b'{"rows": "user-1"}', People(("user-1",)))


def test_the_proof_reads_json_and_the_names_of_files(tmp_path: Path) -> None:
    people = People((str(NUMBER), WEIRD))
    (tmp_path / "sizes.json").write_text(json.dumps({"bytes": NUMBER}), encoding="utf-8")
    (tmp_path / "edges.json").write_text(json.dumps({"users": [NUMBER]}), encoding="utf-8")
    folder = tmp_path / "segment=Zo%C3%AB%20%2250%25%22%0A%2Fx"
    folder.mkdir()
    (folder / "part.txt").write_bytes(b"nobody")
    assert not holds(tmp_path / "sizes.json", people)
    assert files_with(tmp_path, people) == ["edges.json", f"{folder.name}/part.txt"]

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.exports.published import PREMIUM, make, people

TOML = """\
[[sources]]
name = "shop"
path = "none.parquet"
[sources.columns]
user_id = "u"
event_type = { value = "purchase" }
event_time = "t"

[contacts]
path = "contacts.parquet"
user_id = "client"

[exports]
email = "mail"
attributes = { SEGMENT = "segment" }
suppress = ["no.txt"]
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = {1: "a@b.org", 2: None, 3: "c@b.org"}
    make(tmp_path, people(rows, prenom=["x" * 300] * 3), members={PREMIUM: [1, 2, 3]})
    (tmp_path / "tamis.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "no.txt").write_text("c@b.org\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_export(tamis: Callable[..., Result], shop: Path) -> None:
    done = tamis("export", "brevo", "--segment", PREMIUM, "--to", "sent", "--set", "exports.first_name=prenom")
    assert done.exit_code == 0
    assert "without address  suppressed" in done.stdout
    assert [path.suffix for path in sorted((shop / "sent").iterdir())] == [".csv", ".json"]
    again = tamis("export", "brevo", "--segment", PREMIUM, "--to", "sent", "--json")
    assert again.exit_code == 2
    assert json.loads(again.stdout)["error"]["code"] == "folder-not-empty"


def test_the_record_as_json_and_cut_texts(tamis: Callable[..., Result], shop: Path) -> None:
    options = ("--segment", PREMIUM, "--to", "sent", "--json", "--set", "exports.first_name=prenom")
    done = tamis("export", "mailchimp", *options)
    record = json.loads(done.stdout)
    (unit,) = record["segments"]
    assert (unit["users"], unit["written"], unit["left_out"]["suppressed"]) == (3, 1, 1)
    assert record["suppression"] == [{"file": str(shop / "no.txt"), "values": 1}]
    assert "1 text cut at 255 bytes in 'First Name'" in done.stderr

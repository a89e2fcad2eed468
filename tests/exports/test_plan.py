from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.config_exports import Ga4Export
from engine.errors import ConfigError
from engine.exports.plan import plan_export
from engine.why.published import open_published
from tests.exports.published import PREMIUM, make, people


@pytest.mark.parametrize(
    ("tool", "exports", "words"),
    [
        ("brevo", {}, ["exports.email"]),
        ("brevo", {"email": "mial", "first_name": "mial"}, ["exports.email: no column 'mial'", "first_name"]),
        ("brevo", {"email": "mail", "attributes": {"A B": "segment", "X": "spent"}}, ["'A B'", "did you mean 'spend'"]),
        ("brevo", {"email": "mail", "attributes": {"x": "spend", "X": "segment"}}, ["'X' stands twice"]),
        ("brevo", {"email": "mail", "attributes": {"email": "mail"}}, ["'EMAIL' stands twice"]),
        ("mailchimp", {"email": "mail", "attributes": {"Tags": "spend"}}, ["'Tags' stands twice"]),
        ("listmonk", {"email": "mail", "attributes": {"pages": "pages"}}, ["List(Int64)"]),
        ("ga4", {}, ["exports.ga4.properties"]),
        ("ga4", {"email": "mail", "ga4": {"properties": {"p": "mail"}}}, ["says who somebody is"]),
        ("csv", {"csv": {"columns": {"mail": "email"}}}, ["no column 'email'"]),
    ],
)
def test_what_cannot_be_exported_is_told_at_once(
    tmp_path: Path, tool: Any, exports: dict[str, Any], words: list[str]
) -> None:
    features = {"spend": [1], "pages": [[1]]}
    config = make(tmp_path, people({1: "a@b.org"}), members={PREMIUM: [1]}, features=features, **exports)
    files = [str(tmp_path / "contacts.parquet")]
    with pytest.raises(ConfigError) as refused:
        plan_export(config, open_published(Path(config.out), None), tool, files)
    assert refused.value.code == "export-columns"
    assert all(word in str(refused.value) for word in words)


def test_client_ids_belong_to_a_stream() -> None:
    with pytest.raises(ValidationError, match="needed together"):
        Ga4Export(client_id="ga")

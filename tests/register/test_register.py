from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.register.page import page_of
from engine.register.places import register_folder, register_path
from engine.tables.layout import manifest_path
from engine.tables.manifest import Manifest, read_manifest
from tests.samples import AS_OF, configuration, write_sample

PRIVACY = {
    "controller": "Tamis Shop, 1 rue de la Paix, Paris",
    "officer": "dpo at the shop",
    "recipients": ("E-mail tool | the agency",),
    "legal_basis": {"profiling": "consent"},
    "transfers": "none",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("register")
    config = configuration(write_sample(folder, users=60))
    config = Config.model_validate(config.model_dump() | {"privacy": {**config.privacy.model_dump(), **PRIVACY}})
    run(config, AS_OF, executor=LocalExecutor())
    return config


def record_in(config: Config, kind: Any = "score") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(register_path(Path(config.out), kind, AS_OF, "json").read_bytes())
    return found


def manifest_of(config: Config) -> Manifest:
    return read_manifest(manifest_path(Path(config.out), AS_OF))


def test_gd04_each_run_leaves_a_record_of_processing(ran: Config) -> None:
    record, manifest = record_in(ran), manifest_of(ran)
    assert (record["run_id"], record["bundle"]) == (manifest.run_id, manifest.bundle)
    assert record["controller"] == PRIVACY["controller"]
    assert record["legal_basis"] == {"profiling": "consent"}
    assert [(one["source"], one["files"]) for one in record["sources"][:2]] == [("shop", 1), ("mail", 1)]
    assert [one["what"] for one in record["sources"]] == ["events", "events", "contacts"]
    assert all(len(one["sha256"]) == 64 for one in record["sources"][:2])
    assert record["data"]["contact_attributes"] == ["region"]
    assert {"purchase", "email_send", "email_open"} <= set(record["data"]["event_types"])
    assert record["counts"]["users"] == manifest.counts["users"]
    assert record["counts"]["rows"] == manifest.counts["rows"]
    assert record["data"]["tables"] == {table.name: [name for name, _ in table.schema] for table in manifest.tables}
    assert [one["target"] for one in record["targets"]] == ["buys"]
    assert {one["segment"] for one in record["segments"]} >= {"North / big", "likely", "warm"}
    assert all(one["version"] for one in record["segments"] if one["kind"] == "rule")
    assert sum(len(names) for names in record["features"].values()) > 10
    fit = record_in(ran, "fit")
    assert (fit["kind"], fit["bundle"], fit["counts"]["models"]) == ("fit", manifest.bundle, ["buys"])


def test_the_page_says_the_same(ran: Config) -> None:
    for kind in ("score", "fit"):
        page = register_path(Path(ran.out), kind, AS_OF, "md").read_text(encoding="utf-8")
        assert page == page_of(record_in(ran, kind))
        assert f"# Record of processing: {AS_OF}" in page
        assert r"E-mail tool \| the agency" in page
        assert "consent" in page
        # Every row of a table has as many cells as its titles.
        lines = [line.replace(r"\|", "") for line in page.splitlines() if line.startswith("|")]
        widths = {line.count("|") for line in lines}
        assert widths <= {3, 4, 5, 6, 7}


def test_no_person_is_in_it(ran: Config) -> None:
    people = {str(user) for user in pl.read_parquet(Path(ran.out) / "features" / f"as_of={AS_OF}")["user_id"]}
    assert len(people) > 40
    # The ids of the sample are small numbers; what could hold them are lists of texts.
    for kind in ("score", "fit"):
        texts = list(_texts(record_in(ran, kind)))
        assert not people & set(texts)
        assert not {"nord-été", "sud"} & set(texts)


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def test_the_same_run_gives_the_same_bytes(ran: Config) -> None:
    folder = register_folder(Path(ran.out))
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert set(before) == {f"{kind}as_of={AS_OF}.{end}" for kind in ("", "fit-") for end in ("json", "md")}
    run(ran, AS_OF, executor=LocalExecutor())
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} == before


def test_dq11_every_published_table_leads_back_to_run_rules_and_source_files(ran: Config) -> None:
    out, manifest, record = Path(ran.out), manifest_of(ran), record_in(ran)
    # Each file belongs to a run by its manifest, and its bytes are those that the run wrote.
    for table in manifest.tables:
        for file in table.records:
            assert hashlib.sha256((out / file.path).read_bytes()).hexdigest() == file.sha256
    assert {"input", "config", "bundle", "segments"} <= set(manifest.fingerprints)
    assert record["fingerprints"] == manifest.fingerprints
    # A membership tells the version of the rule that made it, and the definitions the text of that version.
    tables = {table.name: [out / file.path for file in table.records] for table in manifest.tables}
    members = pl.read_parquet(tables["memberships"], hive_partitioning=False)
    definitions = pl.read_parquet(tables["segment_definitions"], hive_partitioning=False)
    versions = dict(definitions.select("segment", "rule_version").iter_rows())
    assert versions == {one["segment"]: one["version"] for one in record["segments"]}
    assert set(members.select("segment", "rule_version").unique().iter_rows()) <= set(versions.items())
    # The index of the store names the source files of every unit, and the record their number and hash.
    index = json.loads((out / "_rollups" / "index.json").read_bytes())
    files = [file["path"] for entry in index["entries"] for file in entry["sources"]]
    assert len(files) == sum(one["files"] for one in record["sources"] if one["what"] == "events")
    assert all(Path(file).is_file() for file in files)


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    config = configuration(write_sample(tmp_path, users=40), privacy__keep_register=False, targets=[], segments=[])
    run(config, AS_OF - timedelta(days=1), executor=LocalExecutor())
    assert not register_folder(Path(config.out)).exists()


@pytest.mark.parametrize("name", ["a | b", "<script>", "`code`", "two\nlines", "[x](y)"])
def test_names_do_not_break_the_page(ran: Config, name: str) -> None:
    record = record_in(ran)
    record["segments"] = [{"segment": name, "kind": "rule", "version": "1", "purposes": []}]
    page = page_of(record)
    [line] = [line for line in page.splitlines() if line.endswith("| rule | 1 | none |")]
    assert "<script>" not in page
    assert line.replace(r"\|", "").count("|") == 5

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import Config, Source
from engine.config_file import config_hash, load_config, parse_assignments
from engine.config_reference import reference
from engine.errors import ConfigError

Write = Callable[..., Path]

MINIMAL = """\
[[sources]]
name = "shop"
path = "events/*.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "date"
"""


CONTACTS = '[contacts]\npath = "contacts.parquet"\nuser_id = "customer"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "tamis.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def failure(path: Path, *assignments: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides=parse_assignments(assignments))
    return caught.value


@pytest.mark.parametrize(
    ("in_file", "assignment", "key", "value", "origin"),
    [
        ("", None, "seed", 1, "default"),
        ("seed = 0", None, "seed", 0, "FILE:1"),
        ("seed = 7", "seed=0", "seed", 0, "command line"),
        ("[clusters]\nenabled = false", None, "clusters.enabled", False, "FILE:2"),
        ("[clusters]\nenabled = true", "clusters.enabled=false", "clusters.enabled", False, "command line"),
        ("", "clusters.enabled=false", "clusters.k_min", 3, "default"),
        ("[events]\nsend = ''", None, "events.send", "", "FILE:2"),
        ("[events]\nsend = 'mail'", "events.send=", "events.send", "", "command line"),
        ("[events]\nsend = 'mail'", 'events.send=""', "events.send", "", "command line"),
        ("checks.max_reject_share = 0.0", None, "checks.max_reject_share", 0.0, "FILE:1"),
        ("features = { windows = [7] }", None, "features.windows", [7], "FILE:1"),
        ("", "features.windows=[1, 2]", "features.windows", [1, 2], "command line"),
        ("timezone = 'UTC'", "timezone=Europe/Paris", "timezone", "Europe/Paris", "command line"),
        ("", "segment_fallback=2026", "segment_fallback", "2026", "command line"),
        ("engagement.weights = {a = 1}", "engagement.weights.b=0", "engagement.weights.b", 0, "command line"),
        ("engagement.weights = {a = 1}", "engagement.weights.b=0", "engagement.weights.a", 1, "FILE:1"),
        ("", "sources.shop.time_unit=ms", "sources.shop.time_unit", "ms", "command line"),
        ("", "sources.0.columns.user_id=12", "sources.shop.columns.user_id", "12", "command line"),
        (
            "",
            'sources.shop.columns.amount={sql = "a * b"}',
            "sources.shop.columns.amount",
            {"sql": "a * b"},
            "command line",
        ),
        ("", "sources.shop.where=a > 3", "sources.shop.where", "a > 3", "command line"),
        ("", None, "contacts", None, "default"),
    ],
)
def test_precedence(write: Write, in_file: str, assignment: str | None, key: str, value: object, origin: str) -> None:
    path = write(f"{in_file}\n{MINIMAL}")
    loaded = load_config(path, overrides=parse_assignments([assignment] if assignment else []))
    assert loaded.values[key] == value
    assert type(loaded.values[key]) is type(value)
    assert loaded.origins[key] == origin.replace("FILE", str(path))


def test_the_last_override_wins(write: Write) -> None:
    path = write(MINIMAL)
    assert load_config(path, overrides=[("seed", 1), ("seed", 2)]).config.seed == 2
    assert load_config(path, overrides={"seed": 3}).config.seed == 3


def test_origins_name_every_effective_value(write: Write) -> None:
    loaded = load_config(write(MINIMAL))
    assert list(loaded.origins) == list(loaded.values)
    assert loaded.origins["sources.shop.columns.event_type"].endswith("tamis.toml:6")
    assert loaded.origins["sources.shop.columns.amount"] == "default"


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_files_from_windows(write: Write, tmp_path: Path, start: str, ends: str) -> None:
    path = tmp_path / "tamis.toml"
    path.write_bytes((start + MINIMAL.replace("\n", ends)).encode())
    assert load_config(path).origins["sources.shop.name"] == f"{path}:2"


def test_relative_paths(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "conf").mkdir()
    text = MINIMAL.replace('"events/*.parquet"', '["e/*.parquet", "../up/**", "/abs", "s3://bucket/x"]')
    path = write(text + "[contacts]\npath = 'c.parquet'\nuser_id = 'id'\n", "conf/tamis.toml")
    monkeypatch.chdir(elsewhere)
    conf = tmp_path / "conf"
    config = load_config(path, overrides={"contacts.path": "k.parquet"}).config
    assert config.out == str(conf / "out")
    assert config.sources[0].path == (f"{conf}/e/*.parquet", f"{tmp_path}/up/**", "/abs", "s3://bucket/x")
    assert config.contacts is not None
    assert config.contacts.path == str(elsewhere / "k.parquet")
    assert load_config(path, overrides={"out": "here"}).config.out == str(elsewhere / "here")
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("conf/tamis.toml")).config.out == str(conf / "out")


def test_all_mistakes_at_once(write: Write) -> None:
    path = write(
        """\
timezone = "Europe/Pari"
seed = true
segmnts = 1
out = ""
[[sources]]
name = "shop"
path = ["x"]
tz = 1
[sources.columns]
user_id = 5
event_type = { valu = "p" }
event_time = "t"
[[targets]]
name = "É t"
event = "x"
horizon_day = 3
[model]
trees = "5"
learning_rate = 2
[features]
windows = [3, 2]
[rfm]
recency = "quantil"
[[segments]]
name = "vip"
"""
    )
    error = failure(path, "targets.x.event=b", "seed.x=2", "clusters.k_min=x", "execution.nodes=3")
    assert error.code == "config-invalid"
    assert error.message.splitlines() == [
        f"{path}: 18 problems",
        "  command line: targets.x: no such entry (there are: É t)",
        "  command line: seed.x: seed is no table but True",
        "  command line: clusters.k_min: expected a whole number, got 'x'",
        (
            "  command line: execution.nodes: unknown key (known: executor, address, rows_per_task, cpus_per_task, "
            "task_timeout_seconds, straggler_factor, retries, local_cpus, dashboard)"
        ),
        (
            "  line 1: timezone: expected an IANA time zone such as 'Europe/Paris' or 'UTC', got 'Europe/Pari' "
            "(did you mean 'Europe/Paris', 'Europe/Madrid' or 'Europe/Riga'?)"
        ),
        "  line 2: seed: expected a whole number, got true",
        "  line 3: segmnts: unknown key (did you mean 'segments' or 'events'?)",
        "  line 4: out: expected text that is not empty, got ''",
        f"  line 8: sources.shop.tz: unknown key (known: {', '.join(Source.model_fields)})",
        '  line 10: sources.shop.columns.user_id: expected text or { sql = "…" } or { param = "…" }, got 5',
        (
            '  line 11: sources.shop.columns.event_type: expected text or { sql = "…" } or { param = "…" } '
            'or { value = … }, got {"valu": "p"}'
        ),
        (
            "  line 14: targets.\"É t\".name: expected text of letters a-z, digits and '_' that begins with a letter, "
            "got 'É t'"
        ),
        "  line 16: targets.\"É t\".horizon_day: unknown key (did you mean 'horizon_days'?)",
        "  line 18: model.trees: expected a whole number, got '5'",
        "  line 19: model.learning_rate: expected a number of at most 1, got 2",
        "  line 20: features: windows must be different and ascending, got [3, 2]",
        "  line 23: rfm.recency: expected one of 'quantile', 'rank', 'r_rfm', got 'quantil' (did you mean 'quantile'?)",
        "  line 24: segments.vip: expected either where (a rule) or list (a file of ids)",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "sources: missing; expected tables ([[…]])"),
        ("sources = []", "line 1: sources: expected at least one entry"),
        (
            MINIMAL + '[[segments]]\nname = "a"\nwhere = "x > 1"\nexpires_on = 2026-01-01\n',
            "segments.a: frozen_on, expires_on and unknown_ids are keys of a list",
        ),
        ("contacts = 'c.parquet'\n" + MINIMAL, "line 1: contacts: expected a table, got 'c.parquet'"),
        (MINIMAL.replace('name = "shop"', 'name = "shop"\nsame_id = "lines"'), "needs columns.event_id"),
        (MINIMAL + MINIMAL.replace("shop", "SHOP"), "two entries named 'SHOP' and 'shop'"),
        (MINIMAL.replace('"events/*.parquet"', "[]"), "line 3: sources.shop.path: expected text or a list of texts"),
        (MINIMAL + "[execution]\ntask_timeout_seconds = inf\n", "expected a number that is finite"),
        (MINIMAL + "[execution]\ntask_timeout_seconds = 1e10\n", "expected a number of at most 31,536,000"),
        (MINIMAL + "[clusters]\nk_min = 9\n", "k_min (9) must not exceed k_max (8)"),
        (MINIMAL + "[events]\ntypes = 'a'\n", "line 9: events.types: expected a list of texts, got 'a'"),
        (
            MINIMAL + "[events]\ntypes = ['a', 'b', 'a']\n",
            "line 9: events.types: expected each name once, got 'a' more",
        ),
        (MINIMAL + CONTACTS + "columns = ['c', 'c']\n", "line 11: contacts.columns: expected each name once, got 'c'"),
        (
            MINIMAL + CONTACTS + "model_columns = ['c', 'd', 'd', 'c']\n",
            "line 11: contacts.model_columns: expected each",
        ),
        (
            MINIMAL + "[clusters]\nfeatures = ['c', 'c']\n",
            "line 9: clusters.features: expected each name once, got 'c'",
        ),
        (MINIMAL + f"[features]\nwindows = {list(range(1, 102))}\n", "at most 100 windows can be used, got 101"),
        (
            MINIMAL + "[execution]\nrows_per_task = 100_000_001\n",
            "expected a whole number of at most 100,000,000, got 100000001",
        ),
        (MINIMAL + "[events]\ntypes = ['a', 2]\n", "line 9: events.types.1: expected text, got 2"),
    ],
)
def test_single_mistakes(write: Write, text: str, expected: str) -> None:
    assert expected in failure(write(text)).message


@pytest.mark.parametrize(
    ("content", "code", "expected"),
    [
        (b"x = \n", "config-not-toml", "line 1"),
        (b"a = 1\na = 2\n", "config-not-toml", "line 2"),
        (b"name = '\xe9t\xe9'", "config-not-toml", "0xe9 at position 8"),
    ],
)
def test_no_toml(tmp_path: Path, content: bytes, code: str, expected: str) -> None:
    path = tmp_path / "tamis.toml"
    path.write_bytes(content)
    error = failure(path)
    assert error.code == code
    assert expected in error.message
    assert error.hint


def test_no_file(tmp_path: Path) -> None:
    assert failure(tmp_path / "no.toml").code == "config-not-found"
    assert failure(tmp_path).code == "config-unreadable"


def test_malformed_assignments_are_named_together() -> None:
    with pytest.raises(ConfigError, match="'seed', '=3'") as caught:
        parse_assignments(["seed", "a=1", "=3"])
    assert caught.value.code == "config-assignment"


def test_hash_changes_with_what_changes_numbers(write: Write) -> None:
    path = write(MINIMAL)

    def hashed(*assignments: str) -> str:
        return config_hash(load_config(path, overrides=parse_assignments(assignments)).config)

    same = [
        (),
        ("out=elsewhere",),
        ("execution.executor=ray", "execution.address=head:6379", "execution.retries=0"),
        ("execution.cpus_per_task=2", "execution.task_timeout_seconds=5"),
        ("execution.local_cpus=1", "execution.straggler_factor=0", "execution.dashboard=true"),
        ("report.min_cell=3", "report.language=fr", "report.currency=EUR"),
        ("seed=1",),
    ]
    other = [("seed=2",), ("execution.rows_per_task=5",), ("timezone=Europe/Paris",), ("sources.shop.where=a > 1",)]
    assert len({hashed(*assignments) for assignments in same}) == 1
    assert len({hashed(*assignments) for assignments in [(), *other]}) == 1 + len(other)


def test_hash_does_not_change_between_versions(write: Write) -> None:
    config = Config.model_validate(tomllib.loads(MINIMAL))
    settings = config.model_dump(mode="json")
    assert settings["execution"].keys() >= {"rows_per_task"}
    assert config_hash(config) == config_hash(Config.model_validate(json.loads(config.model_dump_json())))


def test_every_key_is_documented() -> None:
    schema = Config.model_json_schema()
    tables = {"Config": schema, **schema["$defs"]}
    bare = [
        f"{title}.{name}"
        for title, table in tables.items()
        for name, key in table["properties"].items()
        if "description" not in key
    ]
    assert bare == []


def test_the_reference_is_current() -> None:
    page = Path(__file__).parents[1] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8").rstrip() == reference().rstrip()


def test_one_condition_has_one_name(write: Write) -> None:
    entries = "".join(
        f'\n[[features.events]]\nname = "{name}"\nevent = "{event}"\nwhere = "{where}"\n'
        for name, event, where in (("a", "buy", "x > 1"), ("b", "view", "x > 1"), ("c", "buy", "x > 1"))
    )
    error = failure(write(MINIMAL + entries))
    assert "'a' and 'c' are the same events under two names" in error.message
    assert "'b'" not in error.message


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('where = "region = "sud""', "single quotes"),
        ("where = 'region = 'sud''", "single quotes"),
        ('where = "age > 3', "A rule of several lines"),
        ('name = "a"b"', "Text needs quotes"),
        ("name = b", "Text needs quotes"),
    ],
)
def test_a_line_that_is_no_toml_is_told_how_it_is_written(write: Write, line: str, hint: str) -> None:
    error = failure(write(f"{MINIMAL}[[segments]]\n{line}\n"))
    assert error.code == "config-not-toml"
    assert hint in error.hint

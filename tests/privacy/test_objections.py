from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.config_file import load_config
from engine.errors import ConfigError
from engine.privacy.ids import id_rules
from engine.privacy.key import KeySource, load_key
from engine.privacy.objections import objections, opposed_users, suppressed_users
from engine.privacy.opposed import read_opposed, with_opposed, write_opposed
from engine.privacy.pseudonyms import pseudonym_of
from engine.schedule.late import input_marks
from engine.stages.input import Input, input_fingerprint

SECRET = "0f" * 32
TOML = """\
[[sources]]
name = "shop"
path = "events.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"

[contacts]
path = "contacts.parquet"
user_id = "customer"

[exports]
email = "mail"
phone = "mobile"
"""
USERS = ["u1", "u2", "u3", "u4", "c9", "007"]
LINKS = pl.DataFrame({"from_id": ["c9"], "to_id": ["u4"]})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAMIS_KEY", SECRET)
    (tmp_path / "tamis.toml").write_text(TOML, encoding="utf-8")
    mails = ["U1@Example.com ", "u2@example.com", None]
    contacts = {"customer": ["u1", "u2", "u3"], "mail": mails, "mobile": [None, "0622222222", "+33 6 33 33 33 33"]}
    pl.DataFrame(contacts).write_parquet(tmp_path / "contacts.parquet")
    (tmp_path / "clear.txt").write_text("u3\n", encoding="utf-8")
    return tmp_path / "tamis.toml"


def configured(file: Path, *values: str, **overrides: object) -> Config:
    config = load_config(file, overrides=list(overrides.items())).config
    if values:
        out = Path(config.out)
        key = load_key(KeySource("TAMIS_KEY"))
        write_opposed(with_opposed(read_opposed(out), pl.Series(values), key, date(2026, 2, 1)), out)
    return config


def opposed(config: Config, links: pl.DataFrame | None = None) -> list[str] | None:
    rules = id_rules(config)
    key = load_key(KeySource("TAMIS_KEY"))
    known = {(pseudonym_of(user, key) if rules.pseudonyms else user): user for user in USERS}
    users = Path(config.out).parent / "users.parquet"
    pl.DataFrame({"user_id": list(known)}).write_parquet(users)
    if links is not None and rules.pseudonyms:
        links = links.select(pl.all().map_elements(lambda text: pseudonym_of(text, key), pl.String))
    found = opposed_users(config, [str(users)], links, rules)
    return None if found is None else sorted(known[user] for user in found if user in known)


@pytest.mark.parametrize("pseudonyms", [False, True])
@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (("u1",), ["u1"]),
        (("u1@example.com",), ["u1"]),
        ((" U2@EXAMPLE.COM", "u4"), ["u2", "u4"]),
        (("c9",), ["c9", "u4"]),
        (("nobody@example.com",), []),
        (("0033633333333",), ["u3"]),
        (("06 22 22 22 22", "+33611111111"), ["u2"]),
        (("007",), ["007"]),
    ],
)
def test_gd08_objections_reach_users_by_id_by_address_and_by_link(
    file: Path, values: tuple[str, ...], wanted: list[str], pseudonyms: bool
) -> None:
    config = configured(file, *(value.strip() for value in values), **{"privacy.pseudonyms": pseudonyms})
    assert opposed(config, LINKS) == wanted
    (file.parent / "clear.txt").write_text("\n".join(values), encoding="utf-8")
    lists = {"privacy.opposed": [str(file.parent / "clear.txt")], "out": str(file.parent / "other")}
    assert opposed(configured(file, **lists, **{"privacy.pseudonyms": pseudonyms}), LINKS) == wanted


def test_gd08_an_objection_holds_whatever_else_a_contact_is(file: Path) -> None:
    rows = {
        "customer": ["u1", "u1", "u2", "u3", "u4"],
        "since": [date(2025, 1, 1), date(2026, 1, 1), date(2026, 1, 1), date(2099, 1, 1), None],
        "mail": ["u1@example.com", "new@example.com", "u2@example.test", "Ann@Exämple.de", None],
        "mobile": ["06 11 11 11 11", None, None, None, "12 34"],
        "first": [" A ", "B", "C", "D", "E"],
        "tier": ["a", "a", None, "a", "a"],
    }
    pl.DataFrame(rows).write_parquet(file.parent / "contacts.parquet")
    more = """
[contacts.cleaning]
email = "mail"
phone = "mobile"
names = ["first"]
invalid = "null"
[[contacts.rules]]
name = "tier"
holds = "tier IS NOT NULL AND email_valid"
action = "quarantine"
"""
    file.write_text(TOML.replace('customer"\n\n[exports', f'customer"\nvalid_from = "since"\n{more}[exports'))
    # An earlier address, one that cannot be right of a contact that is left out, and one of the future.
    values = ("u1@example.com", "u2@example.test", "ann@xn--exmple-cua.de")
    assert opposed(configured(file, *values)) == ["u1", "u2", "u3"]
    assert opposed(configured(file, "tel:1234", "+33611111111", out=str(file.parent / "two"))) == ["u1", "u4"]


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_gd08_clear_files_of_the_configuration_count_too(file: Path, pseudonyms: bool) -> None:
    settings = {"privacy.opposed": [str(file.parent / "clear.txt")], "privacy.pseudonyms": pseudonyms}
    assert opposed(load_config(file, overrides=list(settings.items())).config) == ["u3"]
    assert opposed(configured(file, "u1", **settings)) == ["u1", "u3"]


def test_gd08_nobody_objects(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(file)
    assert opposed(config) is None
    monkeypatch.delenv("TAMIS_KEY")
    assert objections(config) is None


def test_gd08_objections_without_their_key_stop_a_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(file, "u1")
    monkeypatch.delenv("TAMIS_KEY")
    with pytest.raises(ConfigError) as caught:
        objections(config)
    assert caught.value.code == "key-missing"


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_gd08_exports_leave_out_who_objects_by_id_and_by_address(file: Path, pseudonyms: bool) -> None:
    config = configured(file, "u1@example.com", "u4", **{"privacy.pseudonyms": pseudonyms})
    (file.parent / "list.txt").write_text("u2\n", encoding="utf-8")
    suppressed = suppressed_users(config, [file.parent / "list.txt"], [])
    key = load_key(KeySource("TAMIS_KEY"))
    people = pl.DataFrame(
        {
            "id": [pseudonym_of(user, key) if pseudonyms else user for user in USERS],
            "address": ["u1@example.com", "u2@example.com", None, None, None, None],
        }
    )
    found = people.select(suppressed.holds(pl.col("address"), pl.col("id")).alias("on"))["on"]
    assert found.to_list() == [True, True, False, True, False, False]
    assert [values for _, values in suppressed.files] == [1, 2]


def test_gd08_a_run_of_other_objections_is_another_run(file: Path) -> None:
    def prints(config: Config) -> tuple[str, dict[str, str]]:
        return input_fingerprint(config, Input((), {}, "String")), input_marks(config, (), date(2026, 3, 1))

    nobody = prints(configured(file))
    one = prints(configured(file, "u1"))
    two = prints(configured(file, "u2"))
    clear = configured(file, **{"privacy.opposed": [str(file.parent / "clear.txt")]})
    three = prints(clear)
    (file.parent / "clear.txt").write_text("u2\n", encoding="utf-8")
    every = [nobody, one, two, three, prints(clear)]
    assert prints(clear) == every[-1]
    for place in range(2):
        assert len({str(found[place]) for found in every}) == len(every)

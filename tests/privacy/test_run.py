from __future__ import annotations

import random
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Execution
from engine.config_file import load_config
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.exports.export import export_segments
from engine.exports.record import Request
from engine.pipeline import check_run, fit_run, score_run
from engine.privacy.ids import IdRules, kept_ids
from engine.privacy.key import KeySource, load_key
from engine.privacy.opposed import read_opposed, with_opposed, write_opposed
from engine.privacy.pseudonyms import pseudonym_of
from engine.privacy.tombstones import read_tombstones, with_erased, write_tombstones
from engine.rollups.index import read_index
from engine.rollups.maintain import Selection
from engine.stages.upkeep import rebuild
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest
from engine.why.intervals import intervals
from engine.why.why import why

AS_OF = date(2026, 3, 1)
LOCAL = LocalExecutor(threads=1)
SECRET, OTHER = "0f" * 32, "a5" * 32
USERS = [f"anna-{number:03d}" for number in range(60)]
VISITORS = [f"cookie-{number:03d}" for number in range(20)]
CLEAR = (*USERS, *VISITORS, "probe-1")

TOML = """\
[[sources]]
name = "shop"
path = "shop.csv"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
event_id = "order"
amount = "total"

[[sources]]
name = "web"
path = "web"
[sources.columns]
user_id = "customer"
anonymous_id = "cookie"
event_type = { value = "view" }
event_time = "at"

[contacts]
path = "contacts.parquet"
user_id = "customer"
columns = ["region"]

[exports]
email = "mail"

[identity]
path = "links.parquet"
anonymous_id = "cookie"
user_id = "customer"

[exclude]
user_ids = ["anna-003"]
pattern = "^probe-"

[events]
purchase = "purchase"

[features]
windows = [7, 30]

[clusters]
k_min = 2
k_max = 2
resamples = 3

[checks]
max_reject_share = 0.5

[[segments]]
name = "chosen"
list = "chosen.txt"
frozen_on = 2026-01-01
unknown_ids = "ignore"

[[segments]]
name = "north"
where = "region = 'north'"

[execution]
rows_per_task = 300
"""


def at(rng: random.Random) -> datetime:
    return datetime(2026, 1, 1) + timedelta(minutes=rng.randrange(80_000))


def write_log(folder: Path, without: tuple[str, ...] = ()) -> Path:
    rng = random.Random(5)
    kept = pl.col("customer").fill_null("").is_in(without).not_()
    orders = [
        (user, f"{user[-3:]}-{number}x", at(rng), float(rng.randrange(5, 90)))
        for user in (*USERS, "probe-1")
        for number in range(3 + rng.randrange(4))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    shop = pl.DataFrame(orders, ["customer", "order", "at", "total"], orient="row")
    shop.filter(kept).write_csv(folder / "shop.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    views = [
        (rng.choice([*USERS, None, None, ""]), rng.choice([*VISITORS, None]), at(rng) + timedelta(seconds=number % 60))
        for number in range(900)
    ]
    web = pl.DataFrame(
        views, {"customer": pl.String, "cookie": pl.String, "at": pl.Datetime("us", "UTC")}, orient="row"
    )
    own = kept & pl.col("cookie").fill_null("").is_in(without).not_()
    (folder / "web").mkdir(exist_ok=True)
    web.filter(own).write_parquet(folder / "web" / "a.parquet")
    links = pl.DataFrame({"cookie": VISITORS[:10], "customer": USERS[:10]})
    links.filter(kept).write_parquet(folder / "links.parquet")
    regions = ["north" if number % 3 else "south" for number in range(60)]
    mails = [f"{user}@example.com" for user in USERS]
    pl.DataFrame({"customer": USERS, "region": regions, "mail": mails}).filter(kept).write_parquet(
        folder / "contacts.parquet"
    )
    (folder / "chosen.txt").write_text("\n".join(user for user in USERS[10:20] if user not in without), "utf-8")
    (folder / "tamis.toml").write_text(TOML, encoding="utf-8")
    return folder / "tamis.toml"


def configured(file: Path, out: str, **overrides: object) -> Config:
    return load_config(file, overrides=[("out", str(file.parent / out)), *overrides.items()]).config


def ran(config: Config) -> Config:
    fit_run(config, AS_OF, executor=LOCAL)
    score_run(config, AS_OF, executor=LOCAL)
    return config


def table(config: Config, name: str) -> pl.DataFrame:
    found = pl.read_parquet(f"{config.out}/{name}/as_of={AS_OF}/**/*.parquet", hive_partitioning=False)
    return found.sort("user_id")


def counts(config: Config) -> dict[str, Any]:
    return read_manifest(manifest_path(Path(config.out), AS_OF)).counts


def texts(folder: Path) -> dict[str, str]:
    """Everything that is written below a folder, as text: cells of tables, footers, and all other files as they are."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        raw = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            raw += pl.read_parquet(path, hive_partitioning=False).write_json()
        found[str(path.relative_to(folder))] = raw
    return found


def holding(folder: Path, words: tuple[str, ...]) -> list[str]:
    return sorted({name for name, text in texts(folder).items() if any(word in text + name for word in words)})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_KEY", SECRET)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def clear(log: Path) -> Config:
    return ran(configured(log, "clear"))


@pytest.fixture(scope="module")
def hidden(log: Path) -> Config:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_KEY", SECRET)
        return ran(configured(log, "hidden", **{"privacy.pseudonyms": True}))


def test_gd06_no_table_rollup_bundle_or_record_has_a_clear_id(clear: Config, hidden: Config) -> None:
    out = Path(hidden.out)
    converted = [name for name in texts(out) if name.startswith("_converted")]
    # What a text file was converted to is the source, in another form.
    assert [name for name in holding(out, CLEAR) if name not in converted] == []
    assert not holding(out, (SECRET, SECRET.upper()))
    assert holding(Path(clear.out), CLEAR)


def test_gd06_features_are_those_of_the_user_behind_the_pseudonym(clear: Config, hidden: Config) -> None:
    key = load_key(KeySource("TAMIS_KEY"))
    for name in ("features", "memberships"):
        known = table(clear, name)
        renamed = known.with_columns(pl.col("user_id").map_elements(lambda text: pseudonym_of(text, key), pl.String))
        shared = [column for column in known.columns if not column.startswith(("cluster", "run_id", "rule_version"))]
        order = [column for column in ("user_id", "segment") if column in shared]
        assert table(hidden, name).select(shared).sort(order).equals(renamed.select(shared).sort(order)), name
    assert "anna-003" not in table(clear, "features")["user_id"]


def test_gd06_the_manifest_says_which_key(clear: Config, hidden: Config) -> None:
    key = load_key(KeySource("TAMIS_KEY"))
    assert counts(hidden)["key"] == key.id
    assert "key" not in counts(clear)
    rows = [counts(config)["rows"] for config in (clear, hidden)]
    assert rows[0] == rows[1]
    assert rows[0]["excluded"]


def test_gd06_without_the_key_nothing_is_done(hidden: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMIS_KEY")
    for do in (score_run, check_run):
        with pytest.raises(ConfigError) as caught:
            do(hidden, AS_OF, executor=LOCAL)
        assert caught.value.code == "key-missing"


def test_gd06_another_key_makes_other_pseudonyms_and_starts_no_ledger_over(
    hidden: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_KEY", f"{OTHER} {SECRET}")
    with pytest.raises(DataError) as caught:
        score_run(hidden, AS_OF + timedelta(days=1), executor=LOCAL)
    assert caught.value.code == "ledger-key"
    with pytest.raises(DataError):
        score_run(
            hidden.model_copy(update={"privacy": hidden.privacy.model_copy(update={"pseudonyms": False})}),
            AS_OF + timedelta(days=1),
            executor=LOCAL,
        )


def erase(config: Config, *ids: str) -> None:
    out = Path(config.out)
    key = load_key(KeySource("TAMIS_KEY"))
    write_tombstones(with_erased(read_tombstones(out), ids, key, len(USERS)), out)


@pytest.mark.parametrize("pseudonyms", [pytest.param(name, marks=pytest.mark.slow) for name in (True, False)])
def test_gd05_a_run_drops_and_counts_who_was_erased(log: Path, tmp_path: Path, pseudonyms: bool) -> None:
    gone = ("anna-001", "anna-012")
    settings = {"privacy.pseudonyms": pseudonyms}
    with_people = configured(log, f"erased-{pseudonyms}", **settings)
    erase(with_people, *gone)
    ran(with_people)
    # Visitor 1 is linked to user 1, and has no other user.
    never = ran(configured(write_log(tmp_path, (*gone, "cookie-001")), "never", **settings))
    for name in ("features", "scores", "memberships"):
        found, wanted = (
            table(config, name).drop("run_id", "rule_version", strict=False) for config in (with_people, never)
        )
        assert found.equals(wanted), name
    rows = [counts(config)["rows"] for config in (with_people, never)]
    assert rows[0]["erased"] == rows[0]["read"] - rows[1]["read"] > 10
    assert rows[0]["read"] == sum(number for name, number in rows[0].items() if name != "read")
    assert "erased" not in rows[1]
    assert not holding(Path(with_people.out), (*gone, "cookie-001"))
    # The visitor has a tombstone of its own by now: the link may go.
    assert len(read_tombstones(Path(with_people.out))) == 3


def test_gd05_tombstones_without_their_key_stop_a_run(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(log, "keyless")
    erase(config, "anna-001")
    monkeypatch.setenv("TAMIS_KEY", OTHER)
    with pytest.raises(ConfigError) as other:
        check_run(config, AS_OF, executor=LOCAL)
    assert other.value.code == "key-other"
    monkeypatch.delenv("TAMIS_KEY")
    with pytest.raises(ConfigError) as caught:
        check_run(config, AS_OF, executor=LOCAL)
    assert caught.value.code == "key-missing"


@pytest.mark.slow
def test_gd05_a_visitor_who_is_linked_to_an_erased_user_later_goes_too(tmp_path: Path) -> None:
    file = write_log(tmp_path)
    config = configured(file, "out")
    links = pl.read_parquet(tmp_path / "links.parquet")
    links.filter(pl.col("cookie") != "cookie-001").write_parquet(tmp_path / "links.parquet")
    ran(config)
    assert "cookie-001" in table(config, "features")["user_id"]
    erase(config, "anna-001")
    links.write_parquet(tmp_path / "links.parquet")
    score_run(config, AS_OF, executor=LOCAL)
    assert not {"cookie-001"} & set(table(config, "features")["user_id"])
    assert not [name for name in holding(Path(config.out) / "_rollups", ("cookie-001",)) if "links/" in name]


def exported(config: Config, to: Path) -> dict[str, str]:
    """Address and id of everybody in an export."""
    export_segments(config, Request("csv", ("north",), to))
    rows = pl.read_csv(next(to.glob("*.csv")))
    return dict(zip(rows["email"], rows["user_id"], strict=True))


def test_gd06_exports_find_the_address_by_the_pseudonym(clear: Config, hidden: Config, tmp_path: Path) -> None:
    known, found = exported(clear, tmp_path / "a"), exported(hidden, tmp_path / "b")
    key = load_key(KeySource("TAMIS_KEY"))
    assert found == {address: pseudonym_of(user, key) for address, user in known.items()}
    assert len(found) > 20


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_gd08_who_objects_is_in_no_table_and_no_export(
    log: Path, tmp_path: Path, clear: Config, pseudonyms: bool
) -> None:
    config = configured(log, f"opposed-{pseudonyms}", **{"privacy.pseudonyms": pseudonyms})
    key = load_key(KeySource("TAMIS_KEY"))
    listed = sorted(table(clear, "memberships").filter(pl.col("segment") == "chosen")["user_id"])
    values = pl.Series(["anna-001", "anna-002@example.com", "cookie-007", listed[0]])
    write_opposed(with_opposed(read_opposed(Path(config.out)), values, key, AS_OF), Path(config.out))
    # A list with an id of nobody stops a run; one with somebody who objects since does not.
    (log.parent / f"known-{pseudonyms}.txt").write_text("\n".join(listed), "utf-8")
    chosen = {"list": str(log.parent / f"known-{pseudonyms}.txt"), "unknown_ids": "refuse"}
    segments = [one.model_copy(update=chosen if one.name == "chosen" else {}) for one in config.segments]
    ran(config.model_copy(update={"segments": tuple(segments)}))
    # Visitor 7 is user 7.
    gone = {"anna-001", "anna-002", "anna-007", listed[0]}
    before = set(table(clear, "features")["user_id"])
    left = {pseudonym_of(user, key) if pseudonyms else user for user in before - gone}
    assert set(table(config, "features")["user_id"]) == set(table(config, "memberships")["user_id"]) == left
    assert not {f"{user}@example.com" for user in gone} & set(exported(config, tmp_path / "to"))


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_gd06_users_are_asked_about_by_their_id_or_their_pseudonym(
    clear: Config, hidden: Config, pseudonyms: bool
) -> None:
    config = hidden if pseudonyms else clear
    user = table(clear, "memberships").filter(pl.col("segment") == "chosen")["user_id"][0]
    hashed = pseudonym_of(user, load_key(KeySource("TAMIS_KEY")))
    for asked in (user, *([hashed] if pseudonyms else [])):
        answer = why(config, AS_OF, asked, "chosen")
        assert answer.user == (hashed if pseudonyms else user)
        assert answer.segments[0].membership is not None
        assert intervals(config, AS_OF, "chosen", asked)[1].height == 1


@pytest.mark.slow
def test_gd06_a_new_key_rolls_the_log_up_anew(hidden: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(hidden.out) / "_rollups", tmp_path / "out" / "_rollups")
    config = hidden.model_copy(update={"out": str(tmp_path / "out")})
    before = read_index(tmp_path / "out" / "_rollups")
    old = load_key(KeySource("TAMIS_KEY"))
    monkeypatch.setenv("TAMIS_KEY", f"{OTHER} {SECRET}")
    rebuild(config, Selection(), executor=LOCAL)
    after = read_index(tmp_path / "out" / "_rollups")
    key = load_key(KeySource("TAMIS_KEY"))
    assert (before.key, after.key) == (old.id, key.id)
    assert not holding(tmp_path / "out" / "_rollups", tuple(pseudonym_of(user, old) for user in USERS))
    assert holding(tmp_path / "out" / "_rollups", (pseudonym_of("anna-000", key),))


@pytest.mark.slow
@pytest.mark.ray
def test_gd06_workers_load_the_key_themselves(
    log: Path, hidden: Config, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.execution.on_ray import ray_executor

    (tmp_path / "key").write_text(SECRET, encoding="ascii")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.delenv("TAMIS_KEY")
    config = configured(log, "ray", **{"privacy.pseudonyms": True, "privacy.key_file": str(tmp_path / "key")})
    with ray_executor(Execution(executor="ray")) as executor:
        fit_run(config, AS_OF, executor=executor)
        score_run(config, AS_OF, executor=executor)
        for name in ("features", "memberships"):
            assert (
                table(config, name)
                .drop("run_id", strict=False)
                .equals(table(hidden, name).drop("run_id", strict=False))
            )
        # The task names the key of the driver; a worker that has another one does nothing.
        ids = IdRules(KeySource("", str(tmp_path / "key")), "00000000", pseudonyms=True)
        with pytest.raises(ConfigError) as caught:
            executor.map(first_kept, [ids])
        assert caught.value.code == "key-other"


def first_kept(ids: IdRules) -> str:
    return str(kept_ids(pl.Series(["a"]), ids).ids[0])

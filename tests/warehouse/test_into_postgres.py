from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import ConfigError, ConflictError, DataError, IntegrityError, TransientError
from engine.warehouse import into_postgres
from engine.warehouse.into_postgres import load_postgres, with_timeout
from tests.samples import AS_OF
from tests.warehouse.loads import NEXT, damage, republish
from tests.warehouse.postgres_server import PASSWORD, Server
from tests.warehouse.sample import HOSTILE, HandMade, frames, hand_made, publish_frames


@contextmanager
def cursor(server: Server) -> Iterator[Any]:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(server.dsn, autocommit=True) as connection, connection.cursor() as opened:
        yield opened


@pytest.fixture
def schema(postgres: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name[:50]
    yield name
    with cursor(postgres) as opened:
        opened.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def rows(server: Server, schema: str, table: str) -> list[tuple[Any, ...]]:
    with cursor(server) as opened:
        opened.execute(f'SELECT * FROM "{schema}"."{table}"')
        return sorted(pl.DataFrame(pl.from_arrow(opened.fetch_arrow_table())).rows(), key=repr)


def test_loading_twice_leaves_one_copy_of_every_table(sample: HandMade, postgres: Server, schema: str) -> None:
    for _ in range(2):
        loaded = load_postgres(postgres.dsn, sample.asked("postgres", schema=schema), sample.out)
    assert {one.table: one.rows for one in loaded} == {name: frame.height for name, frame in frames(60).items()}
    for name, frame in frames(60).items():
        first = ["segment"] if name == "segments" else []
        rest = [column for column in frame.columns if column not in first]
        expected = frame.select(pl.lit(AS_OF).alias("as_of"), *first, *rest)
        assert rows(postgres, schema, name) == sorted(expected.rows(), key=repr), name


def test_two_loads_at_once_leave_one_copy(sample: HandMade, postgres: Server, schema: str) -> None:
    asked = sample.asked("postgres", schema=schema)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: load_postgres(postgres.dsn, asked, sample.out), range(4)))
    assert len(rows(postgres, schema, "memberships")) == 60


def test_the_dictionary_is_in_the_comments(sample: HandMade, postgres: Server, schema: str) -> None:
    load_postgres(postgres.dsn, sample.asked("postgres", schema=schema), sample.out)
    with cursor(postgres) as opened:
        opened.execute(f"COMMENT ON COLUMN \"{schema}\".features.tenure_days IS 'old'")
    load_postgres(postgres.dsn, sample.asked("postgres", schema=schema), sample.out)
    with cursor(postgres) as opened:
        opened.execute(
            "SELECT attname::text, col_description(attrelid, attnum) FROM pg_attribute "
            f"WHERE attrelid = '\"{schema}\".features'::regclass AND attnum > 0"
        )
        told = dict(opened.fetchall())
    assert told["tenure_days"] == "Days from the first event's day to as_of. Unit: days."
    assert [name for name, comment in told.items() if not comment] == []


def test_another_run_of_the_date_takes_its_place_and_other_dates_stay(
    tmp_path: Path, postgres: Server, schema: str
) -> None:
    made = hand_made(tmp_path)
    load_postgres(postgres.dsn, made.asked("postgres", "memberships", schema=schema), made.out)
    republish(made, 7, day=NEXT)
    load_postgres(postgres.dsn, made.asked("postgres", "memberships", as_of=NEXT, schema=schema), made.out)
    republish(made, 4, pl.lit(3.5).alias("weight"))
    (loaded,) = load_postgres(postgres.dsn, made.asked("postgres", "memberships", schema=schema), made.out)
    assert (loaded.rows, loaded.added) == (4, ("weight",))
    found = rows(postgres, schema, "memberships")
    assert [(row[0], row[-1]) for row in found] == [(AS_OF, 3.5)] * 4 + [(NEXT, None)] * 7
    # A date without rows of a table has no such table.
    publish_frames(made, AS_OF, {"features": frames(3)["features"]})
    every = load_postgres(postgres.dsn, made.asked_with_absent("postgres", schema=schema), made.out)
    assert [(one.table, one.rows) for one in every] == [("features", 3), ("memberships", 0)]
    assert {row[0] for row in rows(postgres, schema, "memberships")} == {NEXT}


def test_a_type_that_changed_is_refused_and_nothing_is_lost(tmp_path: Path, postgres: Server, schema: str) -> None:
    made = hand_made(tmp_path)
    load_postgres(postgres.dsn, made.asked("postgres", "memberships", schema=schema), made.out)
    before = rows(postgres, schema, "memberships")
    republish(made, 4, pl.col("days_in").cast(pl.String), pl.lit(1).alias("new"))
    with pytest.raises(ConfigError, match="days_in: the table has integer, the files have TEXT") as raised:
        load_postgres(postgres.dsn, made.asked("postgres", "memberships", schema=schema), made.out)
    assert raised.value.code == "load-schema"
    assert rows(postgres, schema, "memberships") == before


def test_a_file_that_changed_is_not_loaded(tmp_path: Path, postgres: Server, schema: str) -> None:
    made = hand_made(tmp_path)
    load_postgres(postgres.dsn, made.asked("postgres", schema=schema), made.out)
    damage(made)
    with pytest.raises(IntegrityError, match=r"memberships.*differs from its SHA-256"):
        load_postgres(postgres.dsn, made.asked("postgres", schema=schema), made.out)
    assert len(rows(postgres, schema, "memberships")) == 60


def test_names_that_need_quotes(tmp_path: Path, postgres: Server) -> None:
    made = hand_made(tmp_path, HOSTILE)
    schema = 'it\'s "x"; DROP TABLE y'
    for _ in range(2):
        load_postgres(postgres.dsn, made.asked("postgres", "features", schema=schema), made.out)
    with cursor(postgres) as opened:
        quoted = schema.replace('"', '""')
        opened.execute(f'SELECT "{HOSTILE.replace(chr(34), chr(34) * 2)}" FROM "{quoted}".features ORDER BY user_id')
        assert [row[0] for row in opened.fetchall()] == frames(60, HOSTILE)["features"][HOSTILE].to_list()
        opened.execute(f'DROP SCHEMA "{quoted}" CASCADE')


def test_names_that_are_too_long(tmp_path: Path, postgres: Server, schema: str) -> None:
    names = [f"{'é' * 40}{end}" for end in "ab"]
    made = hand_made(tmp_path, names[0])
    frame = frames(5, names[0])["features"].with_columns(pl.lit(7).alias(names[1]))
    publish_frames(made, AS_OF, {"features": frame})
    for _ in range(2):
        load_postgres(postgres.dsn, made.asked("postgres", "features", schema=schema), made.out)
    assert len(rows(postgres, schema, "features")[0]) == frame.width + 1


def test_text_that_the_server_refuses(tmp_path: Path, postgres: Server, schema: str) -> None:
    made = hand_made(tmp_path)
    publish_frames(made, AS_OF, {"features": frames(3)["features"].with_columns(secret=pl.lit("swordfish\0"))})
    with pytest.raises(DataError, match="refuses a value of features: ") as raised:
        load_postgres(postgres.dsn, made.asked("postgres", "features", schema=schema), made.out)
    assert raised.value.code == "load-values"
    assert "swordfish" not in f"{raised.value.message} {raised.value.hint}"


def test_a_table_that_another_load_holds(
    sample: HandMade, postgres: Server, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import adbc_driver_postgresql.dbapi as driver

    asked = sample.asked("postgres", "segments", schema=schema)
    load_postgres(postgres.dsn, asked, sample.out)
    monkeypatch.setattr(into_postgres, "LOCK_SECONDS", 1)
    with driver.connect(postgres.dsn) as connection, connection.cursor() as opened:
        opened.execute(f'LOCK TABLE "{schema}".segments')
        with pytest.raises(ConflictError) as raised:
            load_postgres(postgres.dsn, asked, sample.out)
        connection.rollback()
    assert raised.value.code == "load-busy"


def test_logins_that_are_refused(sample: HandMade, postgres: Server) -> None:
    asked = sample.asked("postgres", "segments")
    for dsn in (
        f"host=127.0.0.1 port={postgres.port} user=tamis dbname=postgres password=swordfish",
        f"postgresql://nobody:swordfish@127.0.0.1:{postgres.port}/postgres",
        postgres.dsn.replace("dbname=postgres", "dbname=nowhere"),
    ):
        with pytest.raises(ConfigError, match=rf"server at 127\.0\.0\.1:{postgres.port} refuses the login") as raised:
            load_postgres(dsn, asked, sample.out)
        assert raised.value.code == "load-login"
        assert "swordfish" not in raised.value.message
        assert PASSWORD not in raised.value.message


def test_the_environment_says_where(sample: HandMade, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(postgres.port)), ("USER", "tamis"), ("PASSWORD", PASSWORD)):
        monkeypatch.setenv(f"PG{name}", value)
    monkeypatch.setenv("PGDATABASE", "postgres")
    for dsn in ("", with_timeout("")):
        (loaded,) = load_postgres(dsn, sample.asked("postgres", "segments", schema="from_env"), sample.out)
        assert loaded.rows == 60


@pytest.mark.parametrize(
    ("dsn", "kind", "code", "says"),
    [
        ("host=127.0.0.1 port=1 password=swordfish", TransientError, "load-unreachable", "127.0.0.1:1"),
        ("postgresql://u:swordfish@127.0.0.1:1/x", TransientError, "load-unreachable", "127.0.0.1:1"),
        ("postgresql://u:swordfish@h@nowhere.invalid/x", TransientError, "load-unreachable", "nowhere.invalid"),
        ("swordfish", ConfigError, "load-dsn", "cannot be read"),
        ("postgresql://u:sword%zzfish@h/x", ConfigError, "load-dsn", "cannot be read"),
        ("colour=swordfish", ConfigError, "load-dsn", "cannot be read"),
    ],
)
def test_servers_that_are_not_there(sample: HandMade, dsn: str, kind: type[Exception], code: str, says: str) -> None:
    with pytest.raises(kind, match=says) as raised:
        load_postgres(dsn, sample.asked("postgres", "segments"), sample.out)
    assert getattr(raised.value, "code", None) == code
    assert "sword" not in f"{raised.value} {getattr(raised.value, 'hint', '')}"


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("", "postgresql://?connect_timeout=10"),
        ("host=h", "host=h connect_timeout=10"),
        ("postgresql://h/x", "postgresql://h/x?connect_timeout=10"),
        ("postgres://h/x?sslmode=require", "postgres://h/x?sslmode=require&connect_timeout=10"),
        ("host=h connect_timeout=3", "host=h connect_timeout=3"),
    ],
)
def test_nobody_waits_for_ever(dsn: str, expected: str) -> None:
    assert with_timeout(dsn) == expected


def test_a_driver_that_is_not_installed(sample: HandMade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(ConfigError, match="not installed") as raised:
        load_postgres("", sample.asked("postgres"), sample.out)
    assert raised.value.code == "load-not-installed"

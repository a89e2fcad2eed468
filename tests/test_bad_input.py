from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from engine.events import probe
from engine.rollups.update import STORE_NAME
from jobs.app import app

# As it was before any fixture: files that are malformed are opened in another process.
IN_A_CHILD = probe._child_lines

CONFIG = """\
out = "out"

[[sources]]
name = "shop"
path = "shop"
[sources.columns]
user_id = "customer"
event_type = "kind"
event_time = "at"
event_id = "order"
amount = "total"

[events]
purchase = "purchase"

[clusters]
enabled = false

[[segments]]
name = "Île / big"
where = "purchase_amount_30d > 60"
"""
CONTACTS = """
[[segments]]
name = "big"
where = "purchase_amount_30d > 50 AND region = 'Île-de-France'"
[contacts]
path = "contacts.parquet"
user_id = "customer"
"""
TARGET = """
[[targets]]
name = "buys"
event = "purchase"
horizon_days = 7
[model]
train_anchors = 1
min_rows = 5
min_positives = 1
"""
START = datetime(2025, 12, 1, 12, tzinfo=UTC)
ROWS = 120
FILES = 3


def shop() -> pl.DataFrame:
    """Purchases of twelve users in sixty days, and as many visits."""
    numbers = range(ROWS)
    return pl.DataFrame(
        {
            "customer": [f"Zoé {number % 12}" for number in numbers],
            "kind": ["visit" if number % 2 else "purchase" for number in numbers],
            "at": [START + timedelta(hours=12 * number) for number in numbers],
            "order": [f"o{number}" for number in numbers],
            "total": [None if number % 2 else float(number) for number in numbers],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


def write_shop(folder: Path, frame: pl.DataFrame) -> None:
    shutil.rmtree(folder / "shop", ignore_errors=True)
    (folder / "shop").mkdir()
    share = -(-frame.height // FILES) or 1
    for number in range(FILES):
        frame.slice(number * share, share).write_parquet(folder / "shop" / f"{number}.parquet")


def write_contacts(folder: Path, **columns: object) -> None:
    regions = {"customer": [f"Zoé {number}" for number in range(12)], "region": ["Île-de-France", "sud"] * 6}
    pl.DataFrame({**regions, **columns}).write_parquet(folder / "contacts.parquet")


def write_log(folder: Path) -> None:
    folder.mkdir()
    write_shop(folder, shop())
    write_contacts(folder)
    (folder / "tamis.toml").write_text(CONFIG, encoding="utf-8")


def tamis(command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, *arguments, "-q"])


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder but the rollups, which may learn from a run that is refused later, and their lock.

    And but the history of runs, which says that it was refused.
    """
    beside = {"fresh", "fresh/_work", "fresh/_work/lock"} if (folder / "fresh" / STORE_NAME).exists() else ()
    return {
        name: file.read_bytes() if file.is_file() else None
        for file in sorted(folder.rglob("*"))
        if not {STORE_NAME, "_runs"} & {*file.parts} and (name := file.relative_to(folder).as_posix()) not in beside
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, and its tables of one date."""
    folder = tmp_path_factory.mktemp("published") / "log"
    write_log(folder)
    result = tamis("run", "--as-of", "2026-02-01", "-c", str(folder / "tamis.toml"))
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "log"
    shutil.copytree(published, copy)
    monkeypatch.chdir(copy)
    return copy


@dataclass(frozen=True)
class Case:
    """Something wrong with the input, and what the user is told of it.

    Attributes:
        spoil: Makes the input bad.
        code: The code of the error.
        says: What its message or hint must hold.
        toml: Added to the configuration.
        change: A text of the configuration and what stands there instead.
    """

    spoil: Callable[[Path], None]
    code: str
    says: tuple[str, ...]
    exit_code: int = 3
    toml: str = ""
    change: tuple[str, str] = ("", "")
    arguments: tuple[str, ...] = field(default=())


def frame_with(**columns: pl.Expr | object) -> Callable[[Path], None]:
    expressions = {name: value if isinstance(value, pl.Expr) else pl.lit(value) for name, value in columns.items()}
    return lambda folder: write_shop(folder, shop().with_columns(**expressions))


def one_file(content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / "shop" / "1.parquet"
        file.write_bytes(content(file.read_bytes()))

    return spoil


def footer_bytes(whole: bytes) -> int:
    return int.from_bytes(whole[-8:-4], "little") + 8


def first_row(name: str, value: object) -> Callable[[Path], None]:
    dtype = shop().schema[name]
    changed = pl.when(pl.int_range(pl.len()) < 12).then(pl.lit(value, dtype)).otherwise(pl.col(name)).alias(name)
    return lambda folder: write_shop(folder, shop().with_columns(changed))


def nothing(_: Path) -> None:
    """The configuration alone is wrong."""


def second_schema(folder: Path) -> None:
    file = folder / "shop" / "1.parquet"
    pl.read_parquet(file).with_columns(pl.col("at").cast(pl.String)).write_parquet(file)


def text_ids_as_numbers(folder: Path) -> None:
    (folder / "mail").mkdir()
    frame = shop().with_columns(customer=pl.int_range(pl.len()))
    frame.write_parquet(folder / "mail" / "0.parquet")


def unreadable_contacts(folder: Path) -> None:
    (folder / "contacts.parquet").write_bytes(b"PAR1")


MAIL = """
[[sources]]
name = "mail"
path = "mail"
columns = { user_id = "customer", event_type = "kind", event_time = "at" }
"""

CASES = {
    "no file": Case(lambda folder: shutil.rmtree(folder / "shop"), "input-no-files", ("'shop'", "/shop'"), 2),
    "no file matches the glob": Case(
        nothing, "input-no-files", ("/shop/*.csv",), 2, change=('path = "shop"', 'path = "shop/*.csv"')
    ),
    "a remote path": Case(
        nothing,
        "input-remote",
        ("'ftp://bucket/shop/*.parquet'", "expected a path on this machine"),
        2,
        change=('path = "shop"', 'path = "ftp://bucket/shop/*.parquet"'),
    ),
    "an empty file": Case(one_file(lambda _: b""), "input-unreadable", ("shop/1.parquet", "empty (0 bytes)")),
    "a truncated file": Case(one_file(lambda whole: whole[:-20]), "input-unreadable", ("shop/1.parquet", "truncated")),
    "a text file": Case(one_file(lambda _: b"a,b\n1,2\n" * 9), "input-unreadable", ("shop/1.parquet", "not a Parquet")),
    "a malformed footer": Case(
        one_file(lambda whole: whole[: -footer_bytes(whole)] + b"\xff" * 40 + whole[40 - footer_bytes(whole) :]),
        "input-unreadable",
        ("shop/1.parquet", "malformed"),
    ),
    "malformed pages": Case(
        one_file(lambda whole: b"PAR1" + b"\xff" * 300 + whole[304:]),
        "input-unreadable",
        ("shop/1.parquet", "cannot be read"),
    ),
    "missing columns": Case(
        lambda folder: write_shop(folder, shop().rename({"customer": "customr", "at": "when"})),
        "events-columns",
        ("shop/0.parquet", "no column 'customer'", "did you mean 'customr'?", "no column 'at'", "when (Datetime"),
    ),
    "dates that are strings": Case(
        frame_with(at=pl.col("at").dt.to_string()), "events-columns", ("event_time", "got String", "STRPTIME")
    ),
    "dates that are strings in one file": Case(
        second_schema, "events-columns", ("shop/1.parquet", "event_time", "got String")
    ),
    "dates that do not have the format": Case(
        frame_with(at=pl.col("at").dt.to_string("%d.%m.%Y")),
        "events-values",
        ("shop/0.parquet", "column 'at'"),
        change=('event_time = "at"', "event_time = { sql = \"STRPTIME(at, '%Y-%m-%d')\" }"),
    ),
    "times without a unit": Case(
        frame_with(at=pl.col("at").dt.epoch("s")), "events-columns", ("event_time", "got Int64", "time_unit")
    ),
    "times in another unit": Case(
        frame_with(at=pl.col("at").dt.epoch("us")),
        "rejects-too-many",
        ("event_time_out_of_range 120", "shop/0.parquet row 0"),
        change=('path = "shop"', 'path = "shop"\ntime_unit = "s"'),
    ),
    "float ids": Case(frame_with(customer=1.0), "events-columns", ("user_id", "got Float64", "CAST")),
    "string amounts": Case(frame_with(total="1.50"), "events-columns", ("amount", "got String")),
    "null ids": Case(first_row("customer", None), "rejects-too-many", ("10.00%", "user_id_missing 12", "row 0 (")),
    "empty ids": Case(first_row("customer", ""), "rejects-too-many", ("user_id_missing 12",)),
    "null types": Case(first_row("kind", None), "rejects-too-many", ("event_type_missing 12",)),
    "null times": Case(first_row("at", None), "rejects-too-many", ("event_time_missing 12",)),
    "amounts that are not a number": Case(
        first_row("total", float("nan")),
        "rejects-too-many",
        ("source 'shop'", "12 of 120 rows", "amount_not_finite 12"),
    ),
    "infinite amounts": Case(first_row("total", float("-inf")), "rejects-too-many", ("amount_not_finite 12",)),
    "huge amounts": Case(first_row("total", 1e15), "rejects-too-many", ("amount_out_of_range 12",)),
    "a time that the clock change skipped": Case(
        frame_with(at=datetime(2025, 3, 30, 2, 30)),
        "rejects-too-many",
        ("event_time_missing 120",),
        change=('path = "shop"', 'path = "shop"\ntimezone = "Europe/Paris"'),
    ),
    "all events after as_of": Case(
        frame_with(at=pl.col("at") + timedelta(days=400)), "events-empty", ("120 at or after as_of",)
    ),
    "all lines after as_of": Case(
        frame_with(at=pl.col("at") + timedelta(days=400)),
        "events-empty",
        ("120 at or after as_of",),
        change=('path = "shop"', 'path = "shop"\nsame_id = "lines"'),
    ),
    "all orders after as_of": Case(
        frame_with(at=pl.col("at") + timedelta(days=400)),
        "events-empty",
        ("120 at or after as_of",),
        change=('path = "shop"', 'path = "shop"\nsame_id = "lines"'),
        arguments=("--set", 'events.types=["purchase", "visit"]'),
    ),
    "an empty log": Case(
        lambda folder: write_shop(folder, shop().clear()), "event-type-unknown", ("no event at all",), 2
    ),
    "an empty log without named types": Case(
        lambda folder: write_shop(folder, shop().clear()),
        "events-empty",
        ("0 rows were read",),
        change=('purchase = "purchase"\n', ""),
        arguments=("--set", "segment_fallback=rest"),
    ),
    "an unknown event type": Case(
        frame_with(kind=pl.lit("purchases")), "event-type-unknown", ("events.purchase", "did you mean 'purchases'?"), 2
    ),
    "an event type of the future": Case(
        frame_with(
            at=pl.when(pl.col("kind") == "purchase").then(datetime(2026, 3, 1, tzinfo=UTC)).otherwise(pl.col("at"))
        ),
        "event-type-unknown",
        ("events.purchase: every row of the event type 'purchase' is at or after as_of", "visit (60)"),
        2,
    ),
    "no purchases for the RFM segments": Case(
        nothing, "segment-fallback", ("events.purchase", "segment_fallback"), 2, change=('purchase = "purchase"\n', "")
    ),
    "ids of two types": Case(text_ids_as_numbers, "user-id-types", ("'shop'", "'mail'"), toml=MAIL),
    "an aggregate in the mapping": Case(
        nothing,
        "events-columns",
        ("amount: MAX() looks at many rows",),
        change=('amount = "total"', 'amount = { sql = "total / MAX(total)" }'),
    ),
    "the clock in a condition": Case(
        nothing,
        "events-columns",
        ("where: CURRENT_DATE depends on the clock",),
        change=('path = "shop"', 'path = "shop"\nwhere = "at < CURRENT_DATE"'),
    ),
    "a condition that is none": Case(
        nothing,
        "events-columns",
        ("where: expected a condition", "got Float64"),
        change=('path = "shop"', 'path = "shop"\nwhere = "total"'),
    ),
    "one class": Case(
        frame_with(
            kind=pl.when(pl.col("at") < START + timedelta(days=30)).then(pl.lit("purchase")).otherwise(pl.lit("visit"))
        ),
        "model-too-few-positives",
        ("buys",),
        toml=TARGET,
    ),
    "only positives": Case(
        frame_with(kind=pl.lit("purchase")), "model-too-few-positives", ("buys", "10 positive, 0 negative"), toml=TARGET
    ),
    "ten rows": Case(
        nothing,
        "model-too-few-rows",
        ("buys", "at least 200 training rows", "training: 10 rows"),
        toml=TARGET.replace("min_rows = 5", ""),
    ),
    "a short history": Case(frame_with(at=START + timedelta(days=58)), "history-too-short", ("buys",), toml=TARGET),
    "a horizon longer than the history": Case(
        nothing,
        "history-too-short",
        ("62 days long", "'buys': horizon 40 days needs more than 80 days"),
        toml=TARGET.replace("= 7", "= 40"),
    ),
    "a label event that never occurs": Case(
        nothing,
        "event-type-unknown",
        ("targets.buys.event: no row has the event type 'purchased' (did you mean 'purchase'?)",),
        exit_code=2,
        toml=TARGET.replace('"purchase"', '"purchased"'),
    ),
    "a label condition that never holds": Case(
        nothing,
        "model-too-few-positives",
        ("0 positive, 12 negative",),
        toml=TARGET.replace("horizon", 'where = "amount > 500"\nhorizon').replace("[model]", "[model]\ntest_users = 0"),
    ),
    "infinite attributes": Case(
        lambda folder: write_contacts(folder, age=[20.0, float("inf")] * 6),
        "model-features",
        ("target 'buys'", "'age': 6 of 12 training rows", "contact attributes"),
        toml=CONTACTS + 'model_columns = ["age"]\n' + TARGET.replace("[model]", "[model]\ntest_users = 0"),
    ),
    "attributes that are no number, text or flag": Case(
        lambda folder: write_contacts(folder, age=[[1, 2]] * 12),
        "feature-names",
        ("contacts.model_columns: 'age'",),
        exit_code=2,
        toml=CONTACTS + 'model_columns = ["age"]\n' + TARGET,
    ),
    "a preset without its event type": Case(
        nothing,
        "config-invalid",
        ("targets.clicks.preset: the preset 'click'", "set events.click"),
        exit_code=2,
        toml='[[targets]]\nname = "clicks"\npreset = "click"\n',
    ),
    "a population that cannot be told": Case(
        nothing,
        "feature-names",
        ("targets.buys.population: no column 'tenure_day' (did you mean 'tenure_days'?)",),
        exit_code=2,
        toml=TARGET.replace("[model]", 'population = "tenure_day > 5"\n[model]'),
    ),
    "a population of nobody": Case(
        nothing,
        "model-too-few-rows",
        ("training: 0 rows",),
        toml=TARGET.replace("[model]", 'population = "tenure_days < 0"\n[model]'),
    ),
    "contacts that are repeated": Case(
        lambda folder: write_contacts(folder, customer=["Zoé 1"] * 12),
        "contacts-repeated",
        ("11 of 12 rows",),
        toml=CONTACTS,
    ),
    "contacts with float ids": Case(
        lambda folder: write_contacts(folder, customer=[float(number) for number in range(12)]),
        "contacts-columns",
        ("customer", "got Float64"),
        toml=CONTACTS,
    ),
    "contacts without the column": Case(
        nothing,
        "contacts-columns",
        ("no column 'customr'", "contacts.parquet", "did you mean 'customer'?"),
        toml=CONTACTS.replace('user_id = "customer"', 'user_id = "customr"'),
    ),
    "contacts of nobody": Case(
        lambda folder: write_contacts(folder, customer=[f"Zoe {number}" for number in range(12)]),
        "contacts-mismatch",
        ("none of the 12 contacts",),
        toml=CONTACTS,
    ),
    "contacts with a name of ours": Case(
        lambda folder: write_contacts(folder, segment=["a"] * 12),
        "contacts-columns",
        ("'segment'",),
        toml=CONTACTS,
    ),
    "contacts with the name of a partition": Case(
        lambda folder: write_contacts(folder, as_of=[1] * 12), "contacts-columns", ("'as_of'",), toml=CONTACTS
    ),
    "contacts that cannot be read": Case(
        unreadable_contacts,
        "input-unreadable",
        ("contacts", "contacts.parquet"),
        toml=CONTACTS,
    ),
}


def spoiled(folder: Path, case: Case) -> dict[str, bytes | None]:
    """The files as they are before the run."""
    case.spoil(folder)
    before, after = case.change
    assert before in CONFIG
    (folder / "tamis.toml").write_text(CONFIG.replace(before, after, 1) + case.toml, encoding="utf-8")
    return tree(folder)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refused_with_one_message_and_no_change(folder: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.code.endswith("unreadable"):
        monkeypatch.setattr(probe, "_child_lines", IN_A_CHILD)
    files = spoiled(folder, case)
    # A folder that did not exist costs a second run: once per code is enough.
    is_first = next(other for other in CASES.values() if other.code == case.code) is case
    for out in ((), ("--out", "fresh")) if is_first else ((),):
        result = tamis("run", "--as-of", "2026-02-01", *case.arguments, *out)
        assert result.exit_code == case.exit_code, result.stderr
        assert result.stdout == ""
        assert result.stderr.startswith(f"error[{case.code}]: ")
        assert result.stderr.count("error[") == 1
        assert "\nhint: " in result.stderr
        assert "Traceback" not in result.stderr
        for said in case.says:
            assert said in result.stderr
        assert tree(folder) == files


@pytest.mark.parametrize(
    "name", ["an empty file", "missing columns", "null ids", "all events after as_of", "contacts that are repeated"]
)
def test_check_refuses_too(folder: Path, name: str) -> None:
    case = CASES[name]
    files = spoiled(folder, case)
    result = tamis("check", "--as-of", "2026-02-01")
    assert (result.exit_code, result.stdout) == (case.exit_code, "")
    assert f"error[{case.code}]: " in result.stderr
    assert tree(folder) == files


def read(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(f"{folder}/out/{table}/as_of=2026-02-01/**/*.parquet", hive_partitioning=True)


LOCAL = pl.col("at").dt.convert_time_zone("Europe/Paris")


@pytest.mark.parametrize(
    ("spoil", "change"),
    [
        (
            frame_with(
                at=pl.col("at").dt.replace_time_zone(None),
                customer=pl.col("customer").cast(pl.Categorical),
                kind=pl.col("kind").cast(pl.Categorical),
                total=pl.col("total").cast(pl.Decimal(12, 2)),
            ),
            ("shop", "shop"),
        ),
        (
            frame_with(at=LOCAL.cast(pl.Datetime("ns", "Europe/Paris")), total=pl.col("total").cast(pl.Int32)),
            ("shop", "shop"),
        ),
        (
            frame_with(at=LOCAL.dt.replace_time_zone(None)),
            ('path = "shop"', 'path = "shop"\ntimezone = "Europe/Paris"'),
        ),
        (frame_with(at=pl.col("at").dt.epoch("ms")), ('path = "shop"', 'path = "shop"\ntime_unit = "ms"')),
    ],
)
def test_other_types_of_the_same_columns_give_the_same_tables(
    published: Path, folder: Path, spoil: Callable[[Path], None], change: tuple[str, str]
) -> None:
    spoil(folder)
    (folder / "tamis.toml").write_text(CONFIG.replace(*change, 1), encoding="utf-8")
    result = tamis("run", "--as-of", "2026-02-01")
    assert result.exit_code == 0, result.stderr
    for table in ("segments", "features", "scores"):
        columns = sorted(read(published, table).columns)
        expected = read(published, table).select(columns).sort("user_id")
        assert read(folder, table).select(columns).sort("user_id").equals(expected)


def test_a_few_bad_rows_are_counted_and_told(folder: Path) -> None:
    bad = [
        {"customer": None, "kind": "visit", "at": START, "order": None, "total": None},
        {"customer": "Zoé 1", "kind": "visit", "at": START + timedelta(days=300), "order": None, "total": None},
    ]
    write_shop(folder, pl.concat([shop(), pl.DataFrame(bad, schema=shop().schema)]))
    result = tamis("run", "--as-of", "2026-02-01", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["counts"]["rows"] == {
        "read": 122,
        "left_out": 0,
        "rejected": 1,
        "duplicate": 0,
        "merged": 0,
        "after_as_of": 1,
        "kept": 120,
    }
    rejects = read(folder, "rejects")
    assert rejects.select("file", "row", "rule").rows() == [(str(folder / "shop" / "2.parquet"), 38, "user_id_missing")]


def test_a_user_with_a_single_event_and_names_of_all_kinds(folder: Path) -> None:
    names = ["Zoë/ Ångström", "a b", "é", "e\u0301", "..", "%2F", "'; --", "名前", "=1", "\u202eabc"]
    more = pl.DataFrame(
        {
            "customer": names,
            "kind": ["purchase"] * 9 + ["söndag / köp"],
            "at": [START] * 10,
            "order": [None] * 10,
            "total": [1.0] * 10,
        },
        schema=shop().schema,
    )
    write_shop(folder, pl.concat([shop(), more]))
    # The types of the bundle are those of the log it learnt from: a user of a new type comes with the next fit.
    result = tamis("fit", "--as-of", "2026-02-01")
    assert result.exit_code == 0, result.stderr
    result = tamis("score", "--as-of", "2026-02-01")
    assert result.exit_code == 0, result.stderr
    users = read(folder, "features")["user_id"].to_list()
    assert sorted(users) == sorted([*names, *(f"Zoé {number}" for number in range(12))])
    assert read(folder, "segments").height == len(users)


def test_a_log_of_one_event(folder: Path) -> None:
    write_shop(folder, shop().head(1))
    result = tamis("run", "--as-of", "2026-02-01")
    assert result.exit_code == 0, result.stderr
    assert read(folder, "segments")["user_id"].to_list() == ["Zoé 0"]


def test_dates_of_the_calendars_ends(folder: Path) -> None:
    ends = [date(1, 1, 2), date(1677, 1, 1), date(1969, 12, 31), date(9999, 12, 30)]
    days = shop().head(4).with_columns(at=pl.Series(ends))
    write_shop(folder, days)
    result = tamis("run", "--as-of", "2026-02-01")
    assert result.exit_code == 0, result.stderr
    tenure = read(folder, "features").sort("user_id")["tenure_days"].to_list()
    assert tenure == [(date(2026, 2, 1) - day).days for day in ends[:3]]


def tampered(bundle: Path) -> None:
    content = bytearray((bundle / "bundle.json").read_bytes())
    content[len(content) // 3] ^= 1
    (bundle / "bundle.json").write_bytes(content)


def half_written(bundle: Path) -> None:
    (bundle / "files.json").unlink()


def cut_short(bundle: Path) -> None:
    file = bundle / "drift.json" if (bundle / "drift.json").exists() else bundle / "bundle.json"
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("spoil", "arguments", "code", "exit_code", "says"),
    [
        (tampered, (), "bundle-damaged", 7, "bundle.json"),
        (half_written, (), "bundle-damaged", 7, "files.json"),
        (cut_short, (), "bundle-damaged", 7, ".json"),
        (nothing, ("--set", "features.windows=[7]"), "bundle-other-configuration", 2, "features differ"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_a_bundle_that_does_not_fit_is_refused_and_nothing_is_published(
    folder: Path,
    spoil: Callable[[Path], None],
    arguments: tuple[str, ...],
    code: str,
    exit_code: int,
    says: str,
    named: bool,
) -> None:
    [bundle] = (folder / "out" / "_bundles").glob("*/")
    spoil(bundle)
    files = tree(folder)
    where = ("--bundle", str(bundle)) if named else ()
    result = tamis("score", "--as-of", "2026-02-01", *arguments, *where)
    assert result.exit_code == exit_code, result.stderr
    assert result.stderr.startswith(f"error[{code}]: ")
    assert says in result.stderr
    assert "\nhint: " in result.stderr
    assert tree(folder) == files

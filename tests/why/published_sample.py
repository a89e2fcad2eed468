"""Two published dates over the small log, with everything that `why` and its like read: made without a fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.ledger.changes import changes, ended
from engine.ledger.members import Stamp, memberships
from engine.ledger.previous import MEMBERS
from engine.pipeline import features_run
from engine.rules.scope import Scope
from engine.segments.definitions import definitions, definitions_table
from engine.segments.evaluate import evaluate
from engine.segments.plan import plan_segments
from engine.segments.static_lists import read_lists
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import FileRecord, Manifest, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace
from engine.why.measured import measured
from engine.why.scope import configured_spec
from tests.samples import AS_OF, configuration, write_sample

EARLIER = date(2026, 2, 15)
LOCAL = LocalExecutor(threads=1)

TOML = """\
out = "out"
segment_fallback = "others"

[[sources]]
name = "shop"
path = "shop"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
event_id = "order"
amount = "total"

[[sources]]
name = "mail"
path = "mail"
[sources.columns]
user_id = "customer"
event_type = "kind"
event_time = "at"
event_id = "message"

[contacts]
path = "contacts.parquet"
user_id = "customer"

[events]
types = ["email_open", "email_send", "purchase"]
purchase = "purchase"
send = "email_send"
open = "email_open"

[features]
windows = [7, 30]

[checks]
max_reject_share = 0.5

[[segments]]
name = "Été"
where = "region = 'nord-été' AND purchase_amount_30d > 60"
labels = { fr = "Gros acheteurs du nord" }
campaigns = ["spring"]

[[segments]]
name = "openers"
where = "open_rate_30d >= 0.5 OR engagement_score > 40"

[[segments]]
name = "buyers"
where = "purchase_count_30d > 0 AND NOT region = 'sud'"
priority = 5

[[segments]]
name = "asleep"
where = "event_count('purchase', 17) = 0"
tag = true

[[segments]]
name = "asleep_buyers"
where = "in_segment('asleep') AND in_segment('buyers')"
tag = true

[[segments]]
name = "panel"
list = "panel.csv"
frozen_on = 2026-02-20
tag = true

[[experiments]]
name = "offer"
key = "spring"
arms = { control = 1, shown = 3 }

[execution]
rows_per_task = 460
"""


@dataclass(frozen=True)
class Sample:
    """A log with two published dates."""

    file: Path
    config: Config

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    def table(self, name: str, as_of: date = AS_OF) -> pl.DataFrame:
        return pl.read_parquet(f"{table_folder(self.out, name, as_of)}/*.parquet", hive_partitioning=False)


def make_sample(folder: Path, toml: str = TOML, days: tuple[date, ...] = (EARLIER, AS_OF)) -> Sample:
    """The log in a folder, and its dates published."""
    file = write_sample(folder, toml=toml.replace("panel.csv", str(folder / "panel.csv")))
    (folder / "panel.csv").write_text("user_id\n3\n7\n11\n", encoding="utf-8")
    sample = Sample(file, configuration(file))
    before = pl.DataFrame(schema={"user_id": pl.Int64, **dict.fromkeys(MEMBERS[1:], pl.String), "entered_on": pl.Date})
    for day in days:
        before = publish_day(sample, day, before)
    return sample


def publish_day(sample: Sample, day: date, before: pl.DataFrame) -> pl.DataFrame:
    """Publish one date from the log; its memberships."""
    config, out = sample.config, sample.out
    written = sample.file.parent / f"features-{day}"
    features_run(config.model_copy(update={"segments": ()}), day, written, executor=LOCAL)
    contacts = pl.read_parquet(sample.file.parent / "contacts.parquet").rename({"customer": "user_id"})
    made, spec = definitions(config), configured_spec(config)
    asked: pl.DataFrame | None = None
    frames: list[dict[str, pl.DataFrame]] = []
    run_id = f"run-{day}"
    plan = None
    for path in sorted(written.glob("*.parquet")):
        features = pl.read_parquet(path).join(contacts, on="user_id", how="left", maintain_order="left")
        scores = features.select("user_id", *_scores())
        columns = dict(features.drop("user_id").schema) | dict(scores.drop("user_id").schema)
        if plan is None:
            plan = plan_segments(made, Scope(columns=columns, spec=spec, as_of=day))
            if plan.measures:
                stand_in = SimpleNamespace(out=out, as_of=day, user_dtype="Int64", table=lambda _: None)
                asked = measured(config, cast("Any", stand_in), spec, plan.measures, executor=LOCAL)
        if asked is not None:
            features = features.join(asked, on="user_id", how="left", maintain_order="left")
        frame = features.hstack(scores.drop("user_id"))
        found = evaluate(plan, frame, read_lists(made, "Int64"), None, day)
        versions = pl.DataFrame({"segment": [one.name for one in made], "rule_version": [one.version for one in made]})
        own = before.filter(pl.col("user_id").is_in(features["user_id"].implode()))
        stamp = Stamp(day, run_id)
        now = memberships(found.members, own, versions, stamp)
        frames.append(
            {
                "features": features,
                "scores": scores,
                "points": _points(scores),
                "memberships": now,
                "membership_changes": changes(now, own, stamp).with_columns(reason=pl.lit("first run")).drop("other"),
                "membership_history": ended(now, own, stamp),
            }
        )
    assert plan is not None
    tables = {name: [frame[name] for frame in frames] for name in frames[0]}
    tables["segment_definitions"] = [definitions_table(made, plan.depends_on)]
    _publish(out, run_id, day, tables)
    return pl.concat(tables["memberships"]).select(MEMBERS)


def _scores() -> list[pl.Expr]:
    """Scores that follow from the features, so that everybody can compute them again."""
    points = (10 * pl.col("email_open_count_30d") + 50 * pl.col("purchase_count_30d")).cast(pl.Float64)
    return [
        (pl.col("user_id") * 37 % 100).cast(pl.Float64).alias("engagement_score"),
        points.alias("points_activity"),
        pl.when(points > 100).then(pl.lit("high")).otherwise(pl.lit("low")).alias("points_activity_class"),
    ]


def _points(scores: pl.DataFrame) -> pl.DataFrame:
    rows = scores.select(
        "user_id", pl.lit("activity").alias("card"), pl.lit("all").alias("rule"), quantity=1.0, points="points_activity"
    )
    return rows.filter(pl.col("points") != 0)


def _publish(out: Path, run_id: str, day: date, tables: dict[str, list[pl.DataFrame]]) -> None:
    records = []
    with workspace(out, run_id) as work:
        for name, frames in tables.items():
            folder = table_folder(work, name, day)
            files: list[FileRecord] = [
                durable_parquet(frame, folder, f"part-{place:05d}-0000", root=work)
                for place, frame in enumerate(frames)
            ]
            records.append(table_record(name, day, dtypes_of(frames[0].schema), files))
        publish(work, out, Manifest(run_id, day, None, {}, {}, tuple(records)))

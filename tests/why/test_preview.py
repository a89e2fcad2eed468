from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.why.measured import measured
from engine.why.preview import Preview, checked_rule, missing_measures, preview, usual_columns
from engine.why.published import open_published
from engine.why.rows import published_rows
from engine.why.scope import scope_of, spec_of
from tests.samples import AS_OF
from tests.why.published_sample import EARLIER, LOCAL, Sample


def previewed(sample: Sample, rule: str, as_of: date = AS_OF, by: tuple[str, ...] = ()) -> Preview:
    published = open_published(sample.out, as_of)
    spec = spec_of(published, sample.config)
    scope = scope_of(published, spec)
    read = checked_rule(rule, scope)
    missing = missing_measures(read, published)
    extra = measured(sample.config, published, spec, missing, executor=LOCAL) if missing else None
    return preview(read, published, by or usual_columns(read, scope.columns), extra)


def users_of(sample: Sample, condition: pl.Expr, as_of: date = AS_OF) -> set[int]:
    joined = sample.table("features", as_of).join(sample.table("scores", as_of), on="user_id")
    return set(joined.filter(condition)["user_id"])


@pytest.mark.parametrize("as_of", [EARLIER, AS_OF])
def test_size_clauses_and_overlap_are_counted_right(sample: Sample, as_of: date) -> None:
    found = previewed(sample, "purchase_count_30d >= 1 AND engagement_score > 20", as_of)
    bought, engaged = pl.col("purchase_count_30d") >= 1, pl.col("engagement_score") > 20
    inside = users_of(sample, bought & engaged, as_of)
    assert (found.total, found.users, found.share) == (80, len(inside), len(inside) / 80)
    first, second = found.clauses
    assert (first.users, second.users) == (
        len(users_of(sample, bought, as_of)),
        len(users_of(sample, engaged, as_of)),
    )
    assert first.excludes == len(users_of(sample, engaged & ~bought, as_of))
    assert second.excludes == len(users_of(sample, bought & ~engaged, as_of))
    assert first.admits == second.admits == len(inside)
    members = sample.table("memberships", as_of)
    for overlap in found.overlaps:
        own = set(members.filter(pl.col("segment") == overlap.segment)["user_id"])
        assert (overlap.users, overlap.both) == (len(own), len(own & inside))
        assert overlap.jaccard == (len(own & inside) / len(own | inside) if own | inside else None)
    assert {overlap.segment for overlap in found.overlaps} == {segment.name for segment in sample.config.segments} | {
        "others",
        "offer_control",
        "offer_shown",
    }


def test_an_or_lets_in_alone(sample: Sample) -> None:
    found = previewed(sample, "region = 'sud' OR NOT purchase_count_30d > 0")
    south, bought = pl.col("region").eq_missing("sud"), pl.col("purchase_count_30d") > 0
    first, second = found.clauses
    assert first.admits == len(users_of(sample, south & bought))
    assert second.admits == len(users_of(sample, ~south & ~bought))
    assert first.excludes == second.excludes == len(users_of(sample, ~south & bought))


def test_composition_is_that_of_the_users(sample: Sample) -> None:
    found = previewed(sample, "purchase_count_30d > 0", by=("region", "rfm_monetary"))
    rows = {(row.column, row.level, row.missing): (row.inside, row.base) for row in found.composition}
    joined = sample.table("features")
    own = joined.filter(pl.col("purchase_count_30d") > 0)
    for level in ("sud", "nord-été"):
        shares = tuple(float((frame["region"] == level).sum()) / frame.height for frame in (own, joined))
        assert rows["region", level, False] == pytest.approx(shares)
    missing = tuple(frame["region"].null_count() / frame.height for frame in (own, joined))
    assert rows["region", None, True] == pytest.approx(missing)
    assert rows["rfm_monetary", None, False] == pytest.approx(
        (own["rfm_monetary"].mean(), joined["rfm_monetary"].mean())
    )


def test_event_functions_that_were_not_published_are_computed(sample: Sample) -> None:
    found = previewed(sample, "event_count('purchase', 11, amount >= 20) >= 1")
    log = pl.read_parquet(sample.file.parent / "shop" / "000.parquet").with_columns(day=pl.col("at").dt.date())
    recent = log.filter(pl.col("day").is_between(AS_OF - timedelta(days=11), AS_OF, closed="left"))
    assert found.users == recent.filter(pl.col("total") >= 20)["customer"].n_unique() > 0
    published = open_published(sample.out, AS_OF)
    scope = scope_of(published, spec_of(published, sample.config))
    assert missing_measures(checked_rule("event_count('purchase', 17) = 0", scope), published) == ()


def test_segments_and_days_in_them_are_those_of_the_ledger(sample: Sample) -> None:
    members = sample.table("memberships").filter(pl.col("segment") == "buyers")
    assert previewed(sample, "in_segment('buyers')").users == members.height
    kept = members.filter(pl.col("days_in") >= 14).height
    assert previewed(sample, "in_segment('buyers', 14)").users == kept < members.height


def test_what_a_group_leaves_of_a_rule_is_told(sample: Sample) -> None:
    found = previewed(sample, "purchase_count_30d > 0")
    inside = users_of(sample, pl.col("purchase_count_30d") > 0)
    members = sample.table("memberships").filter(pl.col("group") == "primary", pl.col("user_id").is_in(inside))
    sizes = dict(members["segment"].value_counts().iter_rows())
    left = sizes.pop("others", 0)
    assert dict(found.taken) == sizes
    assert [name for name, _ in found.taken] == [name for name in ("buyers", "Été", "openers") if name in sizes]
    assert found.at_the_end == left == len(inside) - sum(sizes.values())
    assert found.to_dict()["primary_users"] == left


@pytest.mark.parametrize(
    ("rule", "notes"),
    [
        ("region = 'nord-ete'", ("no user has 'nord-ete' in region (did you mean 'nord-été'?)",)),
        (
            "region IN ('sud', 'Sud', 'x')",
            ("no user has 'Sud' in region (did you mean 'sud'?)", "no user has 'x' in region"),
        ),
        ("'sud' = region AND NOT region <> 'sud'", ()),
        ("points_activity_class = 'hihg'", ("no user has 'hihg' in points_activity_class (did you mean 'high'?)",)),
        ("event_count('purchase', 17) = 0 AND LOWER(region) = 'x'", ()),
        ("region LIKE 'nord*'", ("LIKE 'nord*' looks for a star: any text is %, one character is _",)),
        ("region LIKE 'nord%' OR region ILIKE '%*%'", ()),
    ],
)
def test_likely_slips_are_told(sample: Sample, rule: str, notes: tuple[str, ...]) -> None:
    assert previewed(sample, rule).notes == notes


def test_a_column_of_many_texts_is_not_looked_at(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.why.texts.MOST_VALUES", 1)
    assert previewed(sample, "region = 'nowhere'").notes == ()


def test_a_rule_for_nobody(sample: Sample) -> None:
    found = previewed(sample, "purchase_count_30d > 1000")
    assert (found.users, found.share) == (0, 0.0)
    assert {row.inside for row in found.composition} == {None}
    assert [overlap.jaccard for overlap in found.overlaps if overlap.segment == "Été"] == [None]


def test_what_is_wrong_with_a_rule_is_drawn(sample: Sample) -> None:
    with pytest.raises(ConfigError, match="regio") as caught:
        previewed(sample, "regio = 'sud' AND purchase_count_30d > 0")
    assert caught.value.code == "segment-rules"
    assert "^^^^^" in caught.value.message
    assert "'region'" in caught.value.message


def test_parts_have_all_users_once(sample: Sample) -> None:
    published = open_published(sample.out, AS_OF)
    frames = list(published_rows(published, ["engagement_score", "region"], ["buyers"], ["buyers"]))
    assert len(frames) == len(published.parts("features")) > 1
    together = pl.concat(frames)
    assert together["user_id"].sort().to_list() == list(range(1, 81))
    flags = together.filter(pl.col("segment=buyers"))
    assert flags["segment_days=buyers"].null_count() == 0
    assert flags.height == published.sizes["buyers"]
    assert together.filter(~pl.col("segment=buyers"))["segment_days=buyers"].is_null().all()

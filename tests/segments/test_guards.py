from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.features.measure import EventRef, Measure
from engine.rules.rule import Clause, Logic, Rule
from engine.segments.before import Before
from engine.segments.definition import Arm, Definition, StaticList
from engine.segments.findings import GUARDS, Findings
from engine.segments.guards import config_findings, judge
from engine.segments.stats import SegmentStats
from tests.segments.counted import counted, holds_of, stats_of, users_of

DAY, LAST = date(2017, 12, 1), date(2017, 11, 1)
SOURCE = {"name": "log", "path": "x", "columns": {"user_id": "u", "event_time": "t", "event_type": "e"}}


def config_of(fallback: str = "others", **guards: Any) -> Config:
    return Config.model_validate({"sources": [SOURCE], "segment_fallback": fallback, "guards": guards})


def rule_of(columns: str, measures: tuple[Measure, ...] = (), segments: str = "", tenures: str = "") -> Rule:
    clause = Clause(
        "x",
        pl.lit(True),
        (),
        frozenset(columns.split()),
        measures,
        frozenset(segments.split()),
        frozenset(tenures.split()),
    )
    return Rule("x", "x", (clause,), Logic("clause", 0))


def tag(name: str, **changes: Any) -> Definition:
    return Definition(**{"name": name, "kind": "rule", "group": None, "where": "x", **changes})


def judged(
    stats: SegmentStats,
    definitions: tuple[Definition, ...] | None = None,
    before: Before | None = None,
    rules: Mapping[str, Rule] | None = None,
    accept: tuple[str, ...] = (),
    fallback: str = "others",
    **guards: Any,
) -> Findings:
    return judge(
        stats,
        before,
        tuple(map(tag, stats.segments)) if definitions is None else definitions,
        rules or {},
        config_of(fallback, **guards),
        as_of=DAY,
        attributes=("country", "age"),
        accept=accept,
    )


FROZEN = StaticList("x", date(2017, 1, 1), None, refuse_unknown=True)
EXPIRED = StaticList("x", date(2017, 1, 1), DAY, refuse_unknown=True)


def last(**sizes: int) -> Before:
    return Before(LAST, sizes)


def with_column(column: str, stats: SegmentStats) -> SegmentStats:
    return replace(stats, histograms=tuple(replace(each, column=column) for each in stats.histograms))


def composed(**bins: dict[str, int]) -> Before:
    return Before(LAST, {}, {name: {"country": list(row.items())} for name, row in bins.items()})


CASES: dict[str, tuple[str, Findings, str | None]] = {
    "empty": ("empty", judged(stats_of({"vip": 0})), "nobody is in 'vip'"),
    "empty, one user": ("empty", judged(stats_of({"vip": 1})), None),
    "empty fallback": ("empty", judged(stats_of({"vip": 0}), (tag("vip", kind="fallback"),)), None),
    "empty, all taken": (
        "empty",
        judged(replace(stats_of({"vip": 0}), matched=(("vip", 14),)), (tag("vip", group="primary"),)),
        "nobody is in 'vip': its rule holds for 14, all taken by segments tried before it",
    ),
    "empty list": (
        "empty",
        judged(stats_of({"vip": 0}), (tag("vip", kind="list", list=FROZEN),)),
        "nobody is in 'vip'",
    ),
    "expired list": ("empty", judged(stats_of({"vip": 0}), (tag("vip", kind="list", list=EXPIRED),)), None),
    "small": ("small", judged(stats_of({"vip": 9}), min_users=10), "'vip': 9 users, at least 10 are expected"),
    "small, just enough": ("small", judged(stats_of({"vip": 10}), min_users=10), None),
    "small, empty": ("small", judged(stats_of({"vip": 0}), min_users=10), None),
    "clause of nobody": (
        "clause",
        judged(stats_of({"vip": 5}, clauses=(("vip", "a > 1", 0), ("vip", "b > 1", 5)))),
        "'vip': `a > 1` holds for nobody",
    ),
    "clause of everybody": (
        "clause",
        judged(stats_of({"vip": 5}, clauses=(("vip", "a > 1", 1000),))),
        "'vip': `a > 1` holds for all 1000 users",
    ),
    "clause of some": ("clause", judged(stats_of({"vip": 5}, clauses=(("vip", "a > 1", 999),))), None),
    "clause of a preset": (
        "clause",
        judged(stats_of({"new": 5}, clauses=(("new", "a > 1", 0),)), (tag("new", kind="lifecycle"),)),
        None,
    ),
    "clause of an experiment": (
        "clause",
        judged(
            stats_of({"x_a": 5, "x_b": 5}, clauses=(("x_a", "a > 1", 0), ("x_b", "a > 1", 0))),
            tuple(tag(name, kind="arm", arm=Arm("x", "k", 0, 9)) for name in ("x_a", "x_b")),
        ),
        "'x_a': `a > 1` holds for nobody",
    ),
    "smaller": (
        "jump",
        judged(stats_of({"vip": 120}), before=last(vip=480)),
        "'vip': 120 users, 480 in the run of 2017-11-01 (÷ 4.0)",
    ),
    "larger": (
        "jump",
        judged(stats_of({"vip": 200}), before=last(vip=100)),
        "'vip': 200 users, 100 in the run of 2017-11-01 (× 2.0)",
    ),
    "a little larger": ("jump", judged(stats_of({"vip": 199}), before=last(vip=100)), None),
    "gone": (
        "jump",
        judged(stats_of({"vip": 0}), before=last(vip=100)),
        "'vip': 0 users, 100 in the run of 2017-11-01",
    ),
    "few users": ("jump", judged(stats_of({"vip": 1}), before=last(vip=99)), None),
    "few users then, many now": (
        "jump",
        judged(stats_of({"vip": 100}), before=last(vip=1)),
        "'vip': 100 users, 1 in the run of 2017-11-01 (× 100.0)",
    ),
    "a new segment": ("jump", judged(stats_of({"vip": 900}), before=last(other=1)), None),
    "the first run": ("jump", judged(stats_of({"vip": 900})), None),
    "another rule": (
        "jump",
        judged(stats_of({"vip": 400}), (tag("vip", version="b"),), Before(LAST, {"vip": 100}, versions={"vip": "a"})),
        "'vip': 400 users, 100 in the run of 2017-11-01 (× 4.0); its rule is not the one of then",
    ),
    "a list that expired": (
        "jump",
        judged(stats_of({"vip": 0}), (tag("vip", kind="list", list=EXPIRED),), last(vip=500)),
        None,
    ),
    "other users": (
        "shift",
        judged(
            stats_of({"vip": 1000}, bins={"vip": {"FR": 900, "BE": 100}}),
            before=composed(vip={"FR": 500, "BE": 500}),
        ),
        "'vip': other users than in the run of 2017-11-01, PSI of country 0.88 (limit 0.25)",
    ),
    "older by the days between": (
        "shift",
        judged(
            with_column("tenure_days", stats_of({"vip": 1000}, bins={"vip": {"[0, 30)": 100, "[30, 90)": 900}})),
            before=Before(LAST, {}, {"vip": {"tenure_days": [("[0, 30)", 900), ("[30, 90)", 100)]}}),
        ),
        None,
    ),
    "nearly the same users": (
        "shift",
        judged(
            stats_of({"vip": 1000}, bins={"vip": {"FR": 600, "BE": 400}}),
            before=composed(vip={"FR": 500, "BE": 500}),
        ),
        None,
    ),
    "too few users to tell": (
        "shift",
        judged(stats_of({"vip": 10}, bins={"vip": {"FR": 9, "BE": 1}}), before=composed(vip={"FR": 5, "BE": 5})),
        None,
    ),
    "a segment without a past": (
        "shift",
        judged(stats_of({"vip": 9}, bins={"vip": {"FR": 9}}), before=composed(other={"BE": 500})),
        None,
    ),
    "in no segment": (
        "unassigned",
        judged(stats_of({"others": 480}), (tag("others", kind="fallback", group="primary"),), max_unassigned=0.4),
        "480 of 1000 users (48 %) are in no segment but 'others', at most 40 % are expected",
    ),
    "few in no segment": (
        "unassigned",
        judged(stats_of({"others": 400}), (tag("others", kind="fallback", group="primary"),), max_unassigned=0.4),
        None,
    ),
    "RFM segments": (
        "unassigned",
        judged(stats_of({"Champions": 480}), (tag("Champions", kind="fallback"),), max_unassigned=0.4, fallback="rfm"),
        None,
    ),
    "overlap": (
        "overlap",
        judged(stats_of({"a": 100, "b": 96}, shared={("a", "b"): 96})),
        "'a' and 'b': 96 of 100 users are in both (96 %)",
    ),
    "some overlap": ("overlap", judged(stats_of({"a": 100, "b": 90}, shared={("a", "b"): 90})), None),
    "no users to overlap": ("overlap", judged(stats_of({"a": 0, "b": 0})), None),
    "overlap of groups": (
        "overlap",
        judged(
            stats_of({"a": 9, "b": 9}, shared={("a", "b"): 9}), (tag("a", group="primary"), tag("b", group="stage"))
        ),
        "'a' and 'b': 9 of 9 users are in both (100 %)",
    ),
    "campaign": (
        "campaign",
        judged(
            stats_of({"a": 1, "b": 1, "c": 1}),
            tuple(tag(n, campaigns=("noël",)) for n in "abc"),
            max_campaign_segments=2,
        ),
        "campaign 'noël': 3 segments, at most 2 are expected",
    ),
    "campaign of few": (
        "campaign",
        judged(stats_of({"a": 1, "b": 1}), tuple(tag(n, campaigns=("noël",)) for n in "ab"), max_campaign_segments=2),
        None,
    ),
    "demographics": (
        "demographics",
        judged(stats_of({"a": 1}), rules={"a": rule_of("country age")}),
        "'a' reads contact attributes alone (age, country), nothing that users did",
    ),
    "demographics and behaviour": (
        "demographics",
        judged(stats_of({"a": 1}), rules={"a": rule_of("country tenure_days")}),
        None,
    ),
    "demographics and events": (
        "demographics",
        judged(
            stats_of({"a": 1}),
            rules={"a": rule_of("country", measures=(Measure("event_count", (EventRef("open"),)),))},
        ),
        None,
    ),
    "demographics of a segment": (
        "demographics",
        judged(stats_of({"a": 1}), rules={"a": rule_of("country", segments="b")}),
        None,
    ),
    "no columns": ("demographics", judged(stats_of({"a": 1}), rules={"a": rule_of("", segments="b")}), None),
    "demographics of an arm": (
        "demographics",
        judged(stats_of({"a": 1}), (tag("a", kind="arm", arm=Arm("x", "k", 0, 9)),), rules={"a": rule_of("country")}),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_guard_tells_what_it_finds(name: str) -> None:
    guard, findings, text = CASES[name]
    assert findings.held == ()
    told = [line for line in findings.warnings if line.startswith(f"guard {guard}")]
    assert told == ([] if text is None else [f"guard {guard}: {text}"])


def test_every_guard_has_a_case_that_fires_and_one_that_does_not() -> None:
    for guard in GUARDS:
        texts = [text for of, _, text in CASES.values() if of == guard]
        assert None in texts, guard
        assert any(texts), guard


FIRED = {
    "empty": {"stats": stats_of({"a": 0})},
    "small": {"stats": stats_of({"a": 1}), "min_users": 2},
    "clause": {"stats": stats_of({"a": 1}, clauses=(("a", "x", 0),))},
    "jump": {"stats": stats_of({"a": 500}), "before": last(a=100)},
    "shift": {
        "stats": stats_of({"a": 900}, bins={"a": {"FR": 800, "BE": 100}}),
        "before": composed(a={"FR": 100, "BE": 800}),
    },
    "unassigned": {
        "stats": stats_of({"a": 500}),
        "definitions": (tag("a", kind="fallback"),),
        "max_unassigned": 0.1,
    },
    "overlap": {"stats": stats_of({"a": 9, "b": 9}, shared={("a", "b"): 9})},
    "campaign": {
        "stats": stats_of({"a": 9, "b": 9}),
        "definitions": (tag("a", campaigns=("x",)), tag("b", campaigns=("x",))),
        "max_campaign_segments": 1,
    },
    "demographics": {"stats": stats_of({"a": 9}), "rules": {"a": rule_of("age")}},
}


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_warns_holds_or_is_off(guard: str) -> None:
    rest = dict.fromkeys(GUARDS, "off")

    def outcome(action: str, accept: tuple[str, ...] = ()) -> Findings:
        return judged(**FIRED[guard], **{**rest, guard: action}, accept=accept)  # type: ignore[arg-type]

    assert outcome("off") == Findings((), ())
    (warning,) = outcome("warn").warnings
    (held,) = outcome("hold").held
    assert outcome("hold").warnings == ()
    assert warning == f"guard {guard}: {held.text}"
    accepted = Findings((), (f"guard {guard} (accepted): {held.text}",))
    assert outcome("hold", (guard,)) == accepted
    for subject in held.subjects:
        assert outcome("hold", (f"{guard}:{subject}",)) == accepted
    assert outcome("hold", (f"{guard}:another", "another")).held == (held,)
    assert outcome("warn", (guard,)).warnings == (warning,)


def test_a_campaign_is_accepted_in_either_unicode_form() -> None:
    both = (tag("a", campaigns=("noe\u0308l",)), tag("b", campaigns=("no\u00ebl",)))
    findings = judged(
        stats_of({"a": 1, "b": 1}), both, campaign="hold", max_campaign_segments=1, accept=("campaign:noe\u0308l",)
    )
    assert findings.warnings == ("guard campaign (accepted): campaign 'no\u00ebl': 2 segments, at most 1 are expected",)


def test_accepting_one_segment_still_holds_the_others() -> None:
    findings = judged(stats_of({"a": 0, "Île: x": 0}), empty="hold", accept=("empty:I\u0302le: x",))
    assert [finding.subjects for finding in findings.held] == [("a",)]
    assert findings.warnings == ("guard empty (accepted): nobody is in 'Île: x'",)


def test_many_findings_of_a_guard_are_counted() -> None:
    findings = judged(stats_of({f"s{number:02}": 0 for number in range(23)}))
    assert len(findings.warnings) == 21
    assert findings.warnings[-1] == "guard empty: 3 more"


def test_a_long_clause_is_cut() -> None:
    findings = judged(stats_of({"a": 1}, clauses=(("a", "x" * 1_000_000, 0),)))
    assert max(map(len, findings.warnings)) < 200


def test_it_says_when_pairs_were_not_looked_at() -> None:
    many = counted(users_of(3), holds_of(3, {f"s{number}": 1.0 for number in range(201)}))
    assert any(re.search("not looked at.*200", line) for line in judged(many).warnings)
    assert not any("not looked at" in line for line in judged(many, overlap="off").warnings)


def test_the_configuration_alone_can_be_looked_at() -> None:
    definitions = tuple(tag(f"s{number}", campaigns=("x",)) for number in range(11))
    found = config_findings(definitions, {"s3": rule_of("age")}, config_of(), ("age",))
    assert [(finding.guard, finding.subjects) for finding in found] == [("campaign", ("x",)), ("demographics", ("s3",))]

"""What the models go by: the gain of each feature, and what is lost without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from engine.reporting.message import Message, Name, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import MOST_MODELS, MOST_ROWS, listed, missing, number, share, specs

if TYPE_CHECKING:
    from engine.propensity.spec import ModelSpec
    from engine.reporting.facts import Facts


def section(facts: Facts) -> Section:
    """The most important features of each model, by two measures."""
    title, models = say("importance.title"), specs(facts)
    if not models:
        return Section("importance", "scientist", title, missing=missing(facts, say("models.none")))
    return Section(
        "importance",
        "scientist",
        title,
        sentences=tuple(_told(spec) for spec in models),
        figures=tuple(figure for spec in models[:MOST_MODELS] for figure in _figures(spec)),
    )


def _told(spec: ModelSpec) -> Message:
    used = [name for name, gain in spec.importance if gain > 0]
    if not used:
        return say("importance.unused", target=Name(spec.target.name), features=len(spec.features))
    return say(
        "importance.told",
        target=Name(spec.target.name),
        used=len(used),
        features=len(spec.features),
        first=listed(used[:3], "feature"),
    )


def _figures(spec: ModelSpec) -> Iterator[Figure]:
    total = sum(gain for _, gain in spec.importance)
    if total > 0:
        shares = [(name, gain / total) for name, gain in spec.importance if gain > 0]
        first = shares[:2]
        yield _bars(
            spec,
            "gain",
            shares,
            say(
                "importance.gain_title",
                target=Name(spec.target.name),
                first=listed([name for name, _ in first]),
                share=share(sum(part for _, part in first)),
            ),
        )
    losses = list(spec.permutation)
    if losses:
        yield _bars(
            spec,
            "permutation",
            losses,
            say(
                "importance.permutation_title",
                target=Name(spec.target.name),
                first=Name(losses[0][0]),
                loss=number(losses[0][1]),
            ),
        )


def _bars(spec: ModelSpec, kind: str, found: list[tuple[str, float]], title: Message) -> Figure:
    rows = [(name, value, name) for name, value in found[:MOST_ROWS]]
    return Figure(
        key=f"importance_{kind}_{spec.target.name}",
        kind="bars",
        title=title,
        definition=say(f"importance.{kind}_definition", rows=spec.metrics.rows),
        table=pl.DataFrame(rows, {"feature": pl.String, kind: pl.Float64, "meaning": pl.String}, orient="row"),
        fields=(
            Field("feature", say("importance.feature")),
            Field(kind, say(f"importance.{kind}"), "share" if kind == "gain" else "number"),
            Field("meaning", say("importance.meaning"), vocabulary="feature"),
        ),
        x=kind,
        y="feature",
    )

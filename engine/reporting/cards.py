"""Cards: a page per model and a page per segment, for those who ask what one of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.config_report import Report as Settings
from engine.reporting.card_of_segment import segment_sections, segment_tiles
from engine.reporting.facts import Facts
from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Report, Section, Tile
from engine.reporting.page import render, view_of
from engine.reporting.places import CardKind, card_file, index_file, link, report_file
from engine.reporting.report import footer, names_of
from engine.reporting.sections import importance, models, realised
from engine.reporting.words import LANGUAGES, Voice
from engine.segments.kpis import RATES

if TYPE_CHECKING:
    from engine.propensity.spec import ModelSpec

_OF_MODELS: Final[Sequence[Callable[[Facts], Section]]] = (models.section, realised.section, importance.section)


@dataclass(frozen=True)
class Card:
    """A card: its file, and what it says."""

    file: Path
    report: Report


def cards_of(facts: Facts, settings: Settings) -> Iterator[Card]:
    """The cards of a date: of its models, then of its segments, each when it is asked for."""
    for spec in () if facts.bundle is None else tuple(model.spec for model in facts.bundle.models):
        yield _card(facts, settings, "target", spec.target.name, _model(facts, spec))
    for name in facts.now.sizes:
        tiles, sections = segment_tiles(facts, name), segment_sections(facts, name)
        yield _card(facts, settings, "segment", name, (tiles, sections))


def card_page(card: Card, facts: Facts) -> str:
    """The HTML of a card; it links to the report of its date and to the index, whether they are there or not."""
    links = [
        ("card.to_index", link(index_file(facts.out), card.file)),
        ("card.to_report", link(report_file(facts.out, facts.as_of), card.file)),
    ]
    views = []
    for language in LANGUAGES:
        voice = Voice(language)
        said = [{"text": voice.put(say(key, day=facts.as_of)), "link": address} for key, address in links]
        views.append({**view_of(card.report, language), "links": said})
    return render("card.html.j2", views=views, language=card.report.language)


def _card(
    facts: Facts,
    settings: Settings,
    kind: CardKind,
    name: str,
    told: tuple[tuple[Tile, ...], tuple[Section, ...]],
) -> Card:
    tiles, sections = told
    names = {language: {**names_of(facts, language), **_terms(Voice(language))} for language in LANGUAGES}
    report = Report(
        title=say(f"card.title_{kind}", name=Name(name, "segment" if kind == "segment" else "")),
        subtitle=(say("card.on", day=facts.as_of),),
        tiles=tiles,
        sections=sections,
        footer=footer(facts),
        names=names,
        language=settings.language,
        currency=settings.currency,
    )
    return Card(card_file(facts.out, facts.as_of, kind, name), report)


def _terms(voice: Voice) -> dict[tuple[str, str], str]:
    """What the cards' own names are called."""
    rates = {("rate", rate): voice.put(Message(f"card.{rate}")) for rate in RATES}
    return rates | {("side", side): voice.put(Message(f"card.side_{side}")) for side in ("this", "all")}


def _model(facts: Facts, spec: ModelSpec) -> tuple[tuple[Tile, ...], tuple[Section, ...]]:
    """What the report says of the models, of one of them."""
    alone = only(facts, spec.target.name)
    measured = spec.metrics
    tiles = (
        Tile(Quantity(measured.auc, "number"), say("card.tile_auc")),
        Tile(Quantity(next(iter(measured.lift_by_decile), None), "factor"), say("card.tile_lift")),
        Tile(Quantity(measured.base_rate, "share"), say("card.tile_base_rate")),
        Tile(Quantity(spec.target.horizon_days, "days"), say("card.tile_horizon")),
    )
    return tiles, (_purpose(facts, spec), *(section(alone) for section in _OF_MODELS))


def only(facts: Facts, target: str) -> Facts:
    """Facts in which there is one model alone."""
    bundle = facts.bundle
    return replace(
        facts,
        bundle=None
        if bundle is None
        else replace(bundle, models=tuple(model for model in bundle.models if model.spec.target.name == target)),
        validation={name: frame for name, frame in facts.validation.items() if name == target},
        validation_segments={key: frame for key, frame in facts.validation_segments.items() if key[0] == target},
    )


def _purpose(facts: Facts, spec: ModelSpec) -> Section:
    target = spec.target
    event = say("card.name", name=Name(target.event))
    if target.where is not None:
        event = say("card.event_where", event=Name(target.event), condition=Name(target.where))
    key = "card.predicts_absence" if target.absent else "card.predicts"
    whom = say("card.for_all") if target.population is None else say("card.for_some", rule=Name(target.population))
    fitted = () if facts.bundle is None else (say("card.fitted", day=facts.bundle.as_of),)
    learned = {part: (rows, positives) for part, rows, positives in spec.learned}
    rows, positives = (sum(counts[place] for counts in learned.values()) for place in (0, 1))
    few = 0 < positives < facts.min_cell
    sentences = (
        say(key, event=event, days=Quantity(target.horizon_days, "days")),
        whom,
        *fitted,
        say("card.learnt", rows=rows, positives=Quantity(None if few else positives)),
        say("card.use"),
    )
    return Section("purpose", "scientist", say("card.purpose"), sentences)

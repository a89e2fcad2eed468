"""`tamis points`: the score cards, and whether their rules tell anything."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigError
from jobs.console import clean, plural, print_json, print_table, say, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_day, session
from jobs.table_file import ToFile, check_table_file, write_table

if TYPE_CHECKING:
    from engine.points.audit import PointsAudit
    from engine.points.cards import Card
    from engine.points.findings import CardAudit

points_app = typer.Typer(help="Look at the score cards, and at what their rules tell.")

_VERDICTS = {
    "predicts": "predicts",
    "nothing": "predicts nothing",
    "wrong way": "points the wrong way",
    "unknown": "cannot be judged",
}


@points_app.command("list")
def list_cards(
    *,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print the score cards: what gives how many points, and which classes they make."""
    check_table_file(to)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.points.cards import resolved_cards
    from engine.points.tables import rules_table

    cards = resolved_cards(loaded)
    write_table(rules_table(cards), to)
    if as_json:
        print_json({"cards": [_plain(card) for card in cards]})
        return
    if quiet:
        return
    if not cards:
        write(sys.stdout, 'No score cards: add [[points]] with name = "…" and preset = "behaviour", or rules.')
    for place, card in enumerate(cards):
        write(sys.stdout, "\n" * (place > 0) + clean(f"{card.name}: {_limits(card)}"))
        rows = rules_table([card]).select("rule", "counts", "form", "points", "cap").rows()
        print_table(("  rule", "of", "form", "points", "cap"), [(f"  {name}", *map(_cell, row)) for name, *row in rows])
        write(sys.stdout, clean(f"  classes: {_classes(card)}"))
        for note in card.notes:
            write(sys.stdout, clean(f"  note: {note}"))


@points_app.command()
def audit(
    *,
    as_of: Annotated[
        str, typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day of the audit: what came before it is known.")
    ],
    outcome: Annotated[str, typer.Option("--outcome", metavar="EVENT", help="The event type that points should tell.")],
    horizon: Annotated[
        int, typer.Option("--horizon", metavar="DAYS", min=1, max=3650, help="Days in which the outcome counts.")
    ],
    where: Annotated[
        str | None, typer.Option("--where", metavar="CONDITION", help='Only such events: "amount >= 50".')
    ] = None,
    card: Annotated[str | None, typer.Option("--card", metavar="CARD", help="One card; all when not given.")] = None,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure each point rule against what users did in the days after the points were published."""
    day = parse_day(as_of)
    check_table_file(to)
    if not outcome.strip():
        raise ConfigError(
            "--outcome expects an event type, got nothing",
            code="event-type-unknown",
            hint="For example: --outcome purchase",
        )
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.config import Target
    from engine.points.audit import OUTCOME, audit_points
    from engine.points.tables import audit_table, class_table

    target = Target(name=OUTCOME, event=outcome, where=where, horizon_days=horizon)
    with session(loaded.config, quiet=quiet) as run:
        found = audit_points(run.config, day, target, executor=run.executor, card=card, progress=run.progress)
    rules = audit_table(found)
    write_table(rules, to)
    for line in () if quiet else found.warnings:
        say(f"warning: {line}")
    if as_json:
        classes = class_table(found)
        about = {"published": found.published, "outcome": outcome, "where": where, "horizon_days": horizon}
        cards = [
            {
                "card": entry.card,
                "users": entry.users.users,
                "positives": entry.users.positives,
                "ranked": entry.ranked,
                "auc": None if entry.area is None else entry.area.value,
                "auc_low": None if entry.area is None else entry.area.low,
                "auc_high": None if entry.area is None else entry.area.high,
                "rules": rules.filter(rules["card"] == entry.card).drop("card").to_dicts(),
                "classes": classes.filter(classes["card"] == entry.card).drop("card").to_dicts(),
            }
            for entry in found.cards
        ]
        print_json({**about, "cards": cards, "warnings": list(found.warnings)})
        return
    if not quiet:
        for entry in found.cards:
            _print_card(found, entry)


def _print_card(audit: PointsAudit, entry: CardAudit) -> None:
    target, everyone = audit.outcome, entry.users
    condition = "" if target.where is None else f" with {target.where}"
    what = f"{target.event}{condition} within {plural(target.horizon_days, 'day')}"
    write(sys.stdout, clean(f"\nPoints of {audit.published}, {entry.card}: {what}"))
    rate = f"{everyone.positives / everyone.users:.2%}" if everyone.users else "–"
    area = "" if entry.area is None else f"; AUC {_with_interval(entry.area)}"
    write(sys.stdout, f"  {plural(everyone.users, 'user')}, it came for {everyone.positives:,} ({rate}){area}")
    if entry.ranked < everyone.users:
        write(sys.stdout, f"  AUCs are measured on a sample of {plural(entry.ranked, 'user')}")
    rows = [
        (
            f"  {rule.rule}",
            rule.given.users,
            _rate(rule.given.positives, rule.given.users),
            _rate(rule.others.positives, rule.others.users),
            _with_interval(rule.lift),
            _with_interval(rule.area),
            _with_interval(rule.gain, "+.3f"),
            (f"unknown: {rule.few}" if rule.few else _VERDICTS[rule.verdict]) + " (takes points)" * rule.takes,
        )
        for rule in entry.rules
    ]
    print_table(("  rule", "users", "rate", "others", "lift", "AUC", "AUC it adds", "verdict"), rows)
    write(sys.stdout, "")
    classes = [
        (f"  {name.name}", name.counts.users, f"{name.share:.1%}", _rate(name.counts.positives, name.counts.users))
        for name in entry.classes
    ]
    print_table(("  class", "users", "share", "rate"), classes)
    for verdict in ("nothing", "wrong way"):
        names = [rule.rule for rule in entry.rules if rule.verdict == verdict]
        if names:
            write(sys.stdout, clean(f"  {_VERDICTS[verdict]}: {', '.join(names)}"))


def _rate(cases: int, users: int) -> str:
    return f"{cases / users:.2%}" if users else "–"


def _with_interval(found: Any, form: str = ".3f") -> str:
    """`1.204 (1.101–1.316)`."""
    if found is None:
        return "–"
    value = "–" if found.value is None else format(found.value, form)
    return f"{value} ({format(found.low, form)} to {format(found.high, form)})"


def _limits(card: Card) -> str:
    cap = "without limit" if card.cap is None else f"at most {card.cap:g}"
    return f"at least {card.floor:g} points, {cap}"


def _classes(card: Card) -> str:
    names = [f"{name}{_label(card, name)} over {over:g}" for name, over in card.classes]
    return ", ".join([*names, f"{card.base}{_label(card, card.base)} below"] if names else [card.base])


def _label(card: Card, name: str) -> str:
    french = card.labels.get(name, {}).get("fr")
    return "" if french is None else f" ({french})"


def _plain(card: Card) -> dict[str, Any]:
    return {
        "card": card.name,
        "rules": [rule.model_dump(mode="json", exclude_defaults=True) for rule in card.rules],
        "floor": card.floor,
        "cap": card.cap,
        "classes": dict(card.classes),
        "base": card.base,
        "labels": card.labels,
        "notes": list(card.notes),
    }


def _cell(value: object) -> object:
    return "–" if value is None else value

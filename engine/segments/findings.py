"""What guards find, what of it holds a publish back, and what a person accepted."""

from __future__ import annotations

import shlex
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.config import Guards
from engine.errors import ConfigError, HeldError
from engine.segments.definition import Definition
from engine.suggest import did_you_mean

GUARDS: Final = (
    "empty",
    "small",
    "clause",
    "jump",
    "shift",
    "unassigned",
    "overlap",
    "campaign",
    "demographics",
)
"""The names of the guards, as they stand in `[guards]`."""

_SHOWN: Final = 20


@dataclass(frozen=True)
class Finding:
    """One thing that a guard found.

    Attributes:
        guard: One of `GUARDS`.
        subjects: The segments (or the campaign) it is about; empty for all users.
        text: One line.
    """

    guard: str
    subjects: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Findings:
    """What becomes of the findings.

    Attributes:
        held: Those that hold the publish back.
        warnings: All others, one line each, at most 20 of a guard.
    """

    held: tuple[Finding, ...]
    warnings: tuple[str, ...]


def settle(
    found: Iterable[Finding], guards: Guards, accept: Collection[str] = (), notes: Sequence[str] = ()
) -> Findings:
    """Tell the findings that hold a publish back from those that warn.

    Args:
        found: All findings, in the order in which they are told.
        guards: What each guard does; findings of a guard that is off are dropped.
        accept: Names of guards, or `guard:segment`, whose findings warn instead of holding back.
        notes: Further warnings.
    """
    accepted = {_read(entry) for entry in accept}
    held: list[Finding] = []
    lines: list[tuple[str, str]] = []
    for finding in found:
        action = getattr(guards, finding.guard)
        granted = any((finding.guard, subject) in accepted for subject in ("", *finding.subjects))
        if action == "hold" and not granted:
            held.append(finding)
        elif action != "off":
            mark = " (accepted)" if action == "hold" else ""
            lines.append((finding.guard, f"guard {finding.guard}{mark}: {finding.text}"))
    return Findings(tuple(held), (*_first(lines, "guard {}: {} more"), *notes))


def check_accepted(accept: Iterable[str], definitions: Iterable[Definition]) -> None:
    """Stop before any work when something is accepted that no guard can find.

    Args:
        accept: Names of guards, or `guard:segment` (for the guard `campaign`: `campaign:name`).
        definitions: The segments.

    Raises:
        ConfigError: All entries that name no guard, or no segment or campaign.
    """
    listed = tuple(definitions)
    segments = {definition.name for definition in listed}
    campaigns = {unicodedata.normalize("NFC", name) for definition in listed for name in definition.campaigns}
    problems = []
    for entry in accept:
        guard, subject = _read(entry)
        known, what = (campaigns, "campaign") if guard == "campaign" else (segments, "segment")
        if guard not in GUARDS:
            problems.append(f"  {entry!r}: no guard {guard!r}{did_you_mean(guard, GUARDS)}")
        elif ":" in entry and not subject:
            problems.append(f"  {entry!r}: no name behind the colon; {guard} alone accepts all that the guard finds")
        elif subject and subject not in known:
            problems.append(f"  {entry!r}: no {what} {subject!r}{did_you_mean(subject, known)}")
    if problems:
        raise ConfigError(
            "--accept names what does not exist\n" + "\n".join(problems),
            code="accept-unknown",
            hint=f"Give a guard ({', '.join(GUARDS)}), or a guard and a segment: --accept jump:NAME.",
        )


def held_error(findings: Findings) -> HeldError:
    """The error of a run that publishes nothing because of its findings: what was found, and how to accept it."""
    lines = _first(
        [(finding.guard, f"  {finding.guard}: {finding.text}") for finding in findings.held], "  {}: {} more"
    )
    first = findings.held[0]
    guards = list(dict.fromkeys(finding.guard for finding in findings.held))
    accept = " ".join(f"--accept {guard}" for guard in guards)
    if first.subjects:
        accept += f" (or --accept {shlex.quote(f'{first.guard}:{first.subjects[0]}')} for that one alone)"
    return HeldError(
        "nothing was published, the tables of the last run stay: guards found what a person should look at\n"
        + "\n".join(lines),
        code="publish-held",
        hint=f'Is it as it should be? Run again with {accept}; `guards.{first.guard} = "warn"` only warns.',
    )


def _first(lines: Sequence[tuple[str, str]], more: str) -> list[str]:
    """The first lines of each guard, and how many more there are."""
    seen: Counter[str] = Counter()
    shown = []
    for guard, line in lines:
        seen[guard] += 1
        if seen[guard] <= _SHOWN:
            shown.append(line)
    return [*shown, *(more.format(guard, count - _SHOWN) for guard, count in seen.items() if count > _SHOWN)]


def _read(entry: str) -> tuple[str, str]:
    guard, _, subject = entry.partition(":")
    return guard.strip(), unicodedata.normalize("NFC", subject.strip())

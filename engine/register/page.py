"""The record of processing as a page of Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_NOTHING: Final = "not told"


def page_of(record: Mapping[str, Any]) -> str:
    """The page of a record, as `engine.register.record.record_of` gives it."""
    what = "Scores and segments" if record["kind"] == "score" else "Models, clusters and edges (fit)"
    lines = [
        f"# Record of processing: {record['as_of']}",
        "",
        f"{what} as of {record['as_of']}, run `{record['run_id']}`"
        + (f" with bundle `{record['bundle']}`." if record["bundle"] else "."),
        "",
        "## Who",
        "",
        f"- Controller: {_text(record['controller'])}",
        f"- Data protection officer: {_text(record['data_protection_officer'])}",
        f"- Recipients: {_listed(record['recipients'])}",
        f"- Transfers outside of the European Union: {_text(record['transfers'])}",
        "",
        "## What for",
        "",
        *_purposes(record),
        "",
        "## Whose data, and from where",
        "",
        *_table(
            ("source", "what", "path", "files", "sha256"),
            (
                (one["source"], one["what"], ", ".join(one["path"]), one.get("files", ""), one.get("sha256", "")[:16])
                for one in record["sources"]
            ),
        ),
        "",
        f"- Event types: {_listed(record['data']['event_types'])}",
        f"- Attributes of contacts: {_listed(record['data']['contact_attributes'])}",
        "",
        "## What is made of it",
        "",
        *_table(("features", "columns"), ((name, len(columns)) for name, columns in record["features"].items())),
        "",
        *_table(
            ("target", "event", "days", "purposes"),
            ((one["target"], one["event"], one["horizon_days"], _listed(one["purposes"])) for one in record["targets"]),
        ),
        "",
        *_table(
            ("segment", "kind", "version", "purposes"),
            ((one["segment"], one["kind"], one["version"], _listed(one["purposes"])) for one in record["segments"]),
        ),
        "",
        *_table(
            ("table", "columns"),
            ((name, len(columns)) for name, columns in record["data"]["tables"].items()),
        ),
        "",
        "## Exports",
        "",
        *_table(
            ("export", "tool", "date", "rows", "purposes", "segments"),
            (
                (
                    one["export"],
                    one["tool"],
                    one["as_of"],
                    one["rows"],
                    _listed(one["purposes"]),
                    _listed(one["segments"]),
                )
                for one in record["exports"]
            ),
        ),
        "",
        "## How long",
        "",
        *_retention(record["retention"]),
        "",
        "## How it is protected",
        "",
        f"- Pseudonyms: {_pseudonyms(record['security'])}",
        f"- Files are readable by: {record['security']['readable_by']}",
        f"- Table format: {record['security']['table_format']}",
        "",
        "## Counts",
        "",
        *_counts(record["counts"]),
    ]
    return "\n".join(_without_double_blanks(lines)) + "\n"


def _pseudonyms(security: Mapping[str, Any]) -> str:
    return f"yes, under the key {security['key_id']}" if security["pseudonyms"] else "no"


def _purposes(record: Mapping[str, Any]) -> list[str]:
    purposes, basis = record["purposes"], record["legal_basis"]
    lines = [
        f"- Of any processing: {_listed(purposes['of_any_processing'])}",
        f"- Of exports: {_listed(purposes['of_exports'])}",
    ]
    lines += [f"- Events {_listed(types)}: {name}" for name, types in purposes["of_event_types"].items()]
    lines += [f"- Legal basis of {name}: {_cell(text)}" for name, text in basis.items()]
    return lines


def _retention(retention: Mapping[str, Any]) -> list[str]:
    def days(number: int | None) -> str:
        return "no period is set" if number is None else f"{number} days"

    return [
        f"- People, from their last act: {days(retention['person_days'])}",
        *(f"- Table {name}: {days(number)}" for name, number in retention["tables"].items()),
        f"- Records of runs and of processing: {days(retention['runs_days'])}",
        f"- Files of exports: {days(retention['exports_days'])}",
    ]


def _counts(counts: Mapping[str, Any], before: str = "") -> list[str]:
    lines: list[str] = []
    for name, value in counts.items():
        where = f"{before}{name}"
        if isinstance(value, Mapping):
            lines += _counts(value, f"{where}, ")
        elif isinstance(value, int | float | str):
            lines.append(f"- {_cell(where)}: {_cell(value)}")
    return lines


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    cells = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    if not cells:
        return []
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *cells]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(_cell(value) for value in values) or "none"


def _text(text: str) -> str:
    return _cell(text) or _NOTHING


def _cell(value: object) -> str:
    # What a configuration names can hold anything that means something in Markdown.
    plain = " ".join(str(value).split())
    for letter in "\\|<>`*[]":
        plain = plain.replace(letter, f"\\{letter}")
    return plain


def _without_double_blanks(lines: Sequence[str]) -> list[str]:
    return [line for at, line in enumerate(lines) if line or not at or lines[at - 1]]

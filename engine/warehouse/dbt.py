"""A `sources.yml` for dbt: the tables and columns of a date with their descriptions."""

from __future__ import annotations

from collections.abc import Sequence

from engine.warehouse.dictionary import Column, Table

Node = dict[str, "Node"] | list["Node"] | str | int | bool


def dbt_sources(tables: Sequence[Table], *, name: str = "tamis", schema: str | None = None) -> str:
    """The file, as dbt 1.8 and later reads it.

    Args:
        tables: The tables.
        name: Of the source.
        schema: Where the warehouse has them; dbt takes the name of the source when None.
    """
    source: dict[str, Node] = {
        "name": name,
        "description": "Tables that Tamis publishes, one partition per as_of.",
        **({} if schema is None else {"schema": schema}),
        "tables": [_table(table) for table in tables],
    }
    return "\n".join(_lines({"version": 2, "sources": [source]}, 0)) + "\n"


def _table(table: Table) -> Node:
    return {
        "name": table.name,
        "description": f"{table.meaning} Key: {', '.join(table.key)}.",
        "columns": [_column(column) for column in table.columns],
    }


def _column(column: Column) -> Node:
    described: dict[str, Node] = {"name": column.name, "description": column.meaning, "quote": True}
    if column.unit:
        described["meta"] = {"unit": column.unit}
    if column.required:
        described["data_tests"] = ["not_null"]
    return described


def _lines(node: Node, depth: int) -> list[str]:
    """A node in block style."""
    space = "  " * depth
    if isinstance(node, dict):
        found = []
        for key, value in node.items():
            if isinstance(value, dict | list):
                found += [f"{space}{key}:", *_lines(value, depth + 1)]
            else:
                found.append(f"{space}{key}: {_scalar(value)}")
        return found
    if isinstance(node, list):
        found = []
        for value in node:
            if isinstance(value, dict | list):
                first, *rest = _lines(value, depth + 1)
                found += [f"{space}- {first.lstrip()}", *rest]
            else:
                found.append(f"{space}- {_scalar(value)}")
        return found
    return [f"{space}{_scalar(node)}"]


def _scalar(value: Node) -> str:
    """A text between quotes, as YAML escapes it: JSON has no escape for what lies beyond 16 bits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + "".join(map(_letter, str(value))) + '"'


def _letter(letter: str) -> str:
    if letter in {'"', "\\"}:
        return f"\\{letter}"
    code = ord(letter)
    if code > 0xFFFF:
        return f"\\U{code:08X}"
    return letter if letter.isprintable() and letter != "\ufeff" else f"\\u{code:04X}"

"""Redshift: tables filled by COPY with a manifest, or external tables of Spectrum."""

from __future__ import annotations

import json

from engine.warehouse.statements import LOADING, Asked, Part, block, comments, defined, deleted


def native(asked: Asked) -> list[str]:
    """The table, sorted by date and spread by its user or segment, with comments."""
    spread = asked.quote(asked.table.key[1])
    columns = block([defined(asked, column) for column in asked.columns])
    return [
        (
            f"CREATE TABLE IF NOT EXISTS {asked.name} {columns}\n"
            f"DISTKEY({spread})\nSORTKEY({asked.quote('as_of')}, {spread})"
        ),
        *comments(asked),
    ]


def load(asked: Asked) -> list[str]:
    """The date in place of what the table has of it, in one transaction.

    COPY puts the columns of a Parquet file into a table in their order and adds none, so each part goes through a
    temporary table with the columns of the files.
    """
    waiting = asked.quote(asked.table.name + LOADING)
    columns = block([f"{asked.quote(column.name)} {asked.type_of(column)}" for column in asked.inner])
    role = "DEFAULT" if asked.role is None else asked.text(asked.role)
    nested = " SERIALIZETOJSON" if any(column.type.item is not None for column in asked.inner) else ""
    steps = []
    for place, part in enumerate(asked.parts):
        steps += [
            (
                f"COPY {waiting}\nFROM {asked.text(_manifest_path(asked, place))}\n"
                f"IAM_ROLE {role} FORMAT AS PARQUET{nested} MANIFEST"
            ),
            (
                f"INSERT INTO {asked.name} ({asked.names(asked.columns)})\n"
                f"SELECT {asked.values(part)}, {asked.names(asked.inner)}\nFROM {waiting}"
            ),
            f"DELETE FROM {waiting}",
        ]
    return [
        "BEGIN TRANSACTION",
        deleted(asked),
        f"CREATE TEMPORARY TABLE {waiting} {columns}",
        *steps,
        f"DROP TABLE {waiting}",
        "COMMIT",
    ]


def manifests(asked: Asked) -> dict[str, str]:
    """The manifests that the statements of `load` name: path relative to the location, and content (JSON)."""
    return {
        _manifest_path(asked, place).removeprefix(f"{asked.location}/"): _manifest(asked, part)
        for place, part in enumerate(asked.parts)
    }


def external(asked: Asked) -> list[str]:
    """An external table and its partitions of the date; the schema must be an external one."""
    columns = block([f"{asked.quote(column.name)} {_external_type(asked, column.name)}" for column in asked.inner])
    keys = ", ".join(f"{asked.quote(key.name)} {_external_type(asked, key.name)}" for key in asked.keys)
    partitions = []
    for part in asked.parts:
        values = (asked.as_of.isoformat(), *part.values)
        named = ", ".join(
            f"{asked.quote(key.name)} = {asked.text(value)}" for key, value in zip(asked.keys, values, strict=True)
        )
        where = asked.text(f"{asked.location}/{part.folder}/")
        partitions.append(f"ALTER TABLE {asked.name} ADD IF NOT EXISTS PARTITION ({named}) LOCATION {where}")
    return [
        (
            f"CREATE EXTERNAL TABLE {asked.name} {columns}\nPARTITIONED BY ({keys})\nSTORED AS PARQUET\n"
            f"LOCATION {asked.text(f'{asked.folder}/')}"
        ),
        *partitions,
    ]


def _external_type(asked: Asked, name: str) -> str:
    column = next(column for column in asked.columns if column.name == name)
    # Spectrum has arrays, tables have SUPER.
    return "ARRAY<VARCHAR(65535)>" if column.type.item is not None else asked.type_of(column)


def _manifest_path(asked: Asked, place: int) -> str:
    return f"{asked.location}/_redshift/{asked.table.name}-{asked.as_of}-{place:05d}.manifest"


def _manifest(asked: Asked, part: Part) -> str:
    entries = [
        {"url": f"{asked.location}/{part.folder}/{name}", "mandatory": True, "meta": {"content_length": size}}
        for name, size in zip(part.files, part.sizes, strict=True)
    ]
    return json.dumps({"entries": entries}, indent=2) + "\n"

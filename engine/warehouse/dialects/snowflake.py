"""Snowflake: tables filled from a stage, or external tables over it."""

from __future__ import annotations

from engine.warehouse.dictionary import Column
from engine.warehouse.sql import table_name
from engine.warehouse.statements import Asked, block, defined, deleted

_FILES_PER_COPY = 1000
_FORMAT = "FILE_FORMAT = (TYPE = PARQUET)"


def stage(asked: Asked) -> str:
    """The stage over the output root; it may need a storage integration."""
    return f"CREATE STAGE IF NOT EXISTS {_stage(asked)} URL = {asked.text(f'{asked.location}/')} {_FORMAT}"


def native(asked: Asked) -> list[str]:
    """The table, clustered by date, with comments."""
    columns = [f"{defined(asked, column)} COMMENT {asked.text(column.comment)}" for column in asked.columns]
    return [
        (
            f"CREATE TABLE IF NOT EXISTS {asked.name} {block(columns)}\nCLUSTER BY ({asked.quote('as_of')})\n"
            f"COMMENT = {asked.text(asked.table.meaning)}"
        )
    ]


def load(asked: Asked) -> list[str]:
    """The date in place of what the table has of it, in one transaction; `FORCE`, as the date may have been there."""
    copies = []
    for part in asked.parts:
        for start in range(0, len(part.files), _FILES_PER_COPY):
            files = ", ".join(asked.text(name) for name in part.files[start : start + _FILES_PER_COPY])
            copies.append(
                f"COPY INTO {asked.name} ({asked.names(asked.columns)})\n"
                f"FROM (SELECT {asked.values(part)}, {', '.join(_value(asked, '$1', column) for column in asked.inner)}"
                f" FROM {asked.text(f'@{_stage(asked)}/{part.folder}/')})\n"
                f"FILES = ({files})\n{_FORMAT} FORCE = TRUE"
            )
    return [stage(asked), "BEGIN TRANSACTION", deleted(asked), *copies, "COMMIT"]


def external(asked: Asked) -> list[str]:
    """An external table over the files of all dates; the keys are taken from their paths."""
    columns = [
        *(f"{asked.quote(key.name)} {asked.type_of(key)} AS ({_from_path(asked, key)})" for key in asked.keys),
        *(
            f"{asked.quote(column.name)} {asked.type_of(column)} AS ({_value(asked, 'VALUE', column)})"
            for column in asked.inner
        ),
    ]
    return [
        stage(asked),
        (
            f"CREATE OR REPLACE EXTERNAL TABLE {asked.name} {block(columns)}\n"
            f"PARTITION BY ({asked.names(asked.keys)})\n"
            f"LOCATION = @{_stage(asked)}/{asked.table.name}/ PATTERN = '.*[.]parquet'\n{_FORMAT}\n"
            f"COMMENT = {asked.text(asked.table.meaning)}"
        ),
    ]


def _stage(asked: Asked) -> str:
    return table_name(asked.schema, asked.stage, asked.dialect)


def _value(asked: Asked, row: str, column: Column) -> str:
    # The name of a field is told as it stands in the file.
    field = '"' + column.name.replace('"', '""') + '"'
    return f"{row}:{field}::{asked.type_of(column)}"


def _from_path(asked: Asked, key: Column) -> str:
    found = f"SPLIT_PART(SPLIT_PART(METADATA$FILENAME, {asked.text(f'/{key.name}=')}, 2), '/', 1)"
    return f"TO_DATE({found})" if key.type.kind == "date" else found

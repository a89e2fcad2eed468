"""Spark: tables of its own, or tables over the files."""

from __future__ import annotations

from engine.warehouse.statements import Asked, block

# Else the segment `007` is read as the number 7.
_PATHS_ARE_TEXT = "SET spark.sql.sources.partitionColumnTypeInference.enabled = false"


def native(asked: Asked) -> list[str]:
    """The table, one partition per date, with comments."""
    return [f"{_table(asked)}\nPARTITIONED BY ({asked.quote('as_of')})\nCOMMENT {asked.text(asked.table.meaning)}"]


def load(asked: Asked) -> list[str]:
    """The date in place of the table's partition of it."""
    folder = f"{asked.folder}/as_of={asked.as_of}".replace("`", "``")
    # The partition that is written to stands in the statement, and not among the columns.
    values = [
        f"CAST({asked.quote(column.name)} AS {asked.type_of(column)}) AS {asked.quote(column.name)}"
        for column in asked.columns
        if column.name != "as_of"
    ]
    return [
        _PATHS_ARE_TEXT,
        (
            f"INSERT OVERWRITE TABLE {asked.name} PARTITION ({asked.quote('as_of')} = {asked.day})\n"
            f"SELECT {', '.join(values)}\nFROM parquet.`{folder}`"
        ),
    ]


def external(asked: Asked) -> list[str]:
    """A table over the files of all dates; its partitions are found by `MSCK REPAIR`."""
    return [
        (
            f"{_table(asked)}\nPARTITIONED BY ({asked.names(asked.keys)})\nLOCATION {asked.text(asked.folder)}\n"
            f"COMMENT {asked.text(asked.table.meaning)}"
        ),
        f"MSCK REPAIR TABLE {asked.name}",
    ]


def _table(asked: Asked) -> str:
    columns = [
        f"{asked.quote(column.name)} {asked.type_of(column)} COMMENT {asked.text(column.comment)}"
        for column in asked.columns
    ]
    return f"CREATE TABLE IF NOT EXISTS {asked.name} {block(columns)}\nUSING PARQUET"

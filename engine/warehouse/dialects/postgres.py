"""PostgreSQL: tables and comments. It reads no Parquet; `tamis load postgres` fills them."""

from __future__ import annotations

from engine.warehouse.statements import Asked, block, comments, defined


def native(asked: Asked) -> list[str]:
    """The table and its comments.

    A block range index finds the rows of a date, which lie together, at no cost for a load. There is no primary key:
    the keys were checked when the date was published, and an index over them doubles the time of a load.
    """
    index = asked.quote(f"{asked.table.name}_as_of")
    return [
        f"CREATE TABLE IF NOT EXISTS {asked.name} {block([defined(asked, column) for column in asked.columns])}",
        f"CREATE INDEX IF NOT EXISTS {index} ON {asked.name} USING brin ({asked.quote('as_of')})",
        *comments(asked),
    ]

"""What the footer of a Parquet file says of the values that its columns lack, without reading its data.

A footer counts nulls; that a column of texts has no empty one is told by its smallest value. What it does not say is
left to those who read the data. Nothing heavy is imported here: the process that opens footers uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def empty_values(metadata: Any, columns: Sequence[str]) -> dict[str, int]:
    """Rows without a value in columns of a file, of those whose footer tells.

    Args:
        metadata: `pyarrow.parquet.FileMetaData`.
        columns: Names of columns; what is none of the file, or nested, is left out.
    """
    schema = metadata.schema
    wanted = set(columns)
    places = {schema.column(place).path: place for place in range(metadata.num_columns)} if wanted else {}
    found = {}
    for name in dict.fromkeys(columns):
        # A nested column has other paths, or repeats its values.
        if name in places and schema.column(places[name]).max_repetition_level == 0:
            known = _in_column(metadata, places[name])
            if known is not None:
                found[name] = known
    return found


def _in_column(metadata: Any, place: int) -> int | None:
    is_text = metadata.schema.column(place).physical_type == "BYTE_ARRAY"
    total = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        told = group.column(place).statistics
        if told is None or not told.has_null_count or not 0 <= told.null_count <= group.num_rows:
            return None
        total += int(told.null_count)
        if not is_text or told.null_count == group.num_rows:
            continue
        # The smallest text of all is the empty one.
        if not told.has_min_max or not told.min_raw:
            return None
    return total

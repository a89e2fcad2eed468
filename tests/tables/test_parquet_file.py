from __future__ import annotations

import io
from datetime import date

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from engine.tables.parquet_file import row_group_rows, write_row_groups

FRAME = pl.DataFrame(
    {
        "user_id": [f"user {i:05d}" for i in range(5_000)],
        "score": [i * 0.37 if i % 5 else None for i in range(5_000)],
        "orders": [i * i % 1_000_003 for i in range(5_000)],
        "level": pl.Series([i % 7 for i in range(5_000)], dtype=pl.Int32),
        "segment": [("loyal", "new", "Île-de-France")[i % 3] for i in range(5_000)],
        "day": pl.Series([date(2024, 2, 29)] * 5_000),
        "opted_in": [i % 2 == 0 for i in range(5_000)],
        "tags": [["a", "b"], []] * 2_500,
    }
)


def written(*groups: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows = write_row_groups(groups, groups[0].schema, sink)
    assert rows == sum(group.height for group in groups)
    return sink.getvalue()


def checked(content: bytes) -> pa.Table:
    return pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read()


def test_what_is_written_is_read_back() -> None:
    content = written(FRAME[:2_000], FRAME[2_000:])
    assert_frame_equal(pl.read_parquet(io.BytesIO(content)), FRAME)
    assert_frame_equal(pl.DataFrame(checked(content)), FRAME)
    metadata = pq.read_metadata(io.BytesIO(content))
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2_000, 3_000]


def test_the_footer_speaks_of_plain_types_alone() -> None:
    file = pq.ParquetFile(io.BytesIO(written(FRAME)))
    assert file.metadata.metadata is None
    types = {field.name: field.type for field in file.schema_arrow}
    assert types["user_id"] == types["segment"] == pa.string()
    assert types["day"] == pa.date32()
    logical = {file.schema.column(i).name: str(file.schema.column(i).logical_type) for i in range(4)}
    assert logical == {"user_id": "String", "score": "None", "orders": "None", "level": "None"}


def test_every_column_has_statistics_and_zstd() -> None:
    metadata = pq.read_metadata(io.BytesIO(written(FRAME)))
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    known = {column.path_in_schema: column.statistics for column in columns}
    assert (known["user_id"].min, known["user_id"].max) == ("user 00000", "user 04999")
    assert known["score"].null_count == 1_000


def test_columns_whose_values_repeat_have_dictionaries() -> None:
    rows = 20_000
    number = pl.int_range(rows, eager=True)
    frame = pl.DataFrame(
        {
            "user_id": number // 10,
            "decile": (number % 10).cast(pl.Int32),
            "amount": (number * 7919 % 5_000) / 100,
            "probability": (number * 7919 % 1_000_003) / 1_000_003,
            "event": number * 31,
            "class": (number % 5).cast(pl.String),
            "note": number.cast(pl.String) + " of them",
        }
    )
    metadata = pq.read_metadata(io.BytesIO(written(frame, frame)))
    columns = [metadata.row_group(group).column(i) for group in range(2) for i in range(metadata.num_columns)]
    found = {column.path_in_schema for column in columns if column.has_dictionary_page}
    assert found == {"decile", "amount", "class"}


def test_a_flipped_bit_in_any_page_is_found() -> None:
    content = written(FRAME)
    metadata = pq.read_metadata(io.BytesIO(content))
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    pages = 0
    for column in columns:
        end = column.data_page_offset + column.total_compressed_size
        if column.dictionary_page_offset is not None:
            end = column.dictionary_page_offset + column.total_compressed_size
        # The last bytes of a chunk are page data, whatever its header takes; a dictionary page is in the first half.
        for place in {
            end - 1,
            end - 3,
            *(() if column.dictionary_page_offset is None else (column.data_page_offset - 1,)),
        }:
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            with pytest.raises(OSError, match=r"(?i)crc"):
                checked(bytes(flipped))
            pages += 1
    assert pages >= 2 * len(columns)


def test_same_rows_same_bytes_however_they_lie_in_memory() -> None:
    chunked = pl.concat([FRAME[:1], FRAME[1:3_000], FRAME[3_000:]], rechunk=False)
    sliced = pl.concat([FRAME, FRAME]).slice(5_000, 5_000)
    assert len({written(frame) for frame in (FRAME, chunked, sliced, FRAME.filter(pl.lit(value=True)))}) == 1
    assert len({row_group_rows(frame) for frame in (FRAME, chunked, sliced)}) == 1


def test_a_file_without_rows_has_columns_and_no_row_group() -> None:
    content = written(FRAME.clear())
    assert pl.read_parquet(io.BytesIO(content)).schema == FRAME.schema
    assert pq.read_metadata(io.BytesIO(content)).num_row_groups == 0
    assert written(FRAME.clear(), FRAME) == written(FRAME)


@pytest.mark.parametrize(("columns", "rows"), [(1, 1_000_000), (20, 419_430), (40, 250_000), (400, 250_000)])
def test_row_groups_of_narrow_rows_have_more_of_them(columns: int, rows: int) -> None:
    assert row_group_rows(pl.DataFrame({f"c{i}": [1, 2] for i in range(columns)})) == rows
    assert row_group_rows(pl.DataFrame({f"c{i}": ["x" * 8, "é" * 4] for i in range(columns)})) == rows


def test_types_that_are_not_published_are_refused() -> None:
    frame = pl.DataFrame({"decile": pl.Series([1], dtype=pl.Int8)})
    with pytest.raises(ValueError, match="decile"):
        written(frame)

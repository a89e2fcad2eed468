"""The section of the configuration about table formats: where published tables go besides their folder."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.config_values import Names, Section, Text
from engine.remote.address import is_remote
from engine.suggest import did_you_mean
from engine.tables.layout import TABLES


class Publish(Section):
    """Table formats that the published tables are committed to, one commit per table and run."""

    format: Literal["parquet", "delta", "iceberg"] = "parquet"
    """`parquet`: folders of files under `out`, nothing else; `delta`, `iceberg`: committed to such tables as well."""
    url: Text | None = None
    """Folder of the tables of the format, one below it per table: a path, or `s3://…`, `gs://…`, `az://…`; `_delta` or
    `_iceberg` under `out` when not given."""
    tables: Names = ("segments", "memberships", "membership_changes", "scores", "segment_kpis")
    """The tables that are committed."""
    catalog: Text | None = None
    """Catalogue of Iceberg tables, a database as SQLAlchemy writes it (`postgresql+psycopg://…`, `sqlite:////…`); a
    SQLite file beside the tables when not given."""
    keep_days: int = Field(30, ge=0, le=36_500)
    """`tamis tables vacuum` removes what no version of the last days needs."""
    keep_versions: int = Field(10, ge=1, le=10_000)
    """So many last versions stay readable, however old they are."""
    table_version: int = Field(1, ge=1, le=9_999)
    """Raised when the type of a published column shall change: new tables are begun beside the old (`segments_v2`)."""
    state: Text | None = None
    """Local folder of work, rollups and bundles where `out` names an object store; a folder in `.tamis` beside the
    configuration when not given."""

    @field_validator("tables")
    @classmethod
    def _are_published(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in TABLES]
        if unknown:
            known = did_you_mean(unknown[0], TABLES) or f"; there are: {', '.join(TABLES)}"
            message = f"no such table: {', '.join(map(repr, unknown))}{known}"
            raise ValueError(message)
        return names

    @field_validator("url")
    @classmethod
    def _is_a_place(cls, url: str | None) -> str | None:
        if url is not None and "://" in url and not is_remote(url):
            message = f"expected a path, s3://…, gs://… or az://…, got {url!r}"
            raise ValueError(message)
        return url

    @model_validator(mode="after")
    def _belong_to_the_format(self) -> Self:
        if self.format == "parquet" and self.url is not None and not is_remote(self.url):
            message = (
                "url is a folder of Delta or Iceberg tables, and the format is 'parquet': its tables are under out"
            )
            raise ValueError(message)
        if self.catalog is not None and self.format != "iceberg":
            message = f"catalog is for format = 'iceberg', and the format is {self.format!r}"
            raise ValueError(message)
        return self

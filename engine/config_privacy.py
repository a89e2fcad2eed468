"""The sections of the configuration about the protection of people: key, pseudonyms, opposition, retention."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.config_values import Names, Section, Text
from engine.suggest import did_you_mean
from engine.tables.layout import TABLES


class Privacy(Section):
    """The secret key of this output root, and what is done with it. The key itself never stands here."""

    key_env: Text = "TAMIS_KEY"
    """Environment variable with the key: at least 32 bytes, as 64 or more hexadecimal digits; earlier keys may stand
    behind it, after a blank."""
    key_file: Text | None = None
    """File with the key in place of the variable, relative to the configuration file, for its owner alone (mode 0600).
    Workers of a cluster must see it."""
    pseudonyms: bool = False
    """Whether user ids are replaced by HMAC-SHA256 under the key as they are read, so that no table, rollup, bundle or
    log has a clear one. Exports of e-mail tools find addresses by the pseudonym."""
    opposed: Names = ()
    """Files of ids, addresses or telephone numbers of people who object to any use: text with one per line, or CSV or
    Parquet with a column `user_id`, `email` or `phone`; beside the list that `tamis suppress` keeps. They are left out
    of everything."""
    keep_register: bool = True
    """Whether each run writes a record of processing to `_register/`."""
    controller: str = ""
    """Who is responsible, for the record of processing: name and address."""
    officer: str = ""
    """The data protection officer, for the record of processing."""
    legal_basis: dict[Text, Text] = Field({})
    """The legal basis of each purpose, for the record of processing, such as `{ profiling = "consent" }`."""
    transfers: str = ""
    """Transfers to countries outside of the European Union and their safeguards, for the record of processing."""
    recipients: Names = ()
    """Who receives the tables and exports, for the record of processing."""
    readable_by: Literal["owner", "group", "all"] = "group"
    """Who may read what is written: files have the modes 0600, 0640 or 0644, folders 0700, 0750 or 0755."""


Days = Annotated[int, Field(ge=1, le=36_500)]


class Retention(Section):
    """How long what is kept about people is kept. `tamis retention` applies it; a run removes nothing by itself."""

    person_days: Days | None = None
    """Users are erased so many days after their last act; never when not given. French guidance for prospects: three
    years (1,095) from the last contact that comes from the person."""
    acts: Names = ()
    """Event types that are an act of the person; purchases, clicks, logins, replies and visits by their roles when
    empty. Sends, deliveries and opens never are."""
    tables: dict[Text, Days] = Field({})
    """Days that the dates of a published table are kept, counted from the newest date, such as `{ scores = 400 }`."""
    runs_days: Days | None = None
    """Days that records of runs and of processing are kept, counted from the newest."""
    exports_days: Days | None = None
    """Days after which files of exports that are still where they were written are removed."""

    @field_validator("tables")
    @classmethod
    def _are_published(cls, days: dict[str, int]) -> dict[str, int]:
        unknown = [name for name in days if name not in TABLES]
        if unknown:
            known = did_you_mean(unknown[0], TABLES) or f"; there are: {', '.join(TABLES)}"
            message = f"no such table: {', '.join(map(repr, unknown))}{known}"
            raise ValueError(message)
        return days

    @model_validator(mode="after")
    def _acts_have_a_use(self) -> Self:
        if self.acts and self.person_days is None:
            message = "acts is for person_days, which is not given"
            raise ValueError(message)
        return self

"""The sections of the configuration about contacts: attributes, and how these are cleaned, enriched and told apart."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.config_values import Names, Paths, Section, Text


class RowRule(Section):
    """A condition that rows should satisfy; a null does not break it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Names it in counts and tables, and the flag's column: letters a-z, digits and `_`."""
    holds: Text
    """SQL condition over the columns, true for a good row, such as `birth_year < 2020 OR parent_email IS NOT NULL`."""
    action: Literal["count", "flag", "quarantine"] = "count"
    """`count`: broken rows are counted; `flag`: they also get an attribute `rule_<name>` that is true (contacts only);
    `quarantine`: they are left out, and listed in `rejects`."""


class Cleaning(Section):
    """How attributes of contacts are normalised before anything uses them.

    All text is NFC. Nothing is changed in the files.
    """

    email: Text | None = None
    """Column with the e-mail address: white space and case of the domain are normalised, and the attributes
    `email_valid`, `email_role` and `email_disposable` are added."""
    phone: Text | None = None
    """Column with the telephone number: written as E.164 where it is a possible one, and `phone_valid` is added."""
    phone_region: str = Field("FR", pattern=r"^[A-Z]{2}$")
    """Country (ISO 3166) of numbers that do not say theirs."""
    names: Names = ()
    """Columns with names of people or places: white space trimmed and folded to one blank."""
    role_names: Paths | None = None
    """Text files of local parts that belong to a role (`info`, `contact`, …), one per line; a short list when not
    given."""
    disposable_domains: Paths | None = None
    """Text files of domains of throw-away addresses, one per line; none when not given."""
    invalid: Literal["keep", "null"] = "keep"
    """What becomes of addresses and numbers that cannot be right: they stay as they are, or become null."""


class Enrichment(Section):
    """A table whose columns are added to the contacts."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Names it in the record of the run."""
    path: Paths
    """Files, globs or folders of Parquet or CSV files, relative to the configuration file; one row per key."""
    key: Text
    """The column of the table that is matched."""
    on: Text = "user_id"
    """What it is matched with: `user_id`, or an attribute of the contacts such as `postcode`."""
    columns: Names = ()
    """The columns to add; all but the key when empty."""
    prefix: str = Field("", pattern=r"^[a-z0-9_]*$")
    """Put in front of their names."""


class Duplicates(Section):
    """Contacts that are of one person: `tamis duplicates find` lists them, `merge` and `undo` decide."""

    exact: Names = ()
    """Attributes that are one person's alone, such as the e-mail address: equal values are one person."""
    compare: dict[Text, Annotated[float, Field(gt=0, le=100)]] = Field({})
    """Attributes that are compared letter by letter and word by word, and their weight in the score."""
    block: Names = ()
    """Only contacts that agree in one of these are compared: an attribute, or `soundex(last_name)`,
    `first(last_name, 4)`, `digits(phone, 6)`, several joined by `+`."""
    largest_block: int = Field(2_000, ge=2, le=100_000)
    """Larger blocks are not compared; they are told."""
    review: float = Field(0.85, ge=0, le=1)
    """Pairs with this score or more are listed for a person to decide."""
    merge: float | None = Field(None, ge=0, le=1)
    """Pairs with this score or more are merged without asking; never when not given."""
    merge_exact: bool = False
    """Whether equal values of `exact` are merged without asking."""
    largest_group: int = Field(10, ge=2, le=100_000)
    """Equal values of `exact` that more contacts share, such as the address of a shop, are listed and told, and never
    merged without asking."""

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.merge is not None and self.merge < self.review:
            message = f"merge ({self.merge}) must be at least review ({self.review})"
            raise ValueError(message)
        if self.compare and not self.block:
            message = "block: expected what contacts must agree in to be compared, such as ['first(last_name, 4)']"
            raise ValueError(message)
        return self


class Contacts(Section):
    """One row per user with attributes that rules, models and segment tables can use."""

    path: Paths
    """Files, globs or folders of Parquet files, relative to the configuration file."""
    user_id: Text
    """The column that holds the user's id."""
    columns: Names = ()
    """The attributes to keep; all when empty."""
    model_columns: Names = ()
    """The attributes a model may learn from. Without `valid_from` they are as of today: list only what no outcome
    changes."""
    valid_from: Text | None = None
    """Column with the time or day from which a row holds. Of a user's rows the last one before midnight of the day
    that is looked at counts; without it each user has one row."""
    cleaning: Cleaning = Cleaning()
    """How attributes are normalised."""
    rules: tuple[RowRule, ...] = ()
    """Conditions across attributes."""
    enrich: tuple[Enrichment, ...] = ()
    """Tables whose columns are added."""
    duplicates: Duplicates = Duplicates()
    """How contacts of one person are found."""

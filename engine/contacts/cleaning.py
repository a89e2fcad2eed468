"""How attributes are normalised, and what is told of addresses and numbers beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.config_contacts import Cleaning
from engine.contacts import emails, phones
from engine.contacts.lists import domains_of, read_list
from engine.contacts.text import by_value, folded, is_textual

_EMAIL_FLAGS: Final = {"email_valid": "valid", "email_role": "role", "email_disposable": "disposable"}
_PHONE_FLAGS: Final = {"phone_valid": "valid"}


@dataclass(frozen=True)
class Lists:
    """The supplied lists: local parts of roles, domains of throw-away addresses."""

    roles: frozenset[str]
    disposable: frozenset[str]


def cleaned_columns(cleaning: Cleaning) -> tuple[str, ...]:
    """The columns that are normalised, each once."""
    named = (cleaning.email, cleaning.phone, *cleaning.names)
    return tuple(dict.fromkeys(name for name in named if name is not None))


def flags_of(cleaning: Cleaning) -> tuple[str, ...]:
    """The attributes that cleaning adds, all of them true or false."""
    email = _EMAIL_FLAGS if cleaning.email is not None else {}
    phone = _PHONE_FLAGS if cleaning.phone is not None else {}
    return (*email, *phone)


def flags_by_column(cleaning: Cleaning) -> dict[str, tuple[str, ...]]:
    """The columns that flags tell of, and these flags."""
    named = ((cleaning.email, _EMAIL_FLAGS), (cleaning.phone, _PHONE_FLAGS))
    return {column: tuple(flags) for column, flags in named if column is not None}


def cleaning_problems(cleaning: Cleaning, schema: Mapping[str, pl.DataType]) -> list[str]:
    """What is wrong with the columns to be normalised, of those that are there.

    Raises:
        ConfigError: A library is not installed.
    """
    problems = []
    if cleaning.email is not None:
        emails.check_library()
    if cleaning.phone is not None:
        problems += phones.check_library(cleaning.phone_region)
    named = [("email", cleaning.email), ("phone", cleaning.phone), *(("names", name) for name in cleaning.names)]
    for key, name in named:
        dtype = schema.get(name or "")
        if dtype is None or is_textual(dtype) or (key == "phone" and dtype.is_integer()):
            continue
        wanted = "text or a whole number" if key == "phone" else "text"
        problems.append(f"  contacts.cleaning.{key}: expected {wanted} in {name!r}, got {dtype}")
    uses = [name for _, name in named if name is not None]
    twice = sorted({name for name in uses if uses.count(name) > 1})
    problems += [f"  contacts.cleaning: {name!r} cannot be two of email, phone and names" for name in twice]
    return problems


def read_lists(cleaning: Cleaning, cache: Path | None = None) -> Lists:
    """The lists that cleaning of addresses needs; empty without it.

    Raises:
        ConfigError: A list that cannot be read.
    """
    if cleaning.email is None:
        return Lists(frozenset(), frozenset())
    roles, thrown = cleaning.role_names, cleaning.disposable_domains
    return Lists(
        frozenset(emails.ROLES) if roles is None else read_list("contacts.cleaning.role_names", roles, cache),
        frozenset() if thrown is None else domains_of(read_list("contacts.cleaning.disposable_domains", thrown, cache)),
    )


def clean(rows: pl.DataFrame, cleaning: Cleaning, lists: Lists) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows with their columns normalised and the flags beside; see `Cleaning`.

    Args:
        rows: Contacts; the columns to normalise are text in NFC.
        cleaning: What is to be done.
        lists: The supplied lists.

    Returns:
        The rows in their order, and what was counted of addresses and numbers; nothing without any.
    """
    counts: dict[str, int] = {}
    done = rows.with_columns(folded(pl.col(name)).alias(name) for name in cleaning.names)
    if cleaning.email is not None:
        made = by_value(
            done, cleaning.email, lambda values: emails.cleaned_emails(values, lists.roles, lists.disposable)
        )
        counts |= {
            "email_invalid": _number(made, ~pl.col("valid")),
            "email_role": _number(made, pl.col("role")),
            "email_disposable": _number(made, pl.col("disposable")),
            "email_broken": _number(made, pl.col("broken")),
        }
        done = _placed(done, made, cleaning.email, _EMAIL_FLAGS, cleaning)
    if cleaning.phone is not None:
        made = by_value(done, cleaning.phone, lambda values: phones.cleaned_phones(values, cleaning.phone_region))
        counts |= {
            "phone_invalid": _number(made, ~pl.col("valid")),
            "phone_broken": _number(made, pl.col("broken")),
        }
        done = _placed(done, made, cleaning.phone, _PHONE_FLAGS, cleaning)
    return done, counts


def clean_key(values: pl.DataFrame, key: str, cleaned: str, cleaning: Cleaning) -> pl.DataFrame:
    """A key of another table in the form that the column `cleaned` of the contacts has, so that they match."""
    if cleaned == cleaning.email:
        made = by_value(values, key, lambda texts: emails.cleaned_emails(texts, (), ()))
    elif cleaned == cleaning.phone:
        made = by_value(values, key, lambda texts: phones.cleaned_phones(texts, cleaning.phone_region))
    elif cleaned in cleaning.names:
        return values.with_columns(folded(pl.col(key)).alias(key))
    else:
        return values
    return values.with_columns(made["value"].alias(key))


def _placed(
    rows: pl.DataFrame, made: pl.DataFrame, column: str, flags: Mapping[str, str], cleaning: Cleaning
) -> pl.DataFrame:
    value = pl.col("value")
    if cleaning.invalid == "null":
        value = pl.when("valid").then(value)
    return rows.with_columns(
        *made.select(value.alias(column), *(pl.col(part).alias(flag) for flag, part in flags.items())).get_columns()
    )


def _number(made: pl.DataFrame, condition: pl.Expr) -> int:
    return made.filter(condition).height

"""E-mail addresses: one form for one mailbox, whether it can be one, whose it is.

The syntax is that of the library email-validator (RFC 5321, 5322, 6531, IDNA 2008), which asks no server. Most
addresses are of a plain form that one expression recognises; only the others are given to the library.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import polars as pl

from engine.contacts.extra import missing_extra
from engine.contacts.text import is_broken, trimmed

ROLES: Final = tuple(
    """
    abuse accueil admin administrateur administration administrator billing bonjour booking bureau careers commande
    commandes commercial communication compta comptabilite contact contacts direction do-not-reply donotreply enquiries
    facturation feedback ftp hello help helpdesk hostmaster hr info information infos it jobs legal mail marketing news
    newsletter no-reply noc noreply office order orders postmaster press presse privacy recrutement reservation
    reservations rh root sales sav secretariat security service services shop staff support team tech usenet vente
    ventes webmaster www
""".split()
)
"""Local parts of mailboxes that belong to a role and not to a person (RFC 2142 and usual ones)."""
_PLAIN: Final = (
    r"^[A-Za-z0-9_+'\-]+(?:\.[A-Za-z0-9_+'\-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$"
)
_LOCAL_LENGTH: Final = 64
_LENGTH: Final = 254


def check_library() -> None:
    """Stop when the library is not there.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import email_validator
    except ImportError as error:
        raise missing_extra("email-validator", "contacts.cleaning.email") from error
    del email_validator


def cleaned_emails(values: pl.Series, roles: Collection[str], disposable: Collection[str]) -> pl.DataFrame:
    """Addresses in their one form, and what is known of them.

    White space around an address and invisible characters are taken away; the domain is in small letters and ASCII
    (IDNA 2008). The local part stays as it is: RFC 5321 leaves its case to the host.

    Args:
        values: Addresses as they were given, without null.
        roles: Local parts of roles, in small letters; what stands behind a `+` does not count.
        disposable: Domains of throw-away addresses, in small letters and ASCII; those below them count too.

    Returns:
        In the order of the values: `value` (trimmed only where it is invalid; null where nothing is left), `valid`,
        `role` and `disposable`, these two null where it is invalid, `broken` (a reader has lost a character).

    Raises:
        ConfigError: The library is not installed.
    """
    check_library()
    frame = values.alias("raw").to_frame().select(value=trimmed(pl.col("raw")), broken=is_broken(pl.col("raw")))
    local, domain = _parts()
    plain = frame.with_columns(plain=_is_plain()).with_columns(
        normal=pl.when("plain").then(pl.concat_str(local, pl.lit("@"), domain))
    )
    others = plain.filter(pl.col("value").is_not_null() & ~pl.col("plain") & ~pl.col("broken"))["value"].unique()
    slow = pl.DataFrame(
        {"value": others, "asked": [normalised(value) for value in others]},
        schema={"value": pl.String, "asked": pl.String},
    )
    known = plain.join(slow, on="value", how="left", maintain_order="left").with_columns(
        normal=pl.when("broken").then(None).otherwise(pl.coalesce("normal", "asked"))
    )
    person = pl.col("normal").str.extract(r"^([^@+]*)").str.to_lowercase()
    host = pl.col("normal").str.extract(r"@([^@]*)$")
    thrown = _below(known.select(host)["normal"].drop_nulls().unique(), disposable)
    return known.select(
        value=pl.coalesce("normal", "value"),
        valid=pl.when(pl.col("value").is_not_null()).then(pl.col("normal").is_not_null()),
        role=person.is_in(sorted(roles)),
        disposable=host.is_in(thrown.implode()),
        broken="broken",
    )


def _parts() -> tuple[pl.Expr, pl.Expr]:
    value = pl.col("value")
    return value.str.extract(r"^([^@]*)@"), value.str.extract(r"@([^@]*)$").str.to_lowercase()


def _is_plain() -> pl.Expr:
    """Whether an address is valid by the plain form alone; then only the case of its domain is not normal."""
    from email_validator import SPECIAL_USE_DOMAIN_NAMES
    from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

    value, (local, domain) = pl.col("value"), _parts()
    special = "|".join(re.escape(name) for name in SPECIAL_USE_DOMAIN_NAMES)
    folds = local.str.to_lowercase().is_in(CASE_INSENSITIVE_MAILBOX_NAMES) & (local != local.str.to_lowercase())
    holds = (
        value.str.contains(_PLAIN)
        & (value.str.len_bytes() <= _LENGTH)
        & (local.str.len_bytes() <= _LOCAL_LENGTH)
        & ~domain.str.contains("--", literal=True)
        & ~domain.str.contains(rf"(?:^|\.)(?:{special})$")
        & ~folds
    )
    return holds.fill_null(value=False)


def normalised(address: str) -> str | None:
    """The normal form of a trimmed address by the library; None when it cannot be one.

    Raises:
        ConfigError: The library is not installed.
    """
    try:
        from email_validator import EmailNotValidError, validate_email
    except ImportError as error:
        raise missing_extra("email-validator", "contacts.cleaning.email") from error
    try:
        found = validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return None
    return f"{found.local_part}@{found.ascii_domain}"


def _below(domains: pl.Series, listed: Collection[str]) -> pl.Series:
    """The domains that are listed, or below one that is."""
    names = frozenset(listed)

    def holds(domain: str) -> bool:
        labels = domain.split(".")
        return any(".".join(labels[start:]) in names for start in range(len(labels)))

    found = [domain for domain in domains if holds(domain)] if names else []
    return pl.Series(sorted(found), dtype=pl.String)

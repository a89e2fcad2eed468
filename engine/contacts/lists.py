"""Supplied lists of one value per line: the local parts of roles, the domains of throw-away addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.errors import ConfigError
from engine.events.files import locate_files
from engine.remote.fetch import fetched_as

_COMMENT: Final = "#"
_HINT: Final = "A list is text in UTF-8 with one value per line; lines that begin with # are passed over."


def read_list(key: str, path: str | tuple[str, ...], cache: Path | None = None) -> frozenset[str]:
    """The values of all files of a list, in small letters.

    Args:
        key: The key of the configuration, for messages.
        path: Files or globs.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: Files that are not there or are no text, all of them at once.
    """
    located = locate_files(key, path)
    values: set[str] = set()
    problems = []
    with fetched_as(located, cache) as files:
        for name, file in zip(located, files, strict=True):
            try:
                lines = file.read_bytes().decode("utf-8-sig").splitlines()
            except OSError as error:
                problems.append(f"  {name}: {error.strerror or type(error).__name__}")
            except UnicodeDecodeError:
                problems.append(f"  {name}: it is not UTF-8")
            else:
                values |= {line.strip().lower() for line in lines}
    if problems:
        raise ConfigError("\n".join([f"{key}: cannot read", *problems]), code="contacts-list", hint=_HINT)
    return frozenset(value for value in values if value and not value.startswith(_COMMENT))


def domains_of(values: frozenset[str]) -> frozenset[str]:
    """Domains as they are compared: in ASCII, without what lists put in front of them (`@`, `*.`, `.`)."""
    return frozenset(_in_ascii(value.lstrip("@*.").rstrip(".")) for value in values)


def _in_ascii(domain: str) -> str:
    from email_validator import EmailNotValidError
    from email_validator.syntax import validate_email_domain_name

    if domain.isascii():
        return domain
    try:
        return str(validate_email_domain_name(domain)["ascii_domain"])
    except EmailNotValidError:
        return domain

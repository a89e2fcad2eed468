"""Which attributes of contacts are one person's alone, so that their values never stand in a table of figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.config import Config

# An address has an @; a telephone number or a long id has nine digits, with what is written between them.
_OF_ONE: Final = re.compile(r"@|\d(?:[ ./()-]*\d){8}")


def personal_columns(config: Config) -> frozenset[str]:
    """The attributes that the configuration says are ids, addresses, telephone numbers or names of people.

    Columns of `contacts.cleaning.names` that no export uses as a name are none: they may be of towns.
    """
    exports, contacts = config.exports, config.contacts
    named = {
        exports.email,
        exports.phone,
        exports.first_name,
        exports.last_name,
        exports.name,
        exports.ga4.client_id,
    }
    if contacts is not None:
        named |= {contacts.user_id, contacts.cleaning.email, contacts.cleaning.phone, *contacts.duplicates.exact}
    return frozenset(name for name in named if name is not None)


def is_of_one(value: str) -> bool:
    """Whether a value looks like an address, a telephone number or a long id, whatever its column is called."""
    return _OF_ONE.search(value) is not None

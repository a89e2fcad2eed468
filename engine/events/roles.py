"""Which event types of an unknown log are purchases, sends, opens and clicks, guessed from their names.

A name is cut into words (`emailOpened`, `Email Opened` and `email_opened` are the same two); a role goes to a name that
holds one of its words and none that says the opposite.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from engine.config import Events

ROLES = ("purchase", "send", "open", "click")

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GLUED = re.compile(r"(e?mail|push|sms|newsletter)(?=[a-z]{4})")

_WORDS: dict[str, frozenset[str]] = {
    "purchase": frozenset(
        "purchase purchased purchases order ordered orders transaction transactions sale sold checkout buy bought "
        "conversion converted achat commande kauf bestellung compra pedido".split()
    ),
    "send": frozenset("send sends sent deliver delivered delivery deliveries received receive".split()),
    "open": frozenset("open opens opened".split()),
    "click": frozenset("click clicks clicked".split()),
}
_COMPLETE = frozenset(
    frozenset(name.split())
    for name in (
        *("purchase", "order", "transaction", "order completed", "order complete", "order placed", "placed order"),
        *("checkout completed", "completed checkout", "checkout complete", "purchase completed", "completed order"),
    )
)
"""Names of whole purchases; others may be their lines (`Ordered Product`)."""
_MESSAGE = frozenset("email mail message newsletter campaign push sms notification".split())
"""Words that tell the open of a message from the open of something else."""

# A name with a word that begins so is no step that was completed.
_UNDONE = (
    *("cancel", "refund", "return", "fail", "abandon", "start", "begin", "initiat", "bounc", "unsub", "view", "cart"),
    *(
        "wish",
        "intent",
        "declin",
        "reject",
        "updat",
        "edit",
        "chargeback",
        "spam",
        "complain",
        "drop",
        "defer",
        "block",
    ),
    *("schedul", "queue", "void", "revers", "pending", "step", "progress", "ship", "fulfil"),
)
# What can be opened, and is no message.
_OTHER_THINGS = frozenset("app application account ticket case chat session menu page modal store tab".split())


@dataclass(frozen=True)
class RoleGuess:
    """The roles as guessed, and for each the names that could have had it: the chosen one first."""

    roles: Events
    candidates: dict[str, tuple[str, ...]]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the choices."""
        return tuple(
            f"{role} is {names[0]!r}; {_listed(names[1:])} could be meant as well, a role takes one event type"
            for role, names in self.candidates.items()
            if len(names) > 1
        )


def guess_roles(counts: Mapping[str, int]) -> RoleGuess:
    """One event type at most for each role, and one role at most for each type.

    Among the names that fit a role, those of whole purchases and of messages come first, then the one with most rows.

    Args:
        counts: Rows per event type.
    """
    fitting: dict[str, list[str]] = {}
    for name in counts:
        role = _role(name)
        if role is not None:
            fitting.setdefault(role, []).append(name)
    candidates = {
        role: tuple(sorted(fitting[role], key=lambda name: (_strange(role, name), -counts[name], name)))
        for role in ROLES
        if role in fitting
    }
    chosen = {role: names[0] for role, names in candidates.items()}
    return RoleGuess(Events(**chosen), candidates)  # type: ignore[arg-type]


def _role(name: str) -> str | None:
    words = _words_of(name)
    if any(word.startswith(_UNDONE) for word in words):
        return None
    fits = {role for role, known in _WORDS.items() if not known.isdisjoint(words)}
    if not fits or ("open" in fits and not _OTHER_THINGS.isdisjoint(words)):
        return None
    # "Order Delivered" is neither a purchase nor a send, "order_email_sent" a send; "order_email_click" is a click.
    message = not _MESSAGE.isdisjoint(words)
    if fits == {"purchase", "send"}:
        return "send" if message else None
    if fits == {"purchase"} and message:
        return None
    return next(role for role in ("click", "open", "send", "purchase") if role in fits)


def _strange(role: str, name: str) -> bool:
    """Whether a purchase may be a part of one, and an open or click one of something other than a message."""
    words = _words_of(name)
    if role == "purchase":
        return words not in _COMPLETE
    return len(words) > 1 and _MESSAGE.isdisjoint(words)


def _words_of(name: str) -> frozenset[str]:
    plain = unicodedata.normalize("NFKD", _CAMEL.sub(" ", name))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()
    return frozenset(word for part in _WORD.findall(plain) for word in _GLUED.sub(r"\1 ", part).split())


def _listed(names: tuple[str, ...]) -> str:
    shown = [repr(name) for name in names[:3]]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown) + more

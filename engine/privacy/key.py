"""The secret key of an output root: where it comes from, and what may be known of it.

In: the name of an environment variable, or a file. Out: a key in memory, which shows itself to nobody: it cannot be
printed, pickled or copied, so no task, log or journal has it. Whoever needs it loads it: on a cluster each worker does,
from its own environment or from the file, and compares its id with that of the driver.
"""

from __future__ import annotations

import hmac
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.config import Config

LEAST_BYTES: Final = 32
USUAL_NAME: Final = "TAMIS_KEY"
"""Variable with the key where the configuration names no other."""
_ID_DIGITS: Final = 8
_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_MOST_BYTES: Final = 65_536
_MAKE: Final = "Make one with `openssl rand -hex 32`"


@dataclass(frozen=True)
class KeySource:
    """Where the key is: what a task carries in its place.

    Attributes:
        env: Environment variable, read when there is no file.
        file: File; None without one.
    """

    env: str
    file: str | None = None


class Key:
    """A secret key.

    Args:
        secret: Its bytes, at least `LEAST_BYTES`.
        earlier: The keys before it, which are there to find what was made with them.

    Attributes:
        id: 8 hexadecimal digits that tell one key from another and nothing of the key; fit to be published.
        earlier: As given.
    """

    __slots__ = ("__secret", "earlier", "id")

    def __init__(self, secret: bytes, earlier: tuple[Key, ...] = ()) -> None:
        self.__secret = secret
        self.earlier = earlier
        self.id = self.derived("key id")[:_ID_DIGITS]

    def of(self, key_id: str) -> Key:
        """The key of an id: this one or an earlier one.

        Raises:
            ConfigError: It is neither (`key-other`).
        """
        for key in (self, *self.earlier):
            if key.id == key_id:
                return key
        known = ", ".join(key.id for key in (self, *self.earlier))
        raise ConfigError(
            f"_privacy was written with the key {key_id}, which is not at hand; there is {known}",
            code="key-other",
            hint="Give the key it was written with. After a change of keys, the earlier ones stand behind the new one, "
            "with a blank or a line between them, for as long as something was written with them.",
        )

    def derived(self, purpose: str) -> str:
        """A key for one purpose, so that what is made for one cannot be compared with what is made for another.

        Returns:
            HMAC-SHA256 of `tamis <purpose>` under the key, in 64 hexadecimal digits: as secret as the key. The text of
            these digits is the key of what is made with it.
        """
        return hmac.digest(self.__secret, f"tamis {purpose}".encode(), "sha256").hex()

    def __repr__(self) -> str:
        return f"<Key {self.id}>"

    def __reduce__(self) -> NoReturn:
        message = "a key stays where it was loaded"
        raise TypeError(message)


def key_source(config: Config) -> KeySource:
    """Where the key of a configuration is."""
    return KeySource(config.privacy.key_env, config.privacy.key_file)


def load_key(source: KeySource, expected: str | None = None) -> Key:
    """The key: the first one there, with those that stand behind it as earlier ones.

    Args:
        source: Where it is.
        expected: The id it must have; None for any.

    Raises:
        ConfigError: There is none (`key-missing`), one is too short (`key-short`), cannot be read, is no hexadecimal
            number or may be read by others (`key-unreadable`), or it is another than expected (`key-other`).
    """
    where = f"the file {source.file}" if source.file is not None else f"the environment variable {source.env}"
    texts = (_of_file(source.file) if source.file is not None else _of_environment(source.env)).split()
    if not texts:
        raise _missing(f"{where} is empty", source)
    first, *earlier = (_secret(text, where) for text in texts)
    key = Key(first, tuple(map(Key, earlier)))
    if expected is not None and key.id != expected:
        raise ConfigError(
            f"expected the key {expected}, {where} has the key {key.id}",
            code="key-other",
            hint="Every node of a cluster must have the key of the machine that starts the run.",
        )
    return key


def without_keys(environment: Mapping[str, str], name: str | None = None) -> dict[str, str]:
    """Variables for a program that needs no key.

    Args:
        environment: The variables of this process.
        name: The variable with the key; None where that is not known: whatever looks like a key goes.
    """
    return {
        one: value
        for one, value in environment.items()
        if one not in {USUAL_NAME, name} and (name is not None or not _looks_like_key(value))
    }


def child_environment() -> dict[str, str]:
    """The variables of this process, for a child that needs no key."""
    return without_keys(os.environ)


def _looks_like_key(text: str) -> bool:
    words = text.split()
    return bool(words) and all(len(word) >= 2 * LEAST_BYTES and _DIGITS.issuperset(word) for word in words)


def _secret(digits: str, where: str) -> bytes:
    if len(digits) % 2 or not _DIGITS.issuperset(digits):
        raise ConfigError(
            f"expected a key of hexadecimal digits, two per byte; {where} has other characters or an odd number",
            code="key-unreadable",
            hint=f"{_MAKE}; other texts can be written as `printf %s TEXT | xxd -p -c 0`.",
        )
    if len(digits) < 2 * LEAST_BYTES:
        raise ConfigError(
            f"expected a key of at least {LEAST_BYTES} bytes ({2 * LEAST_BYTES} digits), got {len(digits) // 2} bytes "
            f"in {where}",
            code="key-short",
            hint=f"{_MAKE}.",
        )
    return bytes.fromhex(digits)


def _missing(what: str, source: KeySource) -> ConfigError:
    place = f"save it in {source.file}" if source.file is not None else f"set {source.env} to it"
    return ConfigError(
        f"there is no key: {what}",
        code="key-missing",
        hint=f"{_MAKE}, keep it where secrets are kept, and {place}, on every node of a cluster. "
        "What was made with an earlier key needs that one.",
    )


def _of_environment(name: str) -> str:
    # A key is never an argument: workers inherit the environment of their node.
    text = os.environ.get(name)
    if text is None:
        raise _missing(f"the environment variable {name} is not set", KeySource(name))
    return text


def _of_file(name: str) -> str:
    path = Path(name)
    try:
        with path.open("rb") as handle:
            found = os.fstat(handle.fileno())
            others = found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
            content = b"" if others else handle.read(_MOST_BYTES)
    except FileNotFoundError as error:
        raise _missing(f"{name} is not there", KeySource("", name)) from error
    except OSError as error:
        raise ConfigError(
            f"cannot read the key in {name}: {error.strerror}",
            code="key-unreadable",
            hint="The user who runs tamis must be able to read it, and nobody else.",
        ) from error
    if others:
        raise ConfigError(
            f"others may read or change the key in {name}: its mode is {stat.S_IMODE(found.st_mode):04o}",
            code="key-unreadable",
            hint=f"chmod 600 {name}; where the key came to be known, make a new one.",
        )
    return content.decode("ascii", "replace")

"""Purposes that segments and targets ask for: they must be known, and there must be a log of consents."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config import Config
from engine.config_consent import Consent
from engine.consent.permits import MOST_PURPOSES
from engine.errors import ConfigError
from engine.suggest import did_you_mean


def check_purposes(config: Config) -> None:
    """Stop at purposes that nobody can have agreed to.

    Raises:
        ConfigError: All of them, where they are named.
    """
    asked = [(f"targets.{target.name}.purposes", name) for target in config.targets for name in target.purposes]
    asked += [(f"segments.{segment.name}.purposes", name) for segment in config.segments for name in segment.purposes]
    asked += [(f"experiments.{one.name}.purposes", name) for one in config.experiments for name in one.purposes]
    check_asked(asked, config.consent)


def check_asked(asked: Sequence[tuple[str, str]], consent: Consent | None) -> None:
    """Stop at purposes that nobody can have agreed to.

    Args:
        asked: Where a purpose is named, and its name.
        consent: The log.

    Raises:
        ConfigError: All of them, where they are named.
    """
    if consent is None:
        problems = [f"  {owner}: {name!r}, but there is no [consent]" for owner, name in asked]
    else:
        known = consent.known
        problems = [
            f"  {owner}: no purpose {name!r}{did_you_mean(name, known)}" for owner, name in asked if name not in known
        ]
        if len(known) > MOST_PURPOSES:
            problems.append(f"  consent.purposes: at most {MOST_PURPOSES} with the presets, got {len(known)}")
    if problems:
        raise ConfigError(
            "purposes that nobody can have agreed to\n" + "\n".join(problems),
            code="purpose-unknown",
            hint="List them in consent.purposes, or add [consent] with the log of consents.",
        )

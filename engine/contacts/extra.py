"""What is told when the libraries that clean contacts are not installed."""

from __future__ import annotations

from engine.errors import ConfigError


def missing_extra(package: str, key: str) -> ConfigError:
    """The error of a configuration whose libraries are not installed.

    Args:
        package: The package that is missing.
        key: The key of the configuration that needs it.
    """
    return ConfigError(
        f"{key} needs the package {package}, which is not installed",
        code="contacts-extra-missing",
        hint=f"Install it with: pip install 'tamis[contacts]'; or leave {key} out.",
    )

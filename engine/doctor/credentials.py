"""Files that hold credentials: readable by their owner alone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from engine.doctor.finding import Finding, Subject, ok, warning
from engine.doctor.folders import is_readable_by_others

# The variable that names the file, and where it lies in the user's folder when it does not.
_FILES: Final = (
    ("RAY_AUTH_TOKEN_PATH", ".ray/auth_token"),
    ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ("GOOGLE_APPLICATION_CREDENTIALS", ".config/gcloud/application_default_credentials.json"),
    ("PGPASSFILE", ".pgpass"),
    ("AZURE_FEDERATED_TOKEN_FILE", ""),
)


def check_secret_files(subject: Subject) -> Iterator[Finding]:
    """The modes of the files that credentials come from, wherever the environment says they are."""
    files = list(secret_files(subject))
    open_files = [file for file in files if stat.S_IMODE(file.stat().st_mode) & 0o077]
    for file in open_files:
        mode = stat.S_IMODE(file.stat().st_mode)
        yield warning(
            "secret_files",
            f"{file} has mode {mode:04o}" + (": everybody can read it" if is_readable_by_others(file) else ""),
            f"chmod 600 {file} (a mounted secret: defaultMode 0400)",
            path=str(file),
            mode=f"{mode:04o}",
        )
    if not open_files:
        said = f"{len(files)} of mode 0600" if files else "none"
        yield ok("secret_files", said, paths=[str(file) for file in files])


def check_secrets_in_configuration(subject: Subject) -> Iterator[Finding]:
    """Passwords that stand in the configuration file, which is copied and kept under version control."""
    config = subject.config
    if config is None:
        return
    addresses = {"publish.catalog": config.publish.catalog, "publish.url": config.publish.url}
    found = [key for key, address in addresses.items() if address and _has_password(address)]
    for key in found:
        yield warning(
            "secrets_in_configuration",
            f"{key} holds a password",
            "Leave it out, and give it in the environment (PGPASSWORD) or in ~/.pgpass",
            key=key,
        )
    if not found:
        yield ok("secrets_in_configuration", "no passwords")


def secret_files(subject: Subject) -> Iterator[Path]:
    """The files that credentials are read from here, those that are there."""
    environment, home = subject.surroundings.environment, subject.surroundings.home
    for variable, default in _FILES:
        named = environment.get(variable)
        path = Path(named) if named else home / default if default else None
        if path is not None and path.is_file():
            yield path


def _has_password(address: str) -> bool:
    try:
        return bool(urlsplit(address).password)
    except ValueError:
        return False

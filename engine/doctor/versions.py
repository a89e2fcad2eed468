"""Whether Python and the libraries are those that the package was made for, and what each extra lacks."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from engine.doctor.finding import Finding, Subject, failed, ok, warning

_PACKAGE: Final = "tamis"
_TOLD: Final = ("polars", "ray", "lightgbm", "pyarrow", "numpy")
_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;\s*(.*))?")
_CLAUSE: Final = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][0-9A-Za-z.+-]*)")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([A-Za-z0-9_-]+)['\"]")
_RELEASE: Final = re.compile(r"\d+(?:\.\d+)*")
# Versions below the second are open to the third: why the bounds of the package are not lower.
_ADVISORIES: Final = (
    ("pyarrow", "14.0.1", "CVE-2023-47248: reading a Parquet file may run code in it"),
    ("ray", "2.55", "CVE-2026-41486: reading a Parquet file with Ray Data may run code in it"),
    ("lightgbm", "4.6", "CVE-2024-43598: a model file may run code"),
)


@dataclass(frozen=True)
class Requirement:
    """A package that is needed: its name, the bounds of its version, and the extra it belongs to (or none)."""

    package: str
    bounds: str
    extra: str = ""

    def admits(self, version: str) -> bool:
        """Whether a version is within the bounds."""
        return all(_holds(version, sign, bound) for sign, bound in _CLAUSE.findall(self.bounds))


def check_versions(subject: Subject) -> Iterator[Finding]:
    """The versions of Python and of every library, the advisories they are open to, and the extras."""
    try:
        about = metadata.metadata(_PACKAGE)
        requirements = parse_requirements(metadata.requires(_PACKAGE) or [])
        wanted = about["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        yield warning(
            "libraries",
            "the package is not installed, so its bounds are not known",
            "pip install tamis, or pip install -e .",
        )
        return
    yield _python(wanted, platform.python_version())
    versions = {one.package: _installed(one.package) for one in requirements}
    yield from _libraries([one for one in requirements if not one.extra], versions)
    yield from _extras([one for one in requirements if one.extra], versions, _needed(subject))


def parse_requirements(lines: Sequence[str]) -> list[Requirement]:
    """Requirements as the metadata of a package lists them; those of other systems or versions are left out."""
    found = []
    for line in lines:
        matched = _REQUIREMENT.fullmatch(line)
        if matched is None:
            continue
        package, bounds, marker = matched[1], matched[2], matched[3] or ""
        extra = _EXTRA.search(marker)
        if marker and extra is None:
            continue
        found.append(Requirement(package, bounds.strip(), extra[1] if extra else ""))
    return found


def advisories_of(package: str, version: str) -> list[str]:
    """What is known to be wrong with a version of a package."""
    return [text for name, below, text in _ADVISORIES if name == package and _holds(version, "<", below)]


def _python(wanted: str, version: str) -> Finding:
    if Requirement("python", wanted).admits(version):
        return ok("python", f"Python {version}", version=version)
    return failed(
        "python",
        f"Python {version}, and the package needs {wanted}",
        "Install the package into an environment of a newer Python.",
        version=version,
    )


def _libraries(requirements: Sequence[Requirement], versions: dict[str, str | None]) -> Iterator[Finding]:
    sound = True
    for one in requirements:
        version = versions[one.package]
        found = "is not installed" if version is None else f"is {version}"
        if version is not None and one.admits(version):
            continue
        sound = False
        known = "".join(f"; {text}" for text in advisories_of(one.package, version or ""))
        yield failed(
            "libraries",
            f"{one.package} {found}, and {one.bounds} is needed{known}",
            f"pip install '{one.package}{one.bounds}'",
            package=one.package,
            version=version,
        )
    if sound:
        told = ", ".join(f"{name} {versions[name]}" for name in _TOLD if versions.get(name))
        yield ok("libraries", told, **{one.package: versions[one.package] for one in requirements})


def _extras(
    requirements: Sequence[Requirement], versions: dict[str, str | None], needed: dict[str, str]
) -> Iterator[Finding]:
    missing: dict[str, list[str]] = {}
    for one in requirements:
        version = versions[one.package]
        lacks = missing.setdefault(one.extra, [])
        if version is None or not one.admits(version):
            lacks.append(f"{one.package}{one.bounds}")
    complete = sorted(extra for extra, lacks in missing.items() if not lacks)
    for extra, reason in needed.items():
        if missing.get(extra):
            yield failed(
                "extras",
                f"{reason} needs the extra {extra!r}, which lacks {', '.join(missing[extra])}",
                f"pip install 'tamis[{extra}]'",
                extra=extra,
            )
    if not any(missing.get(extra) for extra in needed):
        yield ok("extras", ", ".join(complete) or "none, and none is needed", complete=complete)


def _needed(subject: Subject) -> dict[str, str]:
    """The extras that the configuration asks for, and where."""
    config = subject.config
    if config is None:
        return {}
    needed: dict[str, str] = {}
    if config.publish.format in {"delta", "iceberg"}:
        needed[config.publish.format] = f"publish.format = {config.publish.format!r}"
    if config.targets and config.model.tune:
        needed["tune"] = "model.tune"
    return needed


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _holds(version: str, sign: str, bound: str) -> bool:
    here, there = _release(version), _release(bound)
    match sign:
        case ">=":
            return here >= there
        case "<=":
            return here <= there
        case "==":
            return here == there
        case "!=":
            return here != there
        case "<":
            return here < there
        case _:
            return here > there


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: `2.1.0rc1` is (2, 1)."""
    matched = _RELEASE.match(version)
    numbers = [int(part) for part in matched[0].split(".")] if matched else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from engine.doctor import versions
from engine.doctor.versions import Requirement, advisories_of, check_versions, parse_requirements

ROOT = Path(__file__).parents[2]
NAMED = [
    "polars<3,>=2.1",
    "pyiceberg[pyarrow,sql-sqlite]>=0.12; extra == 'iceberg'",
    "tzdata (>=2026.1)",
    'moto[s3]>=5 ; extra == "dev"',
    "pywin32>=300; sys_platform == 'win32'",
    "bare",
]


def installed(monkeypatch: pytest.MonkeyPatch, **replaced: str | None) -> None:
    real = metadata.version

    def version(package: str) -> str:
        found = replaced.get(package, real(package)) if package in replaced else real(package)
        if found is None:
            raise metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(versions.metadata, "version", version)


def test_requirements_are_read() -> None:
    assert parse_requirements(NAMED) == [
        Requirement("polars", "<3,>=2.1"),
        Requirement("pyiceberg", ">=0.12", "iceberg"),
        Requirement("tzdata", ">=2026.1"),
        Requirement("moto", ">=5", "dev"),
        Requirement("bare", ""),
    ]


@pytest.mark.parametrize("bounds", [">=2.1,<3", ">=26", "<=1.0", "==2.0", "!=2.0", ">1.9.9", ""])
@pytest.mark.parametrize("version", ["1.9.9", "2.0", "2.0.0", "2.1", "2.1.0", "2.10.1", "3.0", "26", "27.1"])
def test_versions_are_compared_as_packaging_does(bounds: str, version: str) -> None:
    assert Requirement("x", bounds).admits(version) == SpecifierSet(bounds).contains(version)


def test_this_environment_is_the_one_of_the_package(subject: Callable[..., Any]) -> None:
    found = list(check_versions(subject()))
    assert [(finding.check, finding.status) for finding in found] == [
        ("python", "ok"),
        ("libraries", "ok"),
        ("extras", "ok"),
    ]
    assert found[1].measured["polars"] == metadata.version("polars")


def test_no_version_with_a_known_hole_is_admitted() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = {one.package: one for one in parse_requirements(project["dependencies"])}
    for package, fixed, _ in versions._ADVISORIES:
        before = {"14.0.1": "14.0.0", "2.55": "2.54.0", "4.6": "4.5.0"}[fixed]
        assert advisories_of(package, before)
        assert not advisories_of(package, fixed)
        assert not bounds[package].admits(before)


@pytest.mark.parametrize(
    ("package", "version", "words"),
    [
        ("pyarrow", "13.0.0", ["pyarrow is 13.0.0", "CVE-2023-47248"]),
        ("ray", "2.54.1", ["ray is 2.54.1", "CVE-2026-41486"]),
        ("polars", None, ["polars is not installed"]),
    ],
)
def test_another_version(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, package: str, version: str | None, words: list[str]
) -> None:
    installed(monkeypatch, **{package: version})
    [finding] = [one for one in check_versions(subject()) if one.check == "libraries"]
    assert finding.status == "failed"
    assert [word for word in words if word not in finding.said] == []
    assert finding.fix.startswith(f"pip install '{package}")


def test_an_older_python(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions.platform, "python_version", lambda: "3.10.14")
    assert next(iter(check_versions(subject()))).status == "failed"


def test_an_extra_that_the_configuration_needs(
    subject: Callable[..., Any], config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, deltalake="1.5.9")
    asked = config(publish={"format": "delta"})
    found = [one for one in check_versions(subject(asked)) if one.check == "extras"]
    assert [(one.status, one.fix) for one in found] == [("failed", "pip install 'tamis[delta]'")]
    assert "deltalake>=1.6" in found[0].said
    # Who does not need it is not told.
    assert [one.status for one in check_versions(subject(config())) if one.check == "extras"] == ["ok"]


def test_a_package_that_is_not_installed(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_PACKAGE", "no-such-package-of-ours")
    assert [(one.check, one.status) for one in check_versions(subject())] == [("libraries", "warning")]

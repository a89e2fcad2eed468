from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.stages.opening import open_run
from engine.stages.places import check_places
from tests.samples import configuration, write_sample
from tests.tables.samples import tree


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_sample(tmp_path, users=2)


@pytest.mark.parametrize(
    ("out", "source", "problem"),
    [
        ("shop/out", "shop", "reads what is published in out"),
        ("shop/a/b", "shop", "reads what is published in out"),
        ("shop", "shop", "reads what is published in out"),
        ("shop/out", "shop/**/*.parquet", "reads what is published in out"),
        ("shop/out", "*", "reads what is published in out"),
        ("shop/out", "sh?p/o*/**", "reads what is published in out"),
        (".", "shop", "is inside out"),
        (".", "shop/000.parquet", "is inside out"),
        ("shop", "shop/*.parquet", "is inside out"),
        ("link/out", "shop", "reads what is published in out"),
        ("out", "link", ""),
        ("out", "shop", ""),
        ("shop/out", "shop/*.parquet", ""),
        ("shop/out", "shop/day=*/*.parquet", ""),
        ("shop/_out", "shop", ""),
        ("shop-out", "shop", ""),
        ("shop/out", "s3://bucket/shop", ""),
    ],
)
def test_the_output_and_the_input_keep_apart(file: Path, out: str, source: str, problem: str) -> None:
    (file.parent / "link").symlink_to("shop")
    config = configuration(file)
    shop, mail = config.sources
    entry = source if "://" in source else str(file.parent / source)
    others = "/elsewhere/mail"
    config = config.model_copy(
        update={
            "out": str(file.parent / out),
            "sources": (shop.model_copy(update={"path": entry}), mail.model_copy(update={"path": others})),
            "contacts": None,
        }
    )
    if not problem:
        check_places(config)
        return
    before = tree(file.parent)
    with pytest.raises(ConfigError) as caught:
        open_run(config)
    assert caught.value.code == "out-overlap"
    assert f"  source 'shop': {entry!r} {problem}" in caught.value.message
    assert "mail" not in caught.value.message
    assert tree(file.parent) == before


def test_contacts_inside_the_output(file: Path) -> None:
    out = file.parent / "out"
    out.mkdir()
    (file.parent / "contacts.parquet").rename(out / "contacts.parquet")
    config = configuration(file)
    assert config.contacts is not None
    inside = config.contacts.model_copy(update={"path": str(out / "contacts.parquet")})
    with pytest.raises(ConfigError, match=r"contacts: .* is inside out"):
        check_places(config.model_copy(update={"contacts": inside, "out": str(out)}))


@pytest.mark.parametrize(
    "link", ["segments", "_work", "_manifests", "_bundles", "_rollups", "features/as_of=2020-01-01"]
)
@pytest.mark.parametrize("target", ["../shop", "/nowhere", "../out"])
def test_links_that_leave_the_root(file: Path, link: str, target: str) -> None:
    out = Path(configuration(file).out)
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(target if target.startswith("/") else file.parent / "x" / target)
    (file.parent / "x").mkdir()
    if target == "../out":
        check_places(configuration(file))
        return
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        open_run(configuration(file))
    assert caught.value.code == "out-link"
    assert str(out / link) in caught.value.message
    assert sorted(file.parent.rglob("*")) == before


def test_the_root_itself_may_be_a_link(file: Path) -> None:
    (file.parent / "elsewhere").mkdir()
    Path(configuration(file).out).symlink_to("elsewhere")
    check_places(configuration(file))

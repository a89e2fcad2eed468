from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from engine.bundle_listing import (
    FIGURES,
    compare_bundles,
    find_listed,
    list_bundles,
    model_card_of,
    other_sections,
    used_bundle,
)
from engine.bundle_store import promote_bundle, rollback_bundle, write_bundle
from engine.config import Config
from engine.errors import ConfigError, IntegrityError
from engine.identity import learning_hashes
from engine.tables.layout import bundles_folder
from tests.bundles import DAY, bundle, full_bundle, model, spec


def write(out: Path, number: int, *, promote: bool = True, **changes: object) -> str:
    made = bundle(number, **changes)
    return write_bundle(made, out / "_work" / f"{number}", out, promote=promote).name


def test_every_bundle_with_its_state(tmp_path: Path) -> None:
    assert list_bundles(tmp_path) == ()
    first, second, third = (write(tmp_path, number, models=(model(),)) for number in (1, 2, 3))
    held = write(tmp_path, 4, promote=False)
    damaged = write(tmp_path, 5, promote=False)
    (bundles_folder(tmp_path) / damaged / "more.txt").write_text("x")
    write(tmp_path / "else", 6, as_of=date(2026, 4, 1))
    [stranger] = (tmp_path / "else" / "_bundles").glob("*/")
    stranger.rename(bundles_folder(tmp_path) / stranger.name)
    (bundles_folder(tmp_path) / "notes").mkdir()
    rollback_bundle(tmp_path)
    promote_bundle(tmp_path, first)
    listed = list_bundles(tmp_path)
    assert [(found.id, found.state, found.promoted) for found in listed] == [
        (second, "promoted", 1),
        (held, "held", None),
        (damaged, "held", None),
        (third, "withdrawn", None),
        (first, "current", 2),
        (stranger.name, "unfinished", None),
    ]
    assert [found.as_of for found in listed] == [DAY] * 5 + [date(2026, 4, 1)]
    assert [found.id for found in listed if found.problem] == [damaged]
    assert listed[2].bundle is None
    assert "more.txt" in str(listed[2].problem)
    with pytest.raises(IntegrityError):
        used_bundle(listed[2])
    assert used_bundle(listed[4]) == bundle(1, models=(model(),))


def test_names_of_bundles(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_listed(tmp_path, "current")
    assert caught.value.code == "bundle-missing"
    ids = sorted(write(tmp_path, number) for number in range(1, 18))
    assert find_listed(tmp_path, "current").state == "current"
    for name in ids:
        shortest = next(name[:length] for length in range(1, 13) if sum(i.startswith(name[:length]) for i in ids) == 1)
        assert find_listed(tmp_path, shortest).id == find_listed(tmp_path, name).id == name
    # Of 17 ids in hexadecimal, two begin alike.
    twice = next(digit for digit in "0123456789abcdef" if sum(name.startswith(digit) for name in ids) > 1)
    for name, message in [(twice, "begin with"), ("", "no bundle ''"), ("../x", "no bundle"), ("curent", "'current'")]:
        with pytest.raises(ConfigError, match=message) as caught:
            find_listed(tmp_path, name)
        assert caught.value.code == "bundle-unknown"


def test_the_card_of_a_model(tmp_path: Path) -> None:
    write(tmp_path, 1, models=(model(),))
    found = find_listed(tmp_path, "current")
    assert model_card_of(found, "buys") == (found.folder / "targets/buys/card.md").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'buys'") as caught:
        model_card_of(found, "buy")
    assert caught.value.code == "bundle-target"


def test_the_configuration_that_a_bundle_was_fitted_with(tmp_path: Path) -> None:
    config = Config.model_validate({"sources": [{"name": "shop", "path": "a", "columns": _COLUMNS}]})
    name = write(tmp_path, 1, learnt_from=tuple(sorted(learning_hashes(config).items())))
    found = find_listed(tmp_path, name)
    assert other_sections(found, config) == []
    assert other_sections(found, config.model_copy(update={"seed": 5})) == ["seed"]


_COLUMNS = {"user_id": "u", "event_type": "k", "event_time": "t"}


def test_what_differs_between_two_bundles() -> None:
    first = full_bundle("buys", "sells")
    more = replace(spec(), windows=(7, 30))
    changed = replace(model("buys", 5).spec, features=("age", "more"))
    second = bundle(
        spec=more,
        learnt_from=(("model", "3"), ("seed", "1"), ("value", "1")),
        models=(model("other"), replace(model("buys", 5), spec=changed)),
    )
    found = compare_bundles(first, second)
    assert found.sections == ("model", "value")
    assert found.removed == ()
    assert "view_count_7d" in found.added
    assert all("_7d" in name for name in found.added)
    assert [target.name for target in found.targets] == ["other", "buys", "sells"]
    other, buys, sells = found.targets
    assert (other.first, sells.second) == (None, None)
    assert set(buys.figures) == {*FIGURES, "lift"}
    assert buys.figures["auc"].first == first.models[0].spec.metrics.auc
    assert buys.figures["lift"].second == changed.metrics.lift_by_decile[0]
    assert other.figures["auc"].first is None
    assert sells.figures["brier"].second is None
    assert (buys.added, buys.removed) == (("more",), ("tenure_days", "view_count_30d", "view_count_total", "region"))
    same = compare_bundles(first, first)
    assert (same.sections, same.added, same.removed) == ((), (), ())
    assert all(sides.first == sides.second for target in same.targets for sides in target.figures.values())

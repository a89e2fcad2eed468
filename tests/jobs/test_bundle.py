from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from engine.bundle_store import current_bundle, write_bundle
from engine.config_file import load_config
from engine.identity import learning_hashes
from engine.tables.lock import writer_lock
from tests.bundles import bundle, model, spec

Tamis = Callable[..., Result]


@pytest.fixture
def out(folder: Path) -> Path:
    return folder / "out"


def write(out: Path, number: int, *, promote: bool = True, **changes: object) -> str:
    seed = [("seed", 5)] if changes.pop("other_seed", False) else []
    learnt_from = tuple(sorted(learning_hashes(load_config(Path("tamis.toml"), overrides=seed).config).items()))
    made = bundle(number, **{"models": (model("buys", number),), "learnt_from": learnt_from, **changes})
    return write_bundle(made, out / "_work" / f"{number}", out, promote=promote).name


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def found(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def failed(result: Result, code: str, exit_code: int) -> str:
    assert result.exit_code == exit_code, result.output
    assert f"error[{code}]" in result.stderr
    return result.stderr


def test_list_before_the_first_fit(tamis: Tamis, out: Path) -> None:
    assert lines(tamis("bundle", "list")) == ["No bundle under out; `tamis fit` makes one."]
    assert found(tamis("bundle", "list", "--json")) == {"out": str(out), "bundles": []}
    assert not out.exists()


def test_list(tamis: Tamis, out: Path) -> None:
    first, second = write(out, 1), write(out, 2)
    held = write(out, 3, promote=False, models=())
    (out / "_bundles" / first / "more.txt").write_text("x")
    result = tamis("bundle", "list")
    assert [re.split(r"\s{2,}", line) for line in lines(result)] == [
        ["bundle", "fitted as of", "state", "promoted", "targets (AUC out of time)"],
        [first, "2026-03-01", "promoted earlier, unusable", "1", "–"],
        [second, "2026-03-01", "current", "2", f"buys {model('buys', 2).spec.metrics.auc:.4f}"],
        [held, "2026-03-01", "held", "–", "–"],
    ]
    assert result.stderr.startswith(f"warning: the bundle {out / '_bundles' / first} is damaged:")
    assert tamis("bundle", "list", "-q").stderr == ""
    listed = found(tamis("bundle", "list", "--json"))["bundles"]
    assert [(entry["bundle"], entry["state"], entry["promoted"]) for entry in listed] == [  # type: ignore[attr-defined]
        (first, "promoted", 1),
        (second, "current", 2),
        (held, "held", None),
    ]
    buys = listed[1]["targets"]["buys"]  # type: ignore[index]
    assert buys["metrics"] == json.loads(json.dumps(model("buys", 2).spec.metrics.to_dict()))
    assert buys["gate"]["promoted"] is model("buys", 2).spec.verdict.promoted
    assert buys["intervals"]["auc"] == [
        getattr(dict(model("buys", 2).spec.intervals)["auc"], e) for e in ("low", "high")
    ]
    assert "more.txt" in listed[0]["problem"]  # type: ignore[index]


def test_show(tamis: Tamis, out: Path) -> None:
    write(out, 1)
    second = write(out, 2)
    shown = lines(tamis("bundle", "show"))
    assert shown == lines(tamis("bundle", "show", second[:6])) == lines(tamis("bundle", "show", "current"))
    assert shown[0] == f"bundle        {second}"
    assert shown[1] == f"folder        out/_bundles/{second}"
    assert shown[2:4] == ["fitted as of  2026-03-01", "state         current (promotion 2)"]
    assert shown[-2].split() == ["target", "AUC", "interval", "base", "rate", "test", "rows", "gate"]
    assert shown[-1].startswith("buys ")
    described = found(tamis("bundle", "show", "--json"))
    assert described["bundle"] == second
    assert "view_count_30d" in described["features"]  # type: ignore[operator]
    assert described["contacts"] == {"region": "String", "age": "Int64"}
    assert "nothing was fitted yet" in failed(tamis("bundle", "show", "--out", "other"), "bundle-missing", 2)
    failed(tamis("bundle", "show", "zzz"), "bundle-unknown", 2)


def test_the_card(tamis: Tamis, out: Path) -> None:
    name = write(out, 1)
    card = (out / "_bundles" / name / "targets/buys/card.md").read_text(encoding="utf-8")
    assert lines(tamis("bundle", "show", "--card", "buys")) == card.splitlines()
    assert found(tamis("bundle", "show", "--card", "buys", "--json"))["card"] == card
    assert "did you mean 'buys'?" in failed(tamis("bundle", "show", "--card", "buy"), "bundle-target", 2)


def test_compare(tamis: Tamis, out: Path) -> None:
    first = write(out, 1)
    second = write(out, 2, spec=spec.__wrapped__(features={"windows": [7, 30]}), other_seed=True)
    result = tamis("bundle", "compare", first)
    shown = lines(result)
    assert shown[0] == f"first             {first} (2026-03-01, promoted earlier)"
    assert shown[1] == f"second            {second} (2026-03-01, current)"
    assert shown[2] == "configuration     seed differ"
    assert "view_count_7d" in shown[3]
    assert shown[4] == "features removed  none"
    assert shown[6].split() == ["target", "out", "of", "time", "first", "second", "change"]
    one, two = (model("buys", number).spec.metrics.auc for number in (1, 2))
    assert one is not None
    assert two is not None
    assert shown[7].split() == ["buys", "auc", f"{one:.4f}", f"{two:.4f}", f"{two - one:+.4f}"]
    assert "not the same rows" in result.stderr
    compared = found(tamis("bundle", "compare", first, second, "--json"))
    assert (compared["first"], compared["second"]) == (first, second)
    assert compared["targets"]["buys"]["auc"] == [one, two]  # type: ignore[index]
    assert "view_count_7d" in compared["features"]["added"]  # type: ignore[index]
    assert compared["targets"]["buys"]["features"] == {"added": [], "removed": []}  # type: ignore[index]
    failed(tamis("bundle", "compare", first, "zzz"), "bundle-unknown", 2)


def test_promote_and_roll_back(tamis: Tamis, out: Path) -> None:
    first, second = write(out, 1), write(out, 2)
    held = write(out, 3, promote=False)
    assert lines(tamis("bundle", "promote", held[:8])) == [f"Promoted {held}, fitted as of 2026-03-01; it was held"]
    assert current_bundle(out) == out / "_bundles" / held
    assert lines(tamis("bundle", "rollback")) == [
        f"Withdrew {held}; the current bundle is {second}, fitted as of 2026-03-01"
    ]
    assert found(tamis("bundle", "promote", first, "--json")) == {
        "promoted": first,
        "was": "promoted",
        "as_of": "2026-03-01",
    }
    assert found(tamis("bundle", "rollback", "--json")) == {
        "withdrawn": first,
        "current": second,
        "as_of": "2026-03-01",
    }
    assert "only one that is promoted" in failed(tamis("bundle", "rollback"), "bundle-rollback", 2)
    quiet = tamis("bundle", "promote", held, "-q")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    failed(tamis("bundle", "promote", "zzz"), "bundle-unknown", 2)
    failed(tamis("bundle", "rollback", "--out", "other"), "bundle-missing", 2)
    (out / "_bundles" / first / "more.txt").write_text("x")
    failed(tamis("bundle", "promote", first), "bundle-damaged", 7)
    with writer_lock(out, "the other run"):
        failed(tamis("bundle", "rollback"), "out-locked", 5)


def test_a_bundle_of_another_configuration_is_promoted_with_a_word(tamis: Tamis, out: Path) -> None:
    first = write(out, 1)
    assert tamis("bundle", "promote", first).stderr == ""
    other = tamis("bundle", "promote", first, "--set", "seed=5")
    assert lines(other)
    assert f"warning: {first} was fitted with another configuration (seed differ)" in other.stderr


def test_the_record_is_damaged(tamis: Tamis, out: Path) -> None:
    write(out, 1)
    (out / "_bundles" / "current").write_text("{")
    for command in (["list"], ["show"], ["promote", "0123"], ["rollback"]):
        failed(tamis("bundle", *command), "bundle-pointer", 7)

from __future__ import annotations

import polars as pl
import pytest

from engine.config import Target
from engine.errors import ConfigError
from engine.propensity.population import compile_populations, population_problems

SCHEMA: dict[str, pl.DataType] = {"days_since_buy": pl.Int64(), "share": pl.Float64(), "city": pl.String()}


def target(name: str, population: str | None) -> Target:
    return Target(name=name, event="buy", population=population)


def test_who_is_in_a_population() -> None:
    targets = (
        target("all", None),
        target("lapsed", "days_since_buy >= 90"),
        target("local", "city = 'Île' OR share > 0"),
    )
    frame = pl.DataFrame(
        {"days_since_buy": [90, 89, None], "share": [float("nan"), None, 1.0], "city": ["Île", "", None]}
    )
    found = compile_populations(targets, SCHEMA).holds(frame)
    assert found.to_dict(as_series=False) == {"lapsed": [True, False, False], "local": [True, False, True]}


def test_without_populations_there_is_nothing_to_hold() -> None:
    assert compile_populations((target("all", None),), SCHEMA).names == ()


@pytest.mark.parametrize(
    ("population", "said"),
    [
        ("days_since_bay >= 90", "no column 'days_since_bay' (did you mean 'days_since_buy'?)"),
        ("days_since_buy + 1", "is a number; a condition is true or false"),
        ("event_count('buy') > 1", "events cannot be asked for here"),
        ("city > 5", "city is text (String), 5 is a number"),
        ("days_since_buy >=", "something is missing beside >="),
        ("propensity_other > 0.5", "no column 'propensity_other'"),
        ("", "nothing is asked"),
    ],
)
def test_what_is_no_population_is_told_with_its_key(population: str, said: str) -> None:
    good, bad = target("good", "share > 0"), target("bad", population)
    [problem, *_] = population_problems((good, bad), SCHEMA)
    assert problem.startswith("  targets.bad.population: ")
    assert said in problem
    assert population in problem
    with pytest.raises(ConfigError) as caught:
        compile_populations((good, bad), SCHEMA)
    assert caught.value.code == "target-population"
    assert problem in caught.value.message
    assert "'good'" not in caught.value.message

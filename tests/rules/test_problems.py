from __future__ import annotations

from engine.rules.problems import Problem, drawn
from engine.rules.read import read_rule
from tests.rules.schema import SCOPE


def drawings(text: str) -> list[str]:
    return [drawn(text, problem) for problem in read_rule(text, SCOPE).problems]


def test_carets_stand_below_the_place() -> None:
    assert drawings("a > 1 AND\n  regoin = 'x' OR region > 70") == [
        "  regoin = 'x' OR region > 70\n  ^^^^^^\nno column 'regoin' (did you mean 'region' or 'ré gion'?)",
        (
            "  regoin = 'x' OR region > 70\n                  ^^^^^^^^^^^\n"
            "region is text (String), 70 is a number: values of different kinds cannot be compared; "
            "text stands in single quotes: '70'"
        ),
    ]


def test_carets_count_letters_not_code_points() -> None:
    for word in ("é", "e\u0301"):
        text = f"region = '{word}{word}' AND foo = 1"
        (drawing,) = drawings(text)
        line, carets, _ = drawing.split("\n")
        assert line == text
        assert carets == " " * len("region = 'éé' AND ") + "^^^"
        (problem,) = read_rule(text, SCOPE).problems
        assert text[problem.start : problem.end] == "foo"


def test_long_lines_are_cut_around_the_place() -> None:
    text = " OR ".join(f"a = {n}" for n in range(100)) + " OR foo = 1 OR " + " OR ".join(f"a = {n}" for n in range(99))
    line, carets, message = drawings(text)[0].split("\n")
    assert (line[0], line[-1], len(line)) == ("…", "…", 102)
    assert line[len(carets) - 3 : len(carets)] == "foo"
    assert carets.strip() == "^^^"
    assert message.startswith("no column 'foo'")


def test_places_at_the_end_and_tabs() -> None:
    assert drawn("a >", Problem("missing", 3, 3)) == "a >\n   ^\nmissing"
    assert drawn("\ta\n", Problem("x", 1, 99)) == " a\n ^\nx"
    assert drawn("", Problem("x", 0, 1)) == "\n^\nx"

from __future__ import annotations

import subprocess
import sys

import polars as pl

from engine.rules.scope import STAND_IN, Scope
from tests.rules.schema import AS_OF, read


def test_columns_are_found_by_their_nfc_names() -> None:
    scope = Scope({"re\u0301gion": pl.String()})
    assert scope.spelling == {"région": "re\u0301gion"}
    rule = read("région = 'x'", scope)
    assert rule.columns == {"re\u0301gion"}
    assert pl.DataFrame({"re\u0301gion": ["x"]}).select(rule.expr()).item() is True


def test_a_day_stands_in_while_rules_are_checked() -> None:
    assert Scope({}).day == STAND_IN
    assert Scope({}, as_of=AS_OF).day == AS_OF


def test_the_parser_is_imported_when_a_rule_is_read() -> None:
    code = "import sys, engine.rules.read; sys.exit('sqlglot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

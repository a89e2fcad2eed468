from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.toml_text import dotted, key_lines, split_dotted, toml_key, toml_value

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_values_survive(value: object) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


@given(texts)
def test_keys_survive(key: str) -> None:
    assert tomllib.loads(f"{toml_key(key)} = 1") == {key: 1}


def test_there_is_no_null() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        toml_value(None)


@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1), min_size=1))
def test_dotted_keys_survive(parts: list[str]) -> None:
    if all(part.isprintable() for part in parts):
        assert split_dotted(dotted(parts)) == tuple(parts)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("seed", ("seed",)),
        ("targets.coupon.horizon_days", ("targets", "coupon", "horizon_days")),
        ("targets.0.event", ("targets", "0", "event")),
        ('segments."VIP. à risque".where', ("segments", "VIP. à risque", "where")),
        ("segments.été.where", ("segments", "été", "where")),
        ("a b . c", ("a b", "c")),
        ("a..b", ("a", "", "b")),
        ("#", ("#",)),
        ("a = 1\nb", ("a = 1\nb",)),
    ],
)
def test_split_dotted(key: str, parts: tuple[str, ...]) -> None:
    assert split_dotted(key) == parts


def test_key_lines() -> None:
    text = """# a comment with [brackets]
seed = 1
windows = [
    7,  # a = 1
    30,
]
text = '''
[not.a.table]
'''
inline = { a = 1, b = { c = 2 } }

[[sources]]
name = "first"
[sources.columns]
user_id = "u"
[[sources]]
"odd key".x = 1
[sources.columns]
user_id = "v"
[rfm]
"""
    lines = key_lines(text)
    assert lines == {
        ("seed",): 2,
        ("windows",): 3,
        ("windows", 0): 3,
        ("windows", 1): 3,
        ("text",): 7,
        ("inline",): 10,
        ("inline", "a"): 10,
        ("inline", "b"): 10,
        ("inline", "b", "c"): 10,
        ("sources",): 12,
        ("sources", 0): 12,
        ("sources", 0, "name"): 13,
        ("sources", 0, "columns"): 14,
        ("sources", 0, "columns", "user_id"): 15,
        ("sources", 1): 16,
        ("sources", 1, "odd key"): 17,
        ("sources", 1, "odd key", "x"): 17,
        ("sources", 1, "columns"): 18,
        ("sources", 1, "columns", "user_id"): 19,
        ("rfm",): 20,
    }

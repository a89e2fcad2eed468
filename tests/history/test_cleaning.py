from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Config
from engine.history.cleaning import MASK, clean_message, clean_overrides, known_texts

CONFIG = Config.model_validate(
    {
        "sources": [
            {
                "name": "shop",
                "path": "/a",
                "columns": {"user_id": "u", "event_type": {"value": "buy"}, "event_time": "t"},
            }
        ],
        "exclude": {"user_ids": ["ada", 12345678]},
    }
)


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("source 'shop' has no column 'u'", "source 'shop' has no column 'u'"),
        ("value 'Paris' of 'shop'", f"value '{MASK}' of 'shop'"),
        ('value "Paris"', f"value '{MASK}'"),
        ("Lists name users whom no event has:\n  - 'vip': u1, u2", "Lists name users whom no event has:"),
        ("user ada.l@example.org is odd", f"user {MASK} is odd"),
        ("user 123456789 is odd", f"user {MASK} is odd"),
        ("1234567 rows, 1,234,567 rows", f"{MASK} rows, 1,234,567 rows"),
        ("'/data/part-00000-123456789.parquet' is cut", "'/data/part-00000-123456789.parquet' is cut"),
        ("/data/123456789.parquet is cut", "/data/123456789.parquet is cut"),
        ("user 'ada' is excluded", f"user '{MASK}' is excluded"),
    ],
)
def test_what_is_of_the_data_is_masked(message: str, cleaned: str) -> None:
    assert clean_message(message, known_texts(CONFIG)) == cleaned


@given(st.text(alphabet=st.characters(exclude_characters="'\"\n\r")).filter(lambda text: not text.startswith("/")))
def test_no_quoted_value_gets_through(value: str) -> None:
    assert clean_message(f"got '{value}'") == f"got '{MASK}'"


def test_overrides_without_secrets_and_users() -> None:
    given = [
        ("seed", 3),
        ("seed", 4),
        ("features.windows", (7, 30)),
        ("publish.catalog", "postgresql://ada:pw@host/db"),
        ("publish.url", "https://ada:pw@host/db"),
        ("watch.notify_command", "curl -H 'token: x'"),
        ("exclude.user_ids", ("ada",)),
        ("contacts", {"path": "x", "token": "y"}),
        ("execution.address", None),
    ]
    assert clean_overrides(given) == {
        "seed": 4,
        "features.windows": [7, 30],
        "publish.catalog": MASK,
        "publish.url": f"https://{MASK}@host/db",
        "watch.notify_command": MASK,
        "exclude.user_ids": MASK,
        "contacts": {"path": "x", "token": MASK},
        "execution.address": None,
    }

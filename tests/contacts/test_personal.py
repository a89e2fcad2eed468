from __future__ import annotations

import pytest

from engine.config import Config
from engine.contacts.personal import is_of_one, personal_columns

SOURCE = {"name": "log", "path": "log", "columns": {"user_id": "u", "event_type": "t", "event_time": "at"}}


def test_what_the_configuration_maps_as_an_address_a_number_a_name_or_an_id_is_personal() -> None:
    config = Config.model_validate(
        {
            "out": "out",
            "sources": [SOURCE],
            "contacts": {
                "path": "c.parquet",
                "user_id": "customer",
                "cleaning": {"email": "mail", "phone": "tel", "names": ["town"]},
                "duplicates": {"exact": ["card"]},
            },
            "exports": {
                "email": "mail",
                "first_name": "first",
                "last_name": "last",
                "name": "whole",
                "phone": "mobile",
            },
        }
    )
    assert personal_columns(config) == {"customer", "mail", "tel", "card", "first", "last", "whole", "mobile"}
    assert personal_columns(Config.model_validate({"out": "out", "sources": [SOURCE]})) == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("family@example.org", True),
        ("+33 6 11 22 33 44", True),
        ("0611223344", True),
        ("700000007", True),
        ("Paris", False),
        ("75001 Paris", False),
        ("2026-01-31", False),
        ("12 000 000", False),
        ("true", False),
    ],
)
def test_a_value_that_looks_like_an_address_or_a_long_id_is_of_one_person(value: str, expected: bool) -> None:
    assert is_of_one(value) is expected

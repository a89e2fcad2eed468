from __future__ import annotations

import polars as pl
import pytest

from engine.exports.addresses import compared, is_address, trimmed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Ann@Example.ORG\t", "ann@example.org"),
        ("\ufeff\u00a0ann@example.org\u200b\u3000", "ann@example.org"),
        ("re\u0301mi@example.org", "r\u00e9mi@example.org"),
        ("\u0130x@example.org", "i\u0307x@example.org"),
        ("Ann@xn--exmple-cua.de", "ann@ex\u00e4mple.de"),
        ("ann@mail.XN--exmple-cua.de", "ann@mail.ex\u00e4mple.de"),
        ("ann@xn--\u00e9.de", "ann@xn--\u00e9.de"),
        ("xn--exmple-cua@b.org", "xn--exmple-cua@b.org"),
        (" \u00a0", None),
        (None, None),
    ],
)
def test_addresses_are_compared_without_what_nobody_sees(text: str | None, expected: str | None) -> None:
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    assert frame.select(compared(pl.col("text"))).item() == expected


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a@b.org", True),
        ("é+x@sub.exämple.org", True),
        ("a@b", False),
        ("a@b..org", False),
        ("a@.org", False),
        ("a@b.org.", False),
        ("@b.org", False),
        ("a b@b.org", False),
        ("a@b@c.org", False),
        ("a@b.org\nx", False),
        ("a\u202e@b.org", False),
        ("caf\ufffd@b.org", False),
        ("a@b\ufffd.org", False),
        ("a@b.or\ufffd", False),
    ],
)
def test_what_can_be_an_address(text: str, holds: bool) -> None:
    frame = pl.DataFrame({"text": [text]})
    assert frame.select(is_address(trimmed(pl.col("text")))).item() is holds

from __future__ import annotations

import string

import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contacts import emails
from engine.contacts.emails import ROLES, cleaned_emails


def one(address: str, disposable: tuple[str, ...] = ()) -> tuple[object, ...]:
    return cleaned_emails(pl.Series([address], dtype=pl.String), ROLES, disposable).row(0)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("Anna.Lee@Example.COM", "Anna.Lee@example.com"),
        ("  anna@example.com\u00a0", "anna@example.com"),
        ("an\u200bna@example.com\ufeff", "anna@example.com"),
        ("anna@exämple.de", "anna@xn--exmple-cua.de"),
        ("anna@XN--EXMPLE-CUA.DE", "anna@xn--exmple-cua.de"),
        ("e\u0301lise@example.fr", "élise@example.fr"),
        ("o'neil+news@sub.example.co.uk", "o'neil+news@sub.example.co.uk"),
        ("INFO@example.com", "info@example.com"),
        (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    ],
)
def test_dq04_one_form_for_one_mailbox(given: str, address: str) -> None:
    value, valid, *_ = one(given)
    assert (value, valid) == (address, True)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("anna", "anna"),
        ("anna@", "anna@"),
        ("@example.com", "@example.com"),
        (" anna@example ", "anna@example"),
        ("anna@localhost", "anna@localhost"),
        ("anna@shop.test", "anna@shop.test"),
        ("a..b@example.com", "a..b@example.com"),
        ("a b@example.com", "a b@example.com"),
        ("anna@exa_mple.com", "anna@exa_mple.com"),
        ("anna@ab--cd.com", "anna@ab--cd.com"),
        ("a@b@example.com", "a@b@example.com"),
        ("Anna <anna@example.com>", "Anna <anna@example.com>"),
        ("anna@example.com;ben@example.com", "anna@example.com;ben@example.com"),
        ("ann\ufffd@example.com", "ann\ufffd@example.com"),
        (f"a@{'b' * 64}.com", f"a@{'b' * 64}.com"),
        (f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.{'f' * 20}.com",) * 2,
    ],
)
def test_dq05_addresses_that_cannot_be_right(given: str, kept: str) -> None:
    value, valid, role, disposable, _ = one(given)
    assert (value, valid, role, disposable) == (kept, False, None, None)


@pytest.mark.parametrize("blank", ["", "  ", "\u200b"])
def test_nothing_is_no_address(blank: str) -> None:
    assert one(blank) == (None, None, None, None, False)


@pytest.mark.parametrize(
    ("address", "is_role"),
    [("contact@a.fr", True), ("Contact@a.fr", True), ("info+shop@a.fr", True), ("infos.anna@a.fr", False)],
)
def test_dq05_roles(address: str, is_role: bool) -> None:
    assert one(address)[2] is is_role


@pytest.mark.parametrize(
    ("address", "is_disposable"),
    [
        ("a@thrown.com", True),
        ("a@x.y.THROWN.com", True),
        ("a@notthrown.com", False),
        ("a@thrown.com.fr", False),
        ("a@xn--exmple-cua.de", True),
    ],
)
def test_dq05_domains_that_are_listed_and_those_below(address: str, is_disposable: bool) -> None:
    assert one(address, ("thrown.com", "xn--exmple-cua.de"))[3] is is_disposable


def test_a_lost_character_is_counted() -> None:
    assert one("ann\ufffd@example.com")[4] is True


def by_library(address: str) -> tuple[str, bool]:
    try:
        found = validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return address, False
    return f"{found.local_part}@{found.ascii_domain}", True


LABEL = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=8)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ENDING = st.sampled_from(["com", "test", "Local", "example", "x", "c0m", "xn--p1ai", "museum", "onion", "9"])
LOCAL = st.text(string.ascii_letters + string.digits + "._+-'&!~ é", min_size=1, max_size=12)
ROLE = st.sampled_from(["info", "WWW", "Postmaster", "abuse", "sales"])
ADDRESS = st.builds("{}@{}.{}".format, st.one_of(LOCAL, ROLE, st.just("a" * 65)), DOMAIN, ENDING)


@settings(max_examples=300, deadline=None)
@given(st.one_of(ADDRESS, st.text(string.ascii_letters + "@.-+ ", max_size=20)))
def test_the_plain_form_and_the_library_agree(address: str) -> None:
    value, valid, *_ = one(address)
    trimmed = address.strip(" ")
    assert (value, valid) == (by_library(trimmed) if trimmed else (None, None))


def test_plain_addresses_do_not_need_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emails, "normalised", None)
    assert one("anna.lee+x@example.com")[:2] == ("anna.lee+x@example.com", True)
    with pytest.raises(TypeError):
        one("élise@example.com")

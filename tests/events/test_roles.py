from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.roles import ROLES, guess_roles


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            {"purchase": 5, "email_send": 50, "email_open": 20, "email_click": 9},
            "purchase|email_send|email_open|email_click",
        ),
        (
            {"order_completed": 5, "email_delivered": 50, "email_opened": 20, "email_clicked": 9},
            "order_completed|email_delivered|email_opened|email_clicked",
        ),
        (
            {"Order Completed": 5, "Email Delivered": 9, "Email Opened": 3},
            "Order Completed|Email Delivered|Email Opened|-",
        ),
        ({"delivered": 9, "opened": 5, "click": 2, "bounced": 1}, "-|delivered|opened|click"),
        (
            {"Received Email": 9, "Opened Email": 5, "Clicked Email": 2, "Placed Order": 1, "Ordered Product": 4},
            "Placed Order|Received Email|Opened Email|Clicked Email",
        ),
        ({"sent": 9, "open": 5, "processed": 12}, "-|sent|open|-"),
        ({"emailSent": 9, "emailOpened": 5, "checkoutCompleted": 3}, "checkoutCompleted|emailSent|emailOpened|-"),
        ({"emailsent": 9, "EMAIL-OPEN": 5, "checkout_started": 3}, "-|emailsent|EMAIL-OPEN|-"),
        ({"email_sent": 50, "email_delivered": 48}, "-|email_sent|-|-"),
        ({"Order Delivered": 50, "Order Shipped": 48, "order_email_sent": 3}, "-|order_email_sent|-|-"),
        ({"ad_click": 500, "email_click": 4}, "-|-|-|email_click"),
        ({"order_cancelled": 9, "order_placed": 5, "app_opened": 7, "unsubscribe_click": 2}, "order_placed|-|-|-"),
        ({"purchase": 5, "purchase_intent_view": 99}, "purchase|-|-|-"),
        ({"campaign_received": 5, "coupon_redeemed": 1}, "-|campaign_received|-|-"),
        ({"transaction": 5, "transaction_failed": 9}, "transaction|-|-|-"),
        ({"login": 3}, "-|-|-|-"),
        ({}, "-|-|-|-"),
    ],
)
def test_roles(counts: dict[str, int], expected: str) -> None:
    roles = guess_roles(counts).roles
    assert [getattr(roles, role) or "-" for role in ROLES] == expected.split("|")


def test_the_others_that_fit_are_named() -> None:
    guess = guess_roles({"sent": 3, "delivered": 5, "opened": 2})
    assert guess.notes == ("send is 'delivered'; 'sent' could be meant as well, a role takes one event type",)
    assert guess_roles({"sent": 3, "opened": 2}).notes == ()


words = st.sampled_from(["email", "order", "sent", "opened", "click", "purchase", "cart", "delivered", "app"])


@given(st.dictionaries(st.lists(words, min_size=1, max_size=3).map(" ".join), st.integers(1, 9), max_size=8))
def test_no_type_has_two_roles(counts: dict[str, int]) -> None:
    found = [name for name in (getattr(guess_roles(counts).roles, role) for role in ROLES) if name is not None]
    assert len(set(found)) == len(found)
    assert set(found) <= set(counts)

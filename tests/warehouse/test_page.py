from __future__ import annotations

from tests.warehouse.page import PAGE, page


def test_the_page_shows_what_the_tests_run() -> None:
    assert PAGE.read_text(encoding="utf-8") == page().rstrip() + "\n"

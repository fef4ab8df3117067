"""The recipes of rights, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from nearhit.valkey import rights

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def test_the_page_of_operations_shows_the_recipes() -> None:
    shown = OPERATIONS.read_text().partition("<!-- rights -->\n```text\n")[2].partition("\n```\n<!-- /rights -->")[0]
    assert shown == rights.page(), "write nearhit.valkey.rights.page() into docs/operations.md"


def test_what_a_worker_may_includes_what_an_application_may() -> None:
    for one in rights.RECIPES:
        if one.role == rights.APPLICATION:
            assert set(one.rules) <= set(rights.recipe(one.server, rights.WORKER).rules)

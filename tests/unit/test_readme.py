"""The README's table of settings is the one that the code has."""

from __future__ import annotations

from pathlib import Path

from nearhit.settings import settings_table

README = Path(__file__).parents[2] / "README.md"


def test_the_table_of_settings_in_the_readme_is_the_one_of_the_code() -> None:
    text = README.read_text(encoding="utf-8")
    _, found, rest = text.partition("<!-- settings -->\n")
    assert found, "README.md has no line '<!-- settings -->'"
    table, found, _ = rest.partition("\n<!-- /settings -->")
    assert found, "README.md has no line '<!-- /settings -->'"
    assert table == settings_table(), "the table is stale: paste what nearhit.settings.settings_table() gives"

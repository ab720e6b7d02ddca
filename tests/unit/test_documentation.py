"""What the pages of documentation point at is there, and README leads to each of them."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import DOCS, REPOSITORY

PAGES = sorted(DOCS.glob("*.md"))
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def test_readme_links_to_every_page() -> None:
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in PAGES} <= linked


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_link_and_picture_is_there(page) -> None:
    missing = [
        link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()
    ]
    assert missing == []


def test_every_picture_is_shown_and_small() -> None:
    shown = {
        (page.parent / link).resolve()
        for page in (REPOSITORY / "README.md", *PAGES)
        for link in LINK.findall(page.read_text(encoding="utf-8"))
    }
    pictures = sorted((DOCS / "pictures").iterdir())
    assert [picture.name for picture in pictures if picture.resolve() not in shown] == []
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []

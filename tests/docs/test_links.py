"""Links between pages lead somewhere, and no page is left out of the index."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_links_of_a_page_lead_to_a_file_and_a_heading(page):
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), f"{path} is no file"
        assert not anchor or anchor in anchors(target), f"{path} has no heading #{anchor}"


def test_the_indexes_lead_to_every_page():
    indexes = [ROOT / f"docs/{name}.md" for name in ("index", "explanation/decisions", "fr/index")]
    linked = {
        (index.parent / path).resolve()
        for index in indexes
        for path, _ in LINK.findall(index.read_text(encoding="utf-8"))
    }
    assert set(ROOT.glob("docs/**/*.md")) - {indexes[0]} <= linked


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub and GitLab turn them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

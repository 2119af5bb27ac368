"""French pages follow the English ones, part by part; and what is generated fits what it is made of."""

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, git, run


def test_the_french_pages_say_what_the_english_ones_say():
    run(sys.executable, "docs/translations.py", cwd=ROOT)


@pytest.fixture
def translations(tmp_path):
    """Return the program with a folder of its own, which holds one small page in both languages."""
    spec = importlib.util.spec_from_file_location("translations", ROOT / "docs/translations.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.ROOT, program.ACCEPTED = tmp_path, tmp_path / "translated.json"
    program.PAGES = {"page.md": "page.fr.md"}
    write(tmp_path / "page.md", "# One\n\nThe words of this page.\n\n```console\nmake\n```\n")
    write(tmp_path / "page.fr.md", "# Un\n\nLes mots de cette page.\n\n```console\nmake\n```\n")
    return program


def write(page: Path, text: str) -> None:
    page.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "old", "new", "says"),
    [
        ("page.md", "words of", "new words of", "stale"),
        ("page.fr.md", "Les mots de cette page", "The words of this page", "not translated"),
        ("page.fr.md", "make\n", "make all\n", "other parts"),
        ("page.fr.md", "# Un", "## Un", "other parts"),
        ("page.md", "# One\n", "# One\n\nOne more paragraph here.\n", "other parts"),
        ("page.fr.md", "\n```\n", "\n```\n\nUn paragraphe de plus.\n", "parts, but"),
    ],
)
def test_what_does_not_fit_is_named(translations, page, old, new, says):
    translations.accept()
    path = translations.ROOT / page
    assert not translations.problems("page.md", "page.fr.md")
    write(path, path.read_text(encoding="utf-8").replace(old, new, 1))
    (problem,) = translations.problems("page.md", "page.fr.md")
    assert says in problem


def test_the_page_of_tools_says_what_the_programs_say():
    run(sys.executable, "docs/describe.py", "--check", cwd=ROOT)


@pytest.mark.parametrize("source", sorted(ROOT.glob("docs/pictures/*.dot")), ids=lambda p: p.stem)
def test_a_picture_is_drawn_of_its_source(source):
    drawn = source.with_suffix(".svg").read_text(encoding="utf-8")
    assert git(ROOT, "hash-object", str(source)).strip() in drawn, "run `make pictures`"


def test_the_guides_name_the_base_image_of_the_template():
    digests = (ROOT / "includes/python-image.jinja").read_text(encoding="utf-8")
    for guide in ("docs/guide/docker.md", "docs/fr/guide/docker.md"):
        text = (ROOT / guide).read_text(encoding="utf-8")
        (image,) = {line.split()[1] for line in text.splitlines() if "@sha256:7" in line}
        assert image.removeprefix("python:") in digests

"""The site: `make docs` builds the English pages of docs/, and the French ones of docs/fr/ below them.

The pages are plain Markdown, which GitHub shows as well. What a site needs besides is made here:
the menu from the lists of index.md, and addresses for links that lead out of the folder.
"""

import os
import re
from pathlib import Path

from docutils import nodes

TOP = Path(__file__).parent.parent
REPOSITORY = "https://github.com/pinbook/pinbook"

project = "Pinbook"
copyright = "the Pinbook developers"
extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "index"
exclude_patterns = ["fr"]
nitpicky = True
smartquotes = False  # A page shows commands as they are typed.

myst_enable_extensions = ["strikethrough"]
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto", "site"]
suppress_warnings = ["myst.strikethrough"]

highlight_language = "none"

html_theme = "furo"
html_title = "Pinbook"
html_static_path = ["static"]
html_css_files = ["pinbook.css"]
html_js_files = ["pinbook.js"]
templates_path = ["templates"]
html_sidebars = {
    "**": [
        *(
            "sidebar/scroll-start.html",
            "sidebar/brand.html",
            "language.html",
            "sidebar/search.html",
        ),
        *("sidebar/navigation.html", "sidebar/scroll-end.html"),
    ]
}
html_favicon = "static/pinbook.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_logo": "pinbook.svg",
    "dark_logo": "pinbook.svg",
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": ["view", "edit"],
}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(#[^)\s]+)?(?=\))")
LIST_OF_PAGES = re.compile(
    r"^#{2,3} (?P<heading>.+)$|^(?:\*|\d+\.) \[.+?\]\((?P<page>[^)#]+)\.md\)", re.MULTILINE
)


def setup(app) -> None:
    app.connect("config-inited", speak_french)
    app.connect("source-read", read_source)
    app.connect("doctree-read", finish_links)
    # After the theme, which makes the menu.
    app.connect("html-page-context", finish_page, priority=900)


def speak_french(app, config) -> None:
    """Set what the French site, built from docs/fr/, has of its own."""
    if config.language == "fr":
        config.exclude_patterns = []
        config.html_theme_options["source_directory"] = "docs/fr/"


def read_source(app, name: str, content: list[str]) -> None:
    """Prepare a page: links out of the folder get addresses, and lists of pages become the menu."""
    page = Path(app.srcdir, f"{name}.md")
    text = LINK.sub(lambda link: resolve(app, page, link[1], link[2] or ""), content[0])
    if page.name in ("index.md", "decisions.md"):
        text += menu(content[0])
    content[0] = text


def resolve(app, page: Path, path: str, anchor: str) -> str:
    """Return a link within the site, to the site in the other language or to the repository."""
    target = Path(os.path.normpath(page.parent / path))
    source, docs = Path(app.srcdir), TOP / "docs"
    if target.is_relative_to(source) and not (
        source == docs and target.is_relative_to(docs / "fr")
    ):
        return path + anchor
    if target.is_relative_to(docs) and target.suffix == ".md":
        # The site has the folders of docs/.
        return f"site:{os.path.relpath(target, page.parent)}".removesuffix(".md") + f".html{anchor}"
    if target.is_relative_to(docs):
        return path + anchor
    kind = "tree" if target.is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{target.relative_to(TOP).as_posix()}{anchor}"


def menu(text: str) -> str:
    """Return hidden tables of contents, one for each heading over a list of pages."""
    groups: dict[str, list[str]] = {}
    heading = ""
    for found in LIST_OF_PAGES.finditer(text):
        heading = found["heading"] or heading
        if found["page"] and not found["page"].startswith(("..", "fr/")):
            groups.setdefault(heading, []).append(found["page"])
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n" + "\n".join(pages) + "\n```\n"
        for heading, pages in groups.items()
    )


def finish_links(app, doctree: nodes.document) -> None:
    """Take the mark off links to the site in the other language."""
    for link in doctree.findall(nodes.reference):
        link["refuri"] = link.get("refuri", "").removeprefix("site:")
        if not link["refuri"]:
            del link["refuri"]


def finish_page(app, name: str, template: str, context: dict, doctree) -> None:
    """Link a page with its twin in the other language, and give the headings of the menu a level."""
    french = app.config.language == "fr"
    other = TOP / "docs" if french else TOP / "docs/fr"
    twin = name if (other / f"{name}.md").exists() else "index"
    up = "../" * name.count("/")
    context["twin"] = f"{up}{'..' if french else 'fr'}/{twin}.html"
    context["twin_language"] = "English" if french else "Français"
    if menu := context.get("furo_navigation_tree"):
        context["furo_navigation_tree"] = menu.replace(
            'role="heading"', 'role="heading" aria-level="2"'
        )

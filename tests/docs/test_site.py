"""The site as a person sees it: built without a warning, and opened in a real Chromium."""

import functools
import http.server
import json
import re
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.npm import unpack
from tests.support import ROOT, run

pytestmark = pytest.mark.xdist_group("site")
SCREENSHOTS = ROOT / "build/screenshots"
PAGES = [
    *("index.html", "tutorial/first-project.html", "guide/docker.html", "explanation/image.html"),
    *("fr/index.html", "fr/tutorial/first-project.html", "fr/guide/docker.html"),
]
SEARCHES = {"search.html": "secret", "fr/search.html": "hors ligne"}
AXE = "axe-core@4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
HEADINGS = {rule: {"enabled": True} for rule in ("heading-order", "empty-heading")}


@pytest.fixture(scope="session")
def site(clean_environment) -> Path:
    run("make", "docs", cwd=ROOT)
    return ROOT / "build/site"


@pytest.fixture(scope="session")
def address(site) -> str:
    """Return where the site is served, as a host of static files does it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None: ...

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """Return the accessibility checker, as npm has it."""
    package = unpack(AXE, SHA512, tmp_path_factory.mktemp("axe"))
    return (package / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(params=["light", "dark"])
def scheme(request) -> str:
    return request.param


@pytest.fixture(params=[1280, 390])
def page(request, browser, scheme, address):
    """Return a window, which must ask nobody else for anything and report no error."""
    window = browser.new_page(viewport={"width": request.param, "height": 900}, color_scheme=scheme)
    errors = []
    window.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.on(
        "request",
        lambda asked: errors.append(asked.url) if address not in asked.url[:40] else None,
    )
    yield window
    window.close()
    assert not errors


def keep_picture(page, name: str, scheme: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    width = page.viewport_size["width"]
    name = re.sub(r"\W+", "-", name.removesuffix(".html"))
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png")


def test_no_page_loads_anything_from_elsewhere(site):
    """The site can be read from a folder, without a network."""
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link[^>]+stylesheet[^>]+//'
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_french_pages_speak_french(site):
    assert '<html class="no-js" lang="fr"' in (site / "fr/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_can_be_read_by_everybody(page, scheme, name, address, axe):
    page.goto(f"{address}/{name}")
    keep_picture(page, name, scheme)
    widths = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1], "the page scrolls sideways"
    page.evaluate(axe)
    found = page.evaluate(f"axe.run({json.dumps({'runOnly': RULES, 'rules': HEADINGS})})")
    wrong = [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    assert not wrong


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_pages(page, scheme, name, address):
    page.goto(f"{address}/{name}?q={quote(SEARCHES[name])}")
    results = page.locator("ul.search li")
    results.first.wait_for(timeout=30_000)
    page.wait_for_timeout(500)
    keep_picture(page, name, scheme)
    results.first.locator("a").first.click()
    page.locator("article h1").first.wait_for()


def test_the_button_changes_the_colours(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(f"{address}/index.html")
    colours = "getComputedStyle(document.body).backgroundColor"
    before, button = page.evaluate(colours), page.locator(".theme-toggle:visible").first
    button.click()
    assert page.evaluate(colours) != before
    page.close()

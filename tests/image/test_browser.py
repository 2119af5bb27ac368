"""JupyterLab of `make up` in a real Chromium, as a person sees it."""

import time

import pytest

from tests.support import NOTEBOOK


@pytest.fixture
def page(browser):
    return browser.new_page(viewport={"width": 1300, "height": 900})


def test_a_person_runs_restarts_and_saves_the_quickstart(server, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    link = server("up").stdout.splitlines()[-1]
    page.goto(link.replace("/lab?", f"/lab/tree/{NOTEBOOK}?"))
    # The status bar names the kernel, and says when it is ready.
    page.get_by_text("Pinbook test | Idle").wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    plot = page.locator(".jp-OutputArea img")
    plot.wait_for(timeout=120_000)
    natural, shown = plot.evaluate("image => [image.naturalWidth, image.width]")
    assert natural > 1.5 * shown, "the figure is not sharp"
    assert page.get_by_text("Jupyter news").count() == 0
    assert [url for url in asked if url.startswith("http") and "//127.0.0.1:" not in url] == []

    # What was typed before a restart is saved after it, from the same tab.
    page.locator(".jp-Cell").last.click()
    for key in ("Escape", "b", "Enter"):
        page.keyboard.press(key)
    page.keyboard.type("typed = 'before'")
    server("down")
    server("up")
    notebook = server.folder / NOTEBOOK
    end = time.monotonic() + 90
    while "typed = 'before'" not in notebook.read_text():
        assert time.monotonic() < end, "the tab cannot save after a restart"
        page.keyboard.press("Control+s")
        page.wait_for_timeout(2000)
    assert "image/png" in notebook.read_text()
    assert notebook.stat().st_uid == 4321

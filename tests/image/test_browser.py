"""JupyterLab of `make up` in a real Chromium, as a person sees it."""

import json
import time

from tests.jupyterlab_page import LabPage
from tests.support import NOTEBOOK


def wait_until_saved(words: str, notebook, lab: LabPage) -> None:
    end = time.monotonic() + 90
    while words not in notebook.read_text():
        assert time.monotonic() < end, f"{words} is not saved"
        lab.save()
        lab.page.wait_for_timeout(2000)


def test_a_person_runs_restarts_and_saves_the_quickstart(server, browser):
    link = server("up").stdout.splitlines()[-1]
    lab = LabPage(browser, link, "Pinbook test")
    lab.run_all()
    natural, shown = lab.plot.evaluate("image => [image.naturalWidth, image.width]")
    assert natural > 1.5 * shown, "the figure is not sharp"
    assert lab.page.get_by_text("Jupyter news").count() == 0
    assert lab.outsiders() == []
    lab.keep_screenshot("container")

    # An edit of the code counts at once.
    with (server.folder / "src/pinbook_test/seasons.py").open("a") as module:
        module.write('\n\nADDED = "added while the kernel runs"\n')
    lab.type_cell("print(seasons.ADDED.upper())", run=True)
    lab.page.get_by_text("ADDED WHILE THE KERNEL RUNS").wait_for(timeout=30_000)

    # What was typed before a restart is saved after it, from the same tab.
    lab.type_cell("typed = 'before'")
    server("down")
    server("up")
    notebook = server.folder / NOTEBOOK
    wait_until_saved("typed = 'before'", notebook, lab)
    assert "image/png" in notebook.read_text()
    assert notebook.stat().st_uid == 4321


def test_a_killed_server_loses_only_what_was_not_saved(server, docker, browser):
    link = server("up").stdout.splitlines()[-1]
    lab = LabPage(browser, link, "Pinbook test")
    notebook = server.folder / NOTEBOOK
    lab.type_cell("saved = 1", run=True)
    wait_until_saved("saved = 1", notebook, lab)
    lab.type_cell("import time; time.sleep(600)", run=True)
    lab.page.get_by_text("Pinbook test | Busy").wait_for(timeout=30_000)
    compose = ["compose", "--project-directory", server.folder]
    docker(*compose, "kill", "--signal", "KILL", "notebook")
    sources = ["".join(one["source"]) for one in json.loads(notebook.read_text())["cells"]]
    assert "saved = 1" in sources
    assert not any("sleep" in source for source in sources)
    server("up")
    again = LabPage(browser, link, "Pinbook test")
    assert again.page.get_by_text("saved = 1").count() == 1
    assert again.page.get_by_text("time.sleep(600)").count() == 0

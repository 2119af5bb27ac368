"""`make lab` is quiet, and its kernel is that of the project."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.jupyterlab_page import LabPage
from tests.support import NOTEBOOK, git, run

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/lab\?token=\w+")
CELLS = """
import sys
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from traitlets.config import PyFileConfigLoader

config = PyFileConfigLoader("tools/jupyter_server_config.py").load_config()
kernels = config.ServerApp.kernel_spec_manager_class()
notebook = new_notebook(cells=[new_code_cell(source) for source in sys.argv[1:]])
NotebookClient(notebook, km=KernelManager(kernel_spec_manager=kernels)).execute()
print(*[output for cell in notebook.cells for output in cell.outputs], sep="\\n")
"""


@pytest.fixture(scope="module")
def lab(projects, tmp_path_factory):
    """The address of a running `make lab`, of a person with a kernel of another Python."""
    home = tmp_path_factory.mktemp("home")
    kernel = home / ".local/share/jupyter/kernels/other"
    kernel.mkdir(parents=True)
    spec = {"argv": ["python"], "display_name": "Another Python", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    (home / ".jupyter").mkdir()
    own = {"ServerApp": {"allow_root": True, "open_browser": False}}
    (home / ".jupyter/jupyter_server_config.json").write_text(json.dumps(own))
    with subprocess.Popen(
        ["make", "lab"],
        cwd=projects("minimal"),
        env=os.environ | {"HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as server:
        address = next(found[0] for line in server.stderr if (found := ADDRESS.search(line)))
        wait_for(address)
        yield address
        os.killpg(server.pid, 15)


def wait_for(address: str) -> None:
    """Wait until the server listens, because it prints its address a little earlier."""
    url = urlsplit(address)
    for _ in range(60):
        try:
            return socket.create_connection((url.hostname, url.port), timeout=5).close()
        except ConnectionRefusedError:
            time.sleep(0.5)
    raise TimeoutError(address)


def get(lab: str, path: str) -> str:
    with urllib.request.urlopen(lab.replace("/lab?", f"{path}?")) as answer:
        return answer.read().decode()


def test_lab_offers_the_kernel_of_the_project_and_no_other(lab):
    kernels = json.loads(get(lab, "/api/kernelspecs"))["kernelspecs"]
    assert {name: one["spec"]["display_name"] for name, one in kernels.items()} == {
        "python3": "My AI project"
    }


def test_lab_asks_nothing_about_news_and_installs_no_extension(lab):
    page = get(lab, "/lab")
    settings = json.loads(
        re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1]
    )
    assert "@jupyterlab/apputils-extension:announcements" in settings["disabledExtensions"]
    assert settings["extensionManager"]["can_install"] is False


def test_a_person_runs_edits_and_commits_in_the_browser(lab, projects, browser):
    project = projects("minimal")
    notebook = project / NOTEBOOK
    page = LabPage(browser, lab, "My AI project")
    page.run_all()
    with (project / "src/my_ai_project/seasons.py").open("a") as module:
        module.write('\n\nADDED = "added while the kernel runs"\n')
    page.type_cell("print(seasons.ADDED.upper())", run=True)
    page.page.get_by_text("ADDED WHILE THE KERNEL RUNS").wait_for(timeout=30_000)
    page.save()
    wait_for_text(notebook, "ADDED WHILE")
    assert page.outsiders() == []

    # The hook takes the outputs from the file, and not from the page.
    run("git", "commit", "--all", "--message", "Try it", cwd=project, fails=True)
    git(project, "commit", "--all", "--message", "Try it")
    committed = git(project, "show", f"HEAD:{NOTEBOOK}")
    assert "seasons.ADDED" in committed
    assert not any(cell.get("outputs") for cell in json.loads(committed)["cells"])
    assert page.plot.count() == 1

    # At the next save JupyterLab asks, and the button that the documentation names keeps everything.
    page.type_cell("after = 1")
    page.save()
    page.page.get_by_role("button", name="Overwrite").click(timeout=30_000)
    wait_for_text(notebook, "after = 1")
    assert "ADDED WHILE" in notebook.read_text(encoding="utf-8")
    page.keep_screenshot("lab")
    git(project, "reset", "--quiet", "--hard", "HEAD~1")


def wait_for_text(notebook: Path, words: str) -> None:
    end = time.monotonic() + 30
    while words not in notebook.read_text(encoding="utf-8"):
        assert time.monotonic() < end, f"{words} is not saved"
        time.sleep(0.2)


def test_figures_are_sharp_and_pip_says_what_to_do_instead(projects):
    figure = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1));"
    figure += "plt.plot([1]);"
    printed = run(
        ".venv/bin/python",
        *("-c", CELLS, figure, "%pip install tabulate"),
        cwd=projects("minimal"),
    ).stdout
    width = int(re.search(r"'width': (\d+)", printed)[1])
    # Metadata with a width that is half of the picture's is what makes a figure sharp.
    assert 100 < width < 250
    assert "Name the package in requirements.in, and run in a terminal: make lock setup" in printed
    assert "Collecting" not in printed


@pytest.mark.parametrize("manager", ["requirements", "uv"])
def test_pip_names_the_file_that_the_project_has(render, manager):
    project = render(stack="minimal", dependency_manager=manager)
    settings = (project / "tools/jupyter_server_config.py").read_text()
    named = re.search("Name the package in ([a-z.]+),", settings)[1]
    assert (project / named).exists()

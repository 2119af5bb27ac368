"""`make job` runs a notebook in the image, and keeps what it ran with."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.support import NOTEBOOK, git

WRITES = "import os, pathlib; (pathlib.Path(os.environ['RUN_FOLDER']) / 'model').write_text('fit')"


@pytest.fixture
def folder(project, mount) -> Path:
    shutil.copytree(project, mount / "project")
    return mount / "project"


@pytest.fixture
def job(folder, make, notebook):
    """Run a notebook of these cells as a job; return what it prints, and the folder that it leaves."""

    def job(*sources: str, name="own.ipynb", parameters="", fails=False) -> tuple[str, Path]:
        if sources:
            cells = [new_code_cell(source) for source in sources]
            cells[0].metadata.tags = ["parameters"]
            nbformat.write(new_notebook(cells=cells), folder / "notebooks" / name)
            name = f"notebooks/{name}"
        result = make(folder, "job", f"NOTEBOOK={name}", f"PARAMS={parameters}", check=False)
        assert (result.returncode != 0) == fails, result.stdout[-3000:]
        return result.stdout, max((folder / "runs").glob("*"), default=None)

    return job


def test_a_job_leaves_the_notebook_a_page_and_what_it_ran_with(job, folder, docker):
    printed, kept = job(name=NOTEBOOK)
    run = json.loads((kept / "run.json").read_text())
    assert run["commit"] == git(folder, "rev-parse", "HEAD").strip()
    assert run["dirty"] is False
    image = docker(
        "image", "inspect", "--format", "{{.Id}}", "pinbook-test:notebook"
    ).stdout.strip()
    assert run["image"] == image
    assert len(run["lock"]) == 64
    assert (run["notebook"], run["parameters"], run["exit"]) == (NOTEBOOK, {}, 0)
    assert run["start"] < run["end"]
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{run['commit'][:7]}", kept.name)
    assert "image/png" in (kept / "quickstart.ipynb").read_text()
    assert "data:image/png" in (kept / "quickstart.html").read_text()
    assert "cell 4 of 4" in printed
    assert git(folder, "status", "--porcelain") == "", "git sees runs/, or the notebook has changed"

    again, second = job(name=f"{kept}/run.json")
    assert "The outputs are equal." in again
    assert "Changed since then: nothing." in again
    assert second != kept


def test_parameters_replace_the_usual_values(job):
    _, kept = job(
        "days = 7\nname = 'a'", "print([days * 2, name])", parameters="days=365 name='two words'"
    )
    assert "[730, 'two words']" in (kept / "own.ipynb").read_text()
    assert json.loads((kept / "run.json").read_text())["dirty"] is True
    assert (
        "There is no parameter dayz, only days, name: correct PARAMS."
        in job(name="notebooks/own.ipynb", parameters="dayz=1", fails=True)[0]
    )
    assert (
        "give it to the one that sets them"
        in job(name=NOTEBOOK, parameters="days=1", fails=True)[0]
    )


def test_a_failed_cell_is_named_and_what_ran_is_kept(job):
    printed, kept = job("print('kept')", "first = 1\nfirst / 0", "print('never')", fails=True)
    assert "Cell [2], line 2: first / 0\nZeroDivisionError: division by zero" in printed
    assert json.loads((kept / "run.json").read_text())["exit"] == 1
    outputs = [cell.outputs for cell in nbformat.read(kept / "own.ipynb", as_version=4).cells]
    assert outputs[0][0].text == "kept\n"
    assert outputs[1][0].ename == "ZeroDivisionError"
    assert outputs[2] == []
    assert "ZeroDivisionError" in (kept / "own.html").read_text()


def test_a_repeated_run_tells_that_the_outputs_differ(job):
    _, kept = job("import uuid", "print(uuid.uuid4())")
    printed, _ = job(name=f"{kept}/run.json", fails=True)
    assert f"The outputs differ from those in {kept}" in printed
    _, kept = job("object()")
    assert "The outputs are equal" in job(name=f"{kept}/run.json")[0]


def test_a_job_writes_to_its_own_folder_alone_and_has_no_network(job):
    _, kept = job(WRITES)
    assert (kept / "model").read_text() == "fit"
    printed, _ = job("open('new', 'w')", fails=True)
    assert "Read-only file system: 'new'" in printed
    printed, _ = job("import socket; socket.create_connection(('192.0.2.1', 80))", fails=True)
    assert "Network is unreachable" in printed


@pytest.mark.parametrize("given", ["", "notebooks/none.ipynb", "README.md"])
def test_without_a_notebook_one_sentence_says_how(job, given):
    printed, kept = job(name=given, fails=True)
    assert "Name a notebook and its parameters: make job NOTEBOOK=notebooks/x.ipynb" in printed
    assert "Traceback" not in printed
    assert kept is None


def test_ctrl_c_keeps_what_there_is(job, folder, engine):
    job("print('kept')")
    shutil.rmtree(folder / "runs")
    cells = [new_code_cell("print('kept')"), new_code_cell("import time; time.sleep(600)")]
    nbformat.write(new_notebook(cells=cells), folder / "notebooks/own.ipynb")
    settings = {"ENGINE": engine, "NOTEBOOK": "notebooks/own.ipynb", "PARAMS": ""}
    with subprocess.Popen(
        ["python3", "tools/job.py", "pinbook-test:notebook"],
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as running:
        assert any("cell 2 of 2" in line for line in running.stdout)
        time.sleep(1)
        os.killpg(running.pid, signal.SIGINT)
        assert "Cell [2] was interrupted." in running.stdout.read()
        assert running.wait(timeout=60) == 130
    [kept] = (folder / "runs").iterdir()
    assert "kept" in (kept / "own.ipynb").read_text()
    assert json.loads((kept / "run.json").read_text())["exit"] == 130

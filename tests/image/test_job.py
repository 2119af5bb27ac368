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

STRICT = "--read-only --cap-drop ALL --security-opt no-new-privileges"
RANDOM = "import os, base64; print(base64.b64encode(os.urandom(90_000)).decode())"
WRITES = "import os, pathlib; (pathlib.Path(os.environ['RUN_FOLDER']) / 'model').write_text('fit')"


@pytest.fixture
def folder(project, mount) -> Path:
    shutil.copytree(project, mount / "project")
    return mount / "project"


@pytest.fixture
def job(folder, make, notebook):
    """Run a notebook of these cells as a job; return what it prints, and the folder that it leaves."""

    def job(*sources: str, name="own.ipynb", parameters="", fails=False, **more):
        if sources:
            write(folder, name, *sources)
            name = f"notebooks/{name}"
        settings = [f"{option}={given}" for option, given in more.items()]
        given = f"NOTEBOOK={name}", f"PARAMS={parameters}", *settings
        result = make(folder, "job", *given, check=False)
        assert (result.returncode != 0) == fails, result.stdout[-3000:]
        return result.stdout, max((folder / "runs").glob("*"), default=None)

    return job


def write(folder: Path, name: str, *sources: str) -> None:
    """Make a notebook of these cells, the first of which sets the parameters."""
    cells = [new_code_cell(source) for source in sources]
    cells[0].metadata.tags = ["parameters"]
    nbformat.write(new_notebook(cells=cells), folder / "notebooks" / name)


@pytest.fixture
def start(folder, engine, notebook):
    """Start tools/job.py as `make job` does, without waiting for its end."""

    def start(names: str, **more: str) -> subprocess.Popen:
        settings = {"ENGINE": engine, "STRICT": STRICT, "NOTEBOOK": names, "PARAMS": ""} | more
        return subprocess.Popen(
            ["python3", "tools/job.py", notebook],
            cwd=folder,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    return start


def runs(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/run.json"))]


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
    assert run["network"] is False
    assert run["start"] < run["end"]
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}\.\d{{6}}Z-{run['commit'][:7]}", kept.name)
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
    assert "Cell In[2], line 2\n" in printed
    assert "----> 2 first / 0\n" in printed
    assert "\nZeroDivisionError: division by zero\n" in printed
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


def test_a_network_is_there_when_asked_and_asked_again(job, folder):
    asks = "print(len(open('/proc/net/route').readlines()) > 1)"
    _, kept = job(asks, NETWORK="1")
    assert "True" in (kept / "own.ipynb").read_text()
    assert runs(folder)[0]["network"] is True
    assert "The outputs are equal." in job(name=f"{kept}/run.json")[0]
    assert "False" in (job(asks)[1] / "own.ipynb").read_text()


def test_what_a_job_has_fetched_is_there_for_the_next(job, docker):
    place = "import os, pathlib; place = pathlib.Path(os.environ['XDG_CACHE_HOME'], 'model')"
    job(f"{place}; place.write_text('weights')")
    _, kept = job(f"{place}; print(place.read_text()); place.unlink()")
    assert "weights" in (kept / "own.ipynb").read_text()


def test_several_run_at_once_and_one_failure_is_told(job, folder):
    """Each waits for the other, through the cache that both have."""
    waits = """import os, pathlib, time
cache = pathlib.Path(os.environ["XDG_CACHE_HOME"])
(cache / "{own}").touch()
end = time.monotonic() + 60
while not (cache / "{other}").exists() and time.monotonic() < end: time.sleep(0.1)
print("met" if time.monotonic() < end else "alone")"""
    for own, other in (("one", "two"), ("two", "one")):
        write(folder, f"{own}.ipynb", waits.format(own=own, other=other))
    printed, _ = job(name="notebooks/[ot]*.ipynb", JOBS=2)
    assert "one: cell 1 of 1" in printed and "two: cell 1 of 1" in printed
    assert [run["exit"] for run in runs(folder)] == [0, 0]
    for name in ("one", "two"):
        [kept] = folder.glob(f"runs/*/{name}.ipynb")
        assert "met" in kept.read_text()

    write(folder, "one.ipynb", "1 / 0")
    printed, _ = job(name="notebooks/one.ipynb notebooks/two.ipynb", fails=True)
    assert "one: a cell has failed:\n" in printed and "----> 1 1 / 0\n" in printed
    assert sorted(run["exit"] for run in runs(folder)) == [0, 0, 0, 1]
    said, _ = job(name=NOTEBOOK, fails=True, JOBS="many")
    assert "Usage, with a notebook that is there: make job NOTEBOOK=a.ipynb" in said


def test_two_that_start_in_one_second_have_a_folder_each(start, folder):
    write(folder, "own.ipynb", "print('done')")
    both = [start("notebooks/own.ipynb") for _ in range(2)]
    assert [one.communicate()[1] or one.returncode for one in both] == [0, 0]
    assert [run["exit"] for run in runs(folder)] == [0, 0]
    assert len({run["start"] for run in runs(folder)}) <= len(list(folder.glob("runs/*"))) == 2


def test_an_image_that_has_changed_since_is_named(job, folder):
    _, kept = job("print('equal')")
    with (folder / "src/pinbook_test/__init__.py").open("a") as code:
        code.write("# changed\n")
    printed, _ = job(name=f"{kept}/run.json")
    assert "Changed since then: image." in printed, "the notebook made the first one dirty, too"
    assert "The outputs are equal." in printed


def test_a_full_disk_leaves_what_was_saved_before(folder, docker, notebook):
    """What runs in the container of a job, with a folder of 100 KB for what it keeps."""
    write(folder, "own.ipynb", "print('kept')", RANDOM)
    disk = ["--mount", "type=tmpfs,destination=/media,tmpfs-size=100k,tmpfs-mode=777"]
    job = """cp /project/notebooks/own.ipynb /media && python /project/tools/job.py --inside /media/own.ipynb >&2
    echo $? >&2; cat /media/own.ipynb; ls /media >&2"""
    strict = ["--rm", *STRICT.split(), "--tmpfs", "/tmp:exec", *disk]
    options = [*strict, "--volume", f"{folder}:/project:ro", "--entrypoint", "sh"]
    done = docker("run", *options, notebook, "-c", job)
    *_, said, code, left = done.stderr.splitlines()
    assert said == "[Errno 28] No space left on device"
    assert (code, left) == ("1", "own.ipynb"), "half a file is left, or the exit code is wrong"
    assert "Traceback" not in done.stderr
    outputs = [cell.outputs for cell in nbformat.reads(done.stdout, as_version=4).cells]
    assert outputs[0][0].text == "kept\n"


def test_ctrl_c_keeps_what_there_is_and_starts_no_other(start, folder):
    write(folder, "own.ipynb", "print('kept')", "import time; time.sleep(600)")
    with start(f"notebooks/own.ipynb {NOTEBOOK}") as running:
        assert any("cell 2 of 2" in line for line in running.stdout)
        time.sleep(1)
        os.killpg(running.pid, signal.SIGINT)
        assert "Cell [2] was interrupted." in running.stdout.read()
        assert running.wait(timeout=60) == 130
    [kept] = (folder / "runs").iterdir()
    assert "kept" in (kept / "own.ipynb").read_text()
    assert json.loads((kept / "run.json").read_text())["exit"] == 130

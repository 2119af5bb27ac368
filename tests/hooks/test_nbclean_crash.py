"""Killed at any moment, or out of space: the notebook is as it was, or clean and kept."""

import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.hooks.notebook_project import as_jupyter, code, create, notebook

IMAGE = {"output_type": "display_data", "data": {"image/png": "iVBO" * 250_000}, "metadata": {}}
BEFORE = as_jupyter(notebook(code(outputs=[IMAGE])))
AFTER = as_jupyter(notebook(code(outputs=[]) | {"execution_count": None}))
KEPT = {"metadata": {"tags": ["keep_output"]}}
LARGE = as_jupyter(notebook(code(outputs=[IMAGE], id="kept", **KEPT), code()))

# Ends the process without warning at the n-th thing that it does to the file system.
KILL_AT_STEP = """
import os, runpy, signal, sys
left = int(sys.argv.pop(1))
def step(event, arguments):
    global left
    changes = event.startswith(("os.", "shutil.", "tempfile."))
    changes = changes and event not in ("os.listdir", "os.scandir", "os.walk", "os.fwalk")
    if changes or (event == "open" and arguments[2] and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        left -= 1
        if left == -1:
            os.kill(os.getpid(), signal.SIGKILL)
sys.argv.pop(0)
sys.addaudithook(step)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def assert_nothing_is_lost(project, path) -> None:
    after = path.read_bytes()
    assert after in (BEFORE, AFTER)
    if after == AFTER:
        assert project.copies("n.ipynb")[-1] == BEFORE


def test_killed_before_each_step_it_loses_nothing(project):
    path = project.write("n.ipynb", BEFORE)
    command = [sys.executable, "-c", KILL_AT_STEP]
    left = []
    for step in range(100):
        done = subprocess.run(
            [*command, str(step), "tools/nbclean.py", "n.ipynb"],
            cwd=project.folder,
            check=False,
            capture_output=True,
        )
        assert_nothing_is_lost(project, path)
        if done.returncode != -signal.SIGKILL:
            break
        left.append(path.read_bytes())
        path.write_bytes(BEFORE)
    assert done.returncode == 1, done.stderr
    assert path.read_bytes() == AFTER
    # The rename divides the steps: before it the file is the old one, after it the new one.
    assert left.count(BEFORE) > 5
    assert left == [BEFORE] * left.count(BEFORE) + [AFTER] * left.count(AFTER)


def test_killed_at_random_moments_it_loses_nothing(project, request):
    path = project.write("n.ipynb", BEFORE)
    start = time.monotonic()
    assert project.nbclean("n.ipynb").returncode == 1
    needed = time.monotonic() - start
    for _ in range(40 if request.config.getoption("--all-answers") else 15):
        path.write_bytes(BEFORE)
        process = subprocess.Popen(
            [sys.executable, "tools/nbclean.py", "n.ipynb"],
            cwd=project.folder,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(random.uniform(0.4, 1.1) * needed)
        process.kill()
        process.wait()
        assert_nothing_is_lost(project, path)


def test_interrupted_it_says_so_and_leaves_nothing_behind(project):
    path = project.write("n.ipynb", BEFORE)
    interrupt = KILL_AT_STEP.replace("signal.SIGKILL)", "signal.SIGINT)")
    for step in range(100):
        done = subprocess.run(
            [sys.executable, "-c", interrupt, str(step), "tools/nbclean.py", "n.ipynb"],
            cwd=project.folder,
            check=False,
            capture_output=True,
            text=True,
            # A job in the background of a shell inherits that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert_nothing_is_lost(project, path)
        assert list(project.folder.glob(".nbclean-*")) == []
        if "interrupted" not in done.stderr:
            break
    assert step > 5


@pytest.mark.parametrize("limit", [0, 1, 4096, 500_000])
def test_a_write_that_fails_leaves_the_notebook_as_it_was(project, limit):
    path = project.write("n.ipynb", LARGE)

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = project.nbclean("n.ipynb", preexec_fn=limit_file_size)
    assert path.read_bytes() == LARGE
    assert done.returncode == 2
    assert done.stderr == "n.ipynb: left as it is: File too large\n"
    assert list(project.folder.glob(".nbclean-*")) == []
    assert project.nbclean("n.ipynb").returncode == 1


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a full disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_on_a_full_disk_the_notebook_stays_as_it_was(small_disk):
    project = create(small_disk / "project")
    path = project.write("n.ipynb", LARGE)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    full = project.nbclean("n.ipynb")
    assert path.read_bytes() == LARGE
    assert full.returncode == 2
    assert full.stderr == "n.ipynb: left as it is: No space left on device\n"
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - 500_000)  # for the copy's link, not for the notebook
    nearly = project.nbclean("n.ipynb")
    assert path.read_bytes() == LARGE
    assert nearly.stderr == "n.ipynb: left as it is: No space left on device\n"
    filler.unlink()
    assert project.nbclean("n.ipynb").returncode == 1
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    clean = path.read_bytes()
    assert project.nbclean("--restore", "n.ipynb").returncode == 2
    assert path.read_bytes() == clean


def test_on_a_read_only_disk_the_notebook_stays_as_it_was(small_disk):
    project = create(small_disk / "project")
    path = project.write("n.ipynb", BEFORE)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = project.nbclean("n.ipynb")
    assert path.read_bytes() == BEFORE
    assert done.returncode == 2
    assert done.stderr == "n.ipynb: left as it is: Read-only file system\n"


def test_a_notebook_saved_meanwhile_is_not_overwritten(project):
    """Another program saves between the reading and the writing."""
    path = project.write("n.ipynb", BEFORE)
    saved = as_jupyter(notebook(code(outputs=[IMAGE]), code(id="new")))
    (project.folder / "saved").write_bytes(saved)
    script = """
import runpy, shutil, sys
def save(event, arguments):
    if event == "tempfile.mkstemp":
        shutil.copy("saved", "n.ipynb")
sys.addaudithook(save)
sys.argv = ["tools/nbclean.py", "n.ipynb"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "another program has just written it" in done.stderr
    assert path.read_bytes() == saved
    assert list(project.folder.glob(".nbclean-*")) == []

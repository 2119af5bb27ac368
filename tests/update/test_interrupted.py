"""An update that is killed half-way can be undone and repeated."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import git, run
from tests.update.template_versions import NEWEST, check, commit, contents, work


def start(*command, **options) -> subprocess.Popen:
    words = [str(word) for word in command]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(words, start_new_session=True, **quiet, **options)


def kill(process: subprocess.Popen) -> None:
    """Kill a program and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def undo(project: Path) -> None:
    """What the documentation says; git asks itself to delete the lock of a git that was killed."""
    (project / ".git/index.lock").unlink(missing_ok=True)
    run("git", "restore", "--staged", "--worktree", ".", cwd=project)
    run("git", "clean", "--force", "-d", cwd=project)


def test_an_update_killed_before_it_writes_has_changed_nothing(project, computer, tmp_path):
    project = project()
    work(project)
    commit(project)
    was = contents(project)
    environment = computer("copier")
    copier = shutil.which("copier", path=environment["PATH"])
    slow = tmp_path / "slow/copier"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\n{copier} "$@"\ntouch {tmp_path}/done\nsleep 600\n')
    slow.chmod(0o755)
    environment["PATH"] = f"{slow.parent}{os.pathsep}{environment['PATH']}"
    process = start("make", "update", cwd=project, env=environment)
    while not (tmp_path / "done").exists():
        assert process.poll() is None
        time.sleep(0.05)
    kill(process)
    assert contents(project) == was
    assert git(project, "status", "--porcelain") == ""


def test_make_update_that_is_killed_can_be_undone_and_repeated(project, fresh, computer):
    project = project()
    work(project)
    was = contents(project)
    commit(project)
    make_update = {"cwd": project, "env": computer("copier")}
    began = time.monotonic()
    run("make", "update", **make_update)
    took = time.monotonic() - began
    undo(project)
    assert contents(project) == was

    for part in (0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 1):
        process = start("make", "update", **make_update)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(part * took)
        kill(process)
        undo(project)
        assert contents(project) == was

    run("make", "update", **make_update)
    check(project, was, fresh("v1.0.0"), fresh("v2.0.0"))


@pytest.mark.parametrize("changed_files", [1, 5])
def test_copier_update_can_be_undone_when_it_is_killed(project, fresh, changed_files):
    project = project()
    work(project)
    was = contents(project)
    commit(project)
    process = start(*NEWEST, "update", "--defaults", cwd=project)
    while process.poll() is None:
        if len(git(project, "status", "--porcelain").splitlines()) >= changed_files:
            break
    kill(process)
    undo(project)
    assert contents(project) == was
    run(*NEWEST, "update", "--defaults", cwd=project)
    check(project, was, fresh("v1.0.0"), fresh("v2.0.0"))

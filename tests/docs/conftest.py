"""The machine and the project that pages of the documentation are followed on."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import NOTEBOOK, ROOT, commit_all, run

STAND_IN = "localhost/guide-base"
BUILD_ON_STAND_IN = """#!/bin/sh
if [ "$1" = build ]; then
  for recipe in Dockerfile*; do sed -i 's,^FROM python:[^ ]*,FROM {base},' "$recipe"; done
fi
exec {engine} "$@"
"""
ADDRESS = "https://github.com/pinbook/pinbook"


@pytest.fixture(scope="session")
def programs(tmp_path_factory) -> Path:
    """Return a folder with what the pages ask people to install."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("copier", "uv", "uvx"):
        (folder / name).symlink_to(ROOT / ".venv/bin" / name)
    return folder


@pytest.fixture
def environment(tmp_path, template, programs) -> dict[str, str]:
    """Return that of a person with git, make, uv and Copier, whom the public address leads to this template."""
    home = tmp_path / "home"
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter/jupyter_server_config.json").write_text(
        '{"ServerApp": {"allow_root": true, "open_browser": false}}'
    )
    return os.environ | {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(home / ".local/bin"), str(programs), os.environ["PATH"]]),
        "PAGER": "cat",
        "COPIER_CACHE_DIR": str(home / "copier"),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "GIT_EDITOR": "sed -i.bak '1s/^/A message/'",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{template}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
        "GIT_CONFIG_KEY_1": f"url.{template}.insteadOf",
        "GIT_CONFIG_VALUE_1": f"{ADDRESS}.git",
    }


@pytest.fixture(scope="session")
def set_up(render, programs, tmp_path_factory):
    """Return a function that puts a project, committed and with its .venv, into a folder.

    The same folder each time, because a .venv works only where it was made; of the small stack, which
    installs faster. Beside the folder stands the notebook with an edit and its outputs, executed.ipynb,
    so that few pages have to wait for Jupyter.
    """
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    originals = {}

    def set_up(project: Path, **answers) -> Path:
        key = project, *answers.items()
        shutil.rmtree(project, ignore_errors=True)
        if key not in originals:
            shutil.copytree(render(stack="minimal", **answers), project)
            commit_all(project)
            run("make", "setup", cwd=project, env=os.environ | {"PATH": path})
            execute(project, project.parent / "executed.ipynb")
            originals[key] = tmp_path_factory.mktemp("original") / project.name
            copy_project(project, originals[key])
        else:
            copy_project(originals[key], project)
        return project

    return set_up


def execute(project: Path, target: Path) -> None:
    """Write the notebook as it is after an edit and a run; what Python compiles for that stays in .venv."""
    text = (project / NOTEBOOK).read_text(encoding="utf-8")
    edited = project / "notebooks/edited.ipynb"
    edited.write_text(text.replace("days=730", "days=1460"), encoding="utf-8")
    run(".venv/bin/jupyter", "execute", "--inplace", edited, cwd=project)
    edited.rename(target)


def copy_project(source: Path, target: Path) -> None:
    """Copy a project; link the files of its .venv, because installers replace files and edit none."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    shutil.copytree(source / ".venv", target / ".venv", symlinks=True, copy_function=link_or_copy)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """Return the folder of the project that the pages share."""
    return tmp_path_factory.mktemp("pages") / "project"


@pytest.fixture
def folder_with_engine(engine, local_base, mountable, environment) -> Path:
    """Return an empty folder that the engine can mount; images of projects in it need no registry."""
    if base := local_base():
        environment["IMAGE_FLAGS"] = f"--build-arg PYTHON_IMAGE={base}"
    folder = mountable / "projects"
    folder.mkdir()
    yield folder
    names = ["bird-songs:runtime", "chants-d-oiseaux:runtime"]
    subprocess.run([engine, "image", "rm", *names], check=False, capture_output=True)
    shutil.rmtree(folder)


@pytest.fixture
def empty_folder(engine, local_base, mountable, environment) -> Path:
    """Return a folder that the engine can mount.

    Where the base image comes from no registry, `docker build` finds in its place the one at hand, and
    the certificates and settings of this machine's package index.
    """
    folder = mountable / "empty"
    folder.mkdir()
    if base := local_base():
        stand_in = folder.parent / "stand-in"
        stand_in.mkdir(exist_ok=True)
        certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        shutil.copy(certificates, stand_in / "ca.pem")
        (stand_in / "Dockerfile").write_text(
            f"FROM {base}\nCOPY ca.pem /ca.pem\nENV PIP_CERT=/ca.pem SSL_CERT_FILE=/ca.pem\n"
        )
        run(engine, "build", "--quiet", "--tag", STAND_IN, stand_in)
        # Only the line FROM of a recipe changes, on its way to the engine.
        program = folder.parent / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text(BUILD_ON_STAND_IN.format(engine=shutil.which(engine), base=STAND_IN))
        program.chmod(0o755)
        environment["PATH"] = f"{program.parent}{os.pathsep}{environment['PATH']}"
    yield folder
    names = [STAND_IN, "guide", "guide:wrong", "guide:right"]
    subprocess.run([engine, "image", "rm", *names], check=False, capture_output=True)
    for left in (folder, folder.parent / "stand-in", folder.parent / "bin"):
        shutil.rmtree(left, ignore_errors=True)


@pytest.fixture
def project_with_engine(engine, local_base, mountable, set_up, environment) -> Path:
    """Return a project in a folder that the engine can mount; its image needs no registry."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        environment["PORT"] = str(free.getsockname()[1])
    if base := local_base():
        environment["IMAGE_FLAGS"] = f"--build-arg PYTHON_IMAGE={base}"
    project = set_up(mountable / "project")
    yield project
    subprocess.run([engine, "compose", "down"], cwd=project, check=False, capture_output=True)

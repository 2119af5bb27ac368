"""Machines and small indexes for the tests of locks."""

import os
from pathlib import Path

import pytest

from tests.render.lock_projects import BASE_PYTHON, Project
from tests.render.private_index import Index, PrivateIndex, serve
from tests.support import BIN


@pytest.fixture(scope="session")
def index():
    """The host and port of an index that anybody may read."""
    with serve(Index) as address:
        yield address


@pytest.fixture(scope="session")
def private_index():
    """The host and port of an index that asks for a password."""
    with serve(PrivateIndex) as address:
        yield address


@pytest.fixture(scope="session")
def caches(clean_environment) -> dict[str, str]:
    """The caches of this machine, for a test that downloads much."""
    return {name: os.environ[name] for name in ("PIP_CACHE_DIR", "UV_CACHE_DIR")}


@pytest.fixture
def machine(caches, tmp_path, monkeypatch) -> Path:
    """A HOME without any setting of pip or uv, and with caches of its own."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # A launcher like pyenv's, asked for each Python that it could start, would take seconds.
    monkeypatch.setenv("PATH", f"{BASE_PYTHON.parent}:{BIN}:{os.environ['PATH']}")
    return home


@pytest.fixture(params=["requirements", "uv"])
def project(request, tmp_path, machine, index, monkeypatch) -> Project:
    """A project of either kind that needs tiny-a and, for development, tiny-b; not locked yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    url = f"http://{index}/simple/"
    if request.param == "requirements":
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    project = Project(folder, request.param, url)
    project.ask("tiny-a", dev=("tiny-b",))
    return project


@pytest.fixture
def locked(project) -> Project:
    """The project, locked with the older versions; newer ones are there and allowed."""
    project.ask("tiny-a==1.0", dev=("tiny-b==1.0",))
    project.run("lock")
    project.ask("tiny-a", dev=("tiny-b",))
    project.run("lock")
    return project

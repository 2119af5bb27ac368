"""What the tests of the hook share."""

import json
import os
import shutil

import pytest

from tests.hooks.generated_repository import Repository
from tests.hooks.notebook_project import Project, create
from tests.support import NOTEBOOK, run


@pytest.fixture
def project(tmp_path) -> Project:
    return create(tmp_path / "project")


@pytest.fixture
def bare_environment(tmp_path) -> dict[str, str]:
    """What a graphical program has: neither the PATH nor the variables of a terminal."""
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    (home / ".cache/pre-commit").symlink_to(os.environ["PRE_COMMIT_HOME"])
    (home / ".cache/prek").symlink_to(os.environ["PREK_HOME"])
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    return {"PATH": "/usr/bin:/bin", "HOME": str(home)}


@pytest.fixture(scope="module")
def original(hooks, projects):
    """A generated project that is set up."""
    return projects("minimal")


@pytest.fixture(scope="module")
def executed(original, tmp_path_factory) -> dict:
    """The notebook of the project, run by the project's own Jupyter."""
    copy = tmp_path_factory.mktemp("executed") / "quickstart.ipynb"
    shutil.copy(original / NOTEBOOK, copy)
    run(original / ".venv/bin/jupyter", "execute", "--inplace", copy)
    return json.loads(copy.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def prepared(original, hooks, executed, tmp_path_factory) -> Repository:
    """The project with its hooks, of pre-commit or of prek, and with the environment of `original`."""
    folder = tmp_path_factory.mktemp("prepared") / "project"
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    repository = Repository(folder, hooks, original / ".venv", executed)
    repository.enter()
    repository.install("--force")
    return repository


@pytest.fixture
def repository(prepared, tmp_path) -> Repository:
    """A copy of the prepared project, for one test."""
    return prepared.copy(tmp_path / "project")

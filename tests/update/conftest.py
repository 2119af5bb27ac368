"""Versions of the template after v1.0.0, and fresh projects of each."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support import BIN
from tests.update.template_versions import commit, copy, release_later_versions

# Sets of answers under which all is tried.
ANSWERS = {
    "default": {},
    "others": {
        "project_name": "Bird songs of the Łódź",
        "description": 'It\'s 100 % "mine" & yours: é',
        "author_email": "ada@example.org",
        "license": "Apache-2.0",
        "python_version": "3.11",
        "stack": "minimal",
        "ci": "gitlab",
    },
}


@pytest.fixture(scope="session")
def versions(template, tmp_path_factory) -> Path:
    """A template whose later versions change, add, rename and delete files of either owner."""
    versions = tmp_path_factory.mktemp("versions") / "template"
    shutil.copytree(template, versions)
    release_later_versions(versions)
    return versions


@pytest.fixture(scope="session")
def fresh(versions, tmp_path_factory):
    """Fresh projects by version and set of answers. Tests work on copies of them."""
    made = {}

    def fresh(version: str, answers: str = "default") -> Path:
        if (version, answers) not in made:
            folder = tmp_path_factory.mktemp("fresh") / "project"
            made[version, answers] = copy(versions, folder, version, **ANSWERS[answers])
        return made[version, answers]

    return fresh


@pytest.fixture
def project(fresh, tmp_path):
    """A project of v1.0.0 to work on."""

    def project(answers: str = "default") -> Path:
        return Path(shutil.copytree(fresh("v1.0.0", answers), tmp_path / "project", symlinks=True))

    return project


@pytest.fixture
def committed(project) -> Path:
    """A project of v1.0.0 with one commit."""
    folder = project()
    commit(folder)
    return folder


@pytest.fixture(scope="session")
def computer(tmp_path_factory):
    """An environment with all programs of this one, but with copier and uv only where asked for."""

    def computer(*wanted: str) -> dict[str, str]:
        programs = {name: BIN / name for name in (*wanted, "python3")}
        for folder in os.environ["PATH"].split(os.pathsep):
            for program in Path(folder).glob("*"):
                if program.name not in ("copier", "uv", "uvx"):
                    programs.setdefault(program.name, program)
        folder = tmp_path_factory.mktemp("programs")
        for name, program in programs.items():
            (folder / name).symlink_to(program)
        return os.environ | {"PATH": str(folder)}

    return computer

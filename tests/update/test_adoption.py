"""A repository of an older kind takes the template over, and loses nothing of its own."""

import json
import re

import pytest

from tests.support import git, run
from tests.update.template_versions import ANSWERS, NEWEST, USERS, below, check, commit, contents

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": 7,
            "metadata": {},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["42\n"]}],
            "source": ["print(42)"],
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 4,
}
OLD_FILES = {
    "README.md": "# Owls\n\nOur own words.\n",
    "LICENSE": "Ours.\n",
    "requirements.in": "six\n",
    "requirements.txt": "#\n# pip-compile requirements.in\n#\nsix==1.16.0\n    # via -r requirements.in\n",
    "requirements-dev.in": "pytest\n",
    "requirements-gpu.txt": "six==1.16.0\n",
    "pyproject.toml": '[project]\nname = "owls"\nversion = "3.0"\nrequires-python = ">=3.11"\n',
    "notebooks/owls.ipynb": json.dumps(NOTEBOOK),
    "notebooks/quickstart.ipynb": json.dumps(NOTEBOOK, indent=4),
    "src/owls/__init__.py": '"""Owls."""\n',
    "src/owls/__main__.py": "print('hoo')\n",
    "src/hoot.py": "HOOT = 'hoo'\n",
    "tests/test_owls.py": "def test_owls():\n    pass\n",
    "data/owls.csv": "owl;hoo\n",
    "docker-compose.yml": "services: {}\n",
    "Dockerfile": "FROM python:3.9\nCOPY . .\n",
    "Makefile": "hoot: ## Hoot\n\t@echo hoo\n",
    ".gitignore": "*.log\n/results/\n",
    ".pre-commit-config.yaml": "repos: []\n",
    ".github/workflows/ci.yml": "on: push\njobs: {}\n",
    ".github/workflows/release.yml": "on: push\njobs: {}\n",
}


@pytest.fixture
def old(tmp_path):
    old = tmp_path / "owls"
    for path, text in OLD_FILES.items():
        (old / path).parent.mkdir(parents=True, exist_ok=True)
        (old / path).write_text(text)
    commit(old)
    return old


def adopt(old, versions) -> None:
    """Do what docs/how-to/adopt-an-existing-repository.md says."""
    git(old, "mv", "Dockerfile", "Dockerfile.old")
    git(old, "mv", "Makefile", "project.mk")
    git(old, "commit", "--quiet", "--message", "Make room")
    options = ["--defaults", "--overwrite", "--vcs-ref", "v1.0.0", "--data", "project_name=Owls"]
    run(*NEWEST, "copy", *options, versions, ".", cwd=old)
    (old / ".gitignore").write_text((old / ".gitignore").read_text() + OLD_FILES[".gitignore"])


def test_adoption_takes_nothing_away(old, versions):
    adopt(old, versions)
    moved = {"Dockerfile": "Dockerfile.old", "Makefile": "project.mk"}
    replaced = set()
    for path, text in OLD_FILES.items():
        if (old / moved.get(path, path)).read_text() != text:
            replaced.add(path)
    # These are the template's, they are in the last commit, and git shows them.
    assert replaced == {".gitignore", ".pre-commit-config.yaml", ".github/workflows/ci.yml"}
    assert set(git(old, "diff", "--name-only").split()) == replaced
    assert (old / ".gitignore").read_text().endswith(OLD_FILES[".gitignore"])
    assert "make hoot" in run("make", cwd=old).stdout


def test_an_adopted_repository_gets_updates(old, versions, fresh, tmp_path):
    adopt(old, versions)
    commit(old)
    was = contents(old)
    run(*NEWEST, "update", "--defaults", cwd=old)
    renders = []
    for version in ("v1.0.0", "v2.0.0"):
        answers = ["--defaults", "--data", "project_name=Owls", "--vcs-ref", version]
        run(*NEWEST, "copy", *answers, versions, tmp_path / version)
        renders.append(tmp_path / version)
    check(old, was, *renders, {".gitignore": below(OLD_FILES[".gitignore"])})


def test_an_adopted_repository_locks_its_own_packages(old, versions):
    adopt(old, versions)
    for path in ("pyproject.toml", "notebooks/quickstart.ipynb", "notebooks/owls.ipynb"):
        assert (old / path).read_text() == OLD_FILES[path]
    # A lock of pip-compile has no hashes yet. The first command brings uv, which then adds them.
    assert "hash" in run("make", "setup", cwd=old, fails=True).stderr
    run("make", "lock", "setup", cwd=old)
    lock = (old / "requirements.txt").read_text()
    assert "six==1.16.0 \\\n    --hash=sha256:" in lock
    assert run(old / ".venv/bin/python", "-c", "import six; print(six.__version__)").stdout == (
        "1.16.0\n"
    )


def test_an_adopted_repository_passes_with_settings_of_its_own(old, versions, fresh):
    adopt(old, versions)
    for example in ("tests/test_seasons.py", "src/owls/seasons.py"):
        (old / example).unlink()
    settings = OLD_FILES["pyproject.toml"] + 'description = "Owls"\n'
    for table in ("build-system", "tool.pytest.ini_options"):
        text = (fresh("v1.0.0") / "pyproject.toml").read_text()
        settings += re.search(rf"^\[{re.escape(table)}](.|\n)*?(?=^\[)", text, re.MULTILINE)[0]
    settings += '[tool.flit.module]\nname = "owls"\n[tool.ruff]\nline-length = 79\n'
    (old / "pyproject.toml").write_text(settings)
    (old / "tests/test_owls.py").write_text("import owls\n\n\ndef test_owls():\n    assert owls\n")
    run("make", "setup", cwd=old, fails=True)
    run("make", "lock", "setup", cwd=old)
    commit(old)
    run("make", "lint", cwd=old, fails=True)
    # It has cleaned the notebooks, and leaves the template's programs as they are.
    assert {path.split("/")[0] for path in git(old, "diff", "--name-only").split()} <= {
        "notebooks",
        ".github",
        "src",
    }
    run("make", "lint", "test", cwd=old)


@pytest.mark.parametrize("command", ["copy", "recopy"])
def test_copying_again_leaves_the_users_files_alone(project, versions, command):
    project = project()
    for path in filter(USERS.match_file, contents(project)):
        (project / path).write_text("mine\n")
    was = contents(project)
    source = [versions, "."] if command == "copy" else []
    run(*NEWEST, command, "--force", "--vcs-ref", "v1.1.0", *source, cwd=project)
    now = contents(project)
    assert {p: now[p] for p in was if USERS.match_file(p)} == {
        p: was[p] for p in was if USERS.match_file(p)
    }
    assert "_commit: v1.1.0" in (project / ANSWERS).read_text()

"""Seven kinds of repositories adopt the template by the page, to the letter, and end green."""

import json
import re
from pathlib import Path

import pytest

from tests.support import ROOT, git, run, some_slow
from tests.update.template_versions import commit

PAGE = (ROOT / "docs/how-to/adopt-an-existing-repository.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)
COPY = "copier copy --overwrite --data package_name=owls gh:pinbook/pinbook ."
SCRIPT = "import os\nimport six\nfrom os import *\n\ndef hoot() :\n    return six.text_type('hoo')\n\nl = hoot()\n"
TEST = "import owls\n\ndef test_owls():\n    assert owls.hoot() == 'hoo'\n"


def notebook(kernel: str, **metadata: str) -> str:
    cell = {
        "cell_type": "code",
        "execution_count": 7,
        "metadata": metadata,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["hoo\n"]}],
        "source": ["import six\n", "print( six.text_type('hoo') )"],
    }
    kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    return json.dumps(
        {
            "cells": [cell],
            "metadata": {"kernelspec": kernelspec},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
    )


POETRY = """[tool.poetry]
name = "owls"
version = "1.0.0"
description = "Owls"
authors = ["Ada <ada@example.org>"]

[tool.poetry.dependencies]
python = "^3.9"
six = "^1.16"

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""
SIX = "echo six > requirements.in"
KINDS = {
    "only requirements.txt": ({"requirements.txt": "six==1.16.0\n", "train.py": SCRIPT}, ":"),
    "own tools": (
        {
            "requirements.in": "six\n",
            "requirements.txt": "six==1.16.0\n    # via -r requirements.in\n",
            "dev-requirements.in": "-c requirements.txt\npytest\nidna\n",
            "dev-requirements.txt": "idna==3.7\npytest==8.0.0\n",
            "src/owls/__init__.py": SCRIPT,
            "tests/test_owls.py": TEST,
        },
        "echo idna >> dev-requirements.in",
    ),
    "conda": (
        {
            "environment.yml": "name: wa31\ndependencies:\n  - python=3.9\n  - six=1.16\n",
            "notebooks/owls.ipynb": notebook("wa31"),
            "models/net.py": SCRIPT,
        },
        SIX,
    ),
    "poetry": (
        {
            "pyproject.toml": POETRY,
            "owls/__init__.py": SCRIPT,
            "tests/test_owls.py": TEST,
            "Makefile": "hoot: ## Hoot\n\t@echo hoo\n",
        },
        SIX,
    ),
    "flat scripts": ({"train.py": SCRIPT, "data/owls.csv": "owl\n", "Dockerfile": "FROM x\n"}, SIX),
    "flat package": (
        {
            "setup.py": "import setuptools\n\nsetuptools.setup()\n",
            "owls/__init__.py": SCRIPT,
            "owls/net.py": SCRIPT,
        },
        SIX,
    ),
    "Kaggle": (
        {
            "notebooks/kaggle.ipynb": notebook(
                "python3", _uuid="8f2839f25d086af736a60e9eeb907d3b93b6e0e5"
            ),
            "input/train.csv": "id,hoo\n1,2\n",
        },
        SIX,
    ),
}


@pytest.mark.parametrize(
    "kind", some_slow(KINDS, "only requirements.txt", "poetry", "flat scripts")
)
def test_the_page_ends_green(kind, template, computer, tmp_path):
    files, by_hand = KINDS[kind]
    project = tmp_path / "owls"
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    commit(project)
    environment = computer("copier")  # and no uv
    follow(project, by_hand, template, environment)

    assert git(project, "status", "--porcelain") == ""
    (locked,) = re.findall(r"^six==\S+", (project / "requirements.txt").read_text(), re.MULTILINE)
    if "requirements.txt" in files:
        assert locked == "six==1.16.0"
    ended = git(project, "ls-files", "--cached", "--ignored", "--exclude-standard")
    assert ended == "", "git does not see new files beside these"
    lost = lines_of(files.values()) - lines_of(
        (project / path).read_text() for path in git(project, "ls-files").splitlines()
    )
    assert not {line for line in lost if "hoot" not in line and "six" not in line}
    assert "tools/" not in run("make", "update", "DRIFT=1", cwd=project, env=environment).stdout


def lines_of(texts) -> set[str]:
    return {
        line.strip() for text in texts if not text.startswith("{") for line in text.splitlines()
    }


def follow(project: Path, by_hand: str, template: Path, environment: dict[str, str]) -> None:
    """Type the commands of the page, and do by hand what this kind of repository needs, and nothing else."""
    for block in BLOCKS:
        if COPY in block:
            answers = (
                "--defaults --vcs-ref v1.0.0 --data project_name=Owls --data license=Proprietary"
            )
            block = f"copier copy --overwrite --data package_name=owls {answers} {template} ."
        if block.startswith("make setup"):
            run("sh", "-ec", by_hand, cwd=project, env=environment)
        run("sh", "-ec", block, cwd=project, env=environment)

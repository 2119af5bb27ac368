"""Notebooks, and a git repository in which the notebook hook runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parents[2] / "template"
SCRIPT = TEMPLATE / "tools" / "nbclean.py"


def settings() -> str:
    """The table [tool.nbclean] that a generated project starts with."""
    pyproject = (TEMPLATE / "pyproject.toml.jinja").read_text(encoding="utf-8")
    return "[tool.nbclean]" + pyproject.split("[tool.nbclean]")[1].split("\n[")[0] + "\n"


def code(**changes) -> dict:
    """An executed code cell; a change to None takes the key away."""
    cell = {
        "cell_type": "code",
        "execution_count": 7,
        "id": "c0de",
        "metadata": {},
        "outputs": [{"name": "stdout", "output_type": "stream", "text": ["42\n"]}],
        "source": ["print(42)"],
    }
    return {key: value for key, value in (cell | changes).items() if value is not None}


def notebook(*cells: dict, **changes) -> dict:
    """A notebook of nbformat 4.5, with one executed cell if no cells are given.

    The later ones of several cells that code() has made get ids of their own.
    """
    made = [
        cell | {"id": f"c0de{number}"} if number and cell.get("id") == "c0de" else cell
        for number, cell in enumerate(cells or [code()])
        if isinstance(cell, dict)
    ]
    whole = {
        "cells": made if len(made) == len(cells or [0]) else list(cells),
        "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def as_jupyter(content: object) -> bytes:
    """The bytes that Jupyter would save."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


class Project:
    """A git repository in which the hook can run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str, code: int | None = 0) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, check=False, capture_output=True, encoding="utf-8"
        )
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done.stdout

    def nbclean(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(self.folder / "tools" / "nbclean.py"), *arguments],
            check=False,
            **{"cwd": self.folder, "capture_output": True, "encoding": "utf-8"} | options,
        )

    def write(self, name: str, content: object) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else as_jupyter(content))
        return path

    def copies(self, name: str) -> list[bytes]:
        folder = self.folder / self.git("rev-parse", "--git-path", "nbclean").strip() / name
        return [copy.read_bytes() for copy in sorted(folder.glob("*.ipynb"))]


def create(folder: Path) -> Project:
    (folder / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "tools")
    (folder / "pyproject.toml").write_text(settings(), encoding="utf-8")
    project = Project(folder)
    project.git("init", "--quiet", "--initial-branch=main")
    return project

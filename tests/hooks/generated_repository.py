"""Generated projects in which people run notebooks and commit them, with pre-commit or with prek."""

import copy
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.hooks.notebook_project import Project
from tests.support import BIN, NOTEBOOK, run

CHECKED: dict[str, bool] = {}  # a commit has the same id, and the same content, in every copy


def managers() -> list:
    """Both programs that run the hooks, each in a process of its own; what they do is the same."""
    marks = {"pre-commit": [], "prek": [pytest.mark.slow]}
    return [
        pytest.param(name, marks=[pytest.mark.xdist_group(name), *more], id=name)
        for name, more in marks.items()
    ]


def text_cell(text: str) -> dict:
    name = re.sub(r"[^a-zA-Z0-9]", "-", text)[:64]
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": [text]}


def outputs(notebook: dict) -> list[dict]:
    """The cells that have an output or a count."""
    return [c for c in notebook["cells"] if c.get("outputs") or c.get("execution_count")]


def failed_hooks(printed: str) -> set[str]:
    return set(re.findall(r"Failed\n- hook id: (\S+)", re.sub("\x1b[^m]*m", "", printed)))


class Repository(Project):
    """A generated project with hooks, and its notebook as it was executed."""

    def __init__(self, folder: Path, manager: str, venv: Path, executed: dict) -> None:
        super().__init__(folder)
        self.manager, self.venv, self._executed = manager, venv, executed

    def at(self, folder: Path) -> "Repository":
        """The same in another folder, which is there already."""
        return Repository(folder, self.manager, self.venv, self._executed)

    def copy(self, folder: Path) -> "Repository":
        """The same with all its history and hooks, in a new folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return self.at(folder)

    def enter(self) -> None:
        """Use the environment that is there, and let git ignore the link to it."""
        (self.folder / ".venv").symlink_to(self.venv)
        exclude = self.git("rev-parse", "--path-format=absolute", "--git-path", "info/exclude")
        Path(exclude.strip()).write_text(".venv\n")

    def install(self, *options: str) -> str:
        """Install the hooks as the documentation says."""
        if self.manager == "prek":
            run(BIN / "prek", "install", *options, cwd=self.folder)
        return self.hooks()

    def hooks(self, **options) -> str:
        """Install the hooks as `make setup` does; return what is printed."""
        command = self.folder / ".venv/bin/python", "tools/packages.py", "hooks"
        done = run(*command, **{"cwd": self.folder} | options)
        return done.stdout + done.stderr

    def make(self, target: str, **options) -> str:
        done = run("make", target, cwd=self.folder, **options)
        return done.stdout + done.stderr

    def lint(self, **options) -> str:
        """Run the hooks on all files."""
        if self.manager == "pre-commit":
            return self.make("lint", **options)
        return run(BIN / "prek", "run", "--all-files", cwd=self.folder, **options).stdout

    def commit(self, *arguments: str, **options) -> str:
        """Commit what is staged; return all that is printed."""
        command = "git", "commit", "--message", "Change", *arguments
        done = run(*command, **{"cwd": self.folder} | options)
        return done.stdout + done.stderr

    def executed(self, *texts: str, first: str = "") -> dict:
        """The executed notebook, with cells of text added at its end and at its start."""
        notebook = copy.deepcopy(self._executed)
        start = [text_cell(first)] if first else []
        notebook["cells"] = [*start, *notebook["cells"], *map(text_cell, texts)]
        return notebook

    def in_commit(self, name: str = NOTEBOOK, revision: str = "HEAD") -> dict:
        return json.loads(self.git("show", f"{revision}:{name}"))

    def on_screen(self, name: str = NOTEBOOK) -> dict:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def status(self) -> str:
        return self.git("status", "--porcelain")

    def commits_with_outputs(self) -> list[str]:
        """The commits of all branches that hold an output."""
        revisions = self.git("rev-list", "--branches").split()
        for revision in [each for each in revisions if each not in CHECKED]:
            names = self.git("ls-tree", "-rz", "--name-only", revision).split("\0")
            notebooks = [name for name in names if name.lower().endswith(".ipynb")]
            CHECKED[revision] = any(outputs(self.in_commit(n, revision)) for n in notebooks)
        return [revision for revision in revisions if CHECKED[revision]]

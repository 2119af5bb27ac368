"""Later versions of the template, edits in a project, and what an update must leave of both."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pathspec
import yaml

from tests.support import BIN, ROOT, git, run

SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
USERS = pathspec.GitIgnoreSpec.from_lines(SETTINGS["_skip_if_exists"])
ANSWERS = ".copier-answers.yml"
MARKER = b"<<<<<<< before updating"
YOURS = "Yours below this line"
NEWEST = [BIN / "copier"]
OLDEST = [
    *(BIN / "uv", "tool", "run", "--quiet"),
    *("--from", f"copier=={SETTINGS['_min_copier_version']}", "copier"),
]


# Versions of the template.


def release(template: Path, version: str) -> None:
    """Commit what has been changed, and tag it."""
    git(template, "add", "--all", ".")
    git(template, "commit", "--quiet", "--message", f"Release {version}")
    git(template, "tag", version)


def sources(template: Path) -> dict[str, Path]:
    """The files of the template by the path that they have in a project.

    Of a program that each kind of lock has in its own way, this is the one of the default kind.
    """
    found: dict[str, Path] = {}
    for source in sorted((template / "template").rglob("*")):
        if source.is_file():
            path = source.relative_to(template / "template").as_posix().removesuffix(".jinja")
            path = re.sub(r"{% if .+? %}(.+?){% endif %}", r"\1", path)
            path = path.replace("{{ _copier_conf.answers_file }}", ANSWERS)
            found.setdefault(path, source)
    return found


def stamp_every_file(template: Path, version: str) -> None:
    """Change each file near its top and at its end, the template's own so that they still work."""
    for path, source in sources(template).items():
        lines = re.sub(r"# stamped by .*\n", "", source.read_text(encoding="utf-8")).splitlines()
        stamp = f"# stamped by {version}"
        if path.endswith(".json"):
            stamp = f'  "stamped": "# stamped by {version}",'
        sentinels = [number for number, line in enumerate(lines) if YOURS in line]
        lines.insert(
            sentinels[0] if sentinels else 1 if path.endswith(".json") else len(lines), stamp
        )
        if not path.endswith(".json"):
            lines.insert(1, stamp)
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")


def add_files(template: Path) -> None:
    (template / "template/tools/later.py").write_text('print("later")\n')
    (template / "template/tools/short-lived.txt").write_text("soon gone\n")
    (template / "template/notebooks/another.ipynb").write_text('{"cells": []}\n')
    (template / "template/tests/test_more.py").write_text("def test(): ...\n")


def rename_and_delete_files(template: Path) -> None:
    """Rename a file of the template's, and delete one; do the same to all files of the user's."""
    (template / "template/tools/later.py").rename(template / "template/tools/renamed.py")
    (template / "template/tools/short-lived.txt").unlink()
    for number, (path, source) in enumerate(sorted(sources(template).items())):
        if USERS.match_file(path):
            if number % 2:
                source.rename(source.with_name(f"renamed-{source.name}"))
            else:
                source.unlink()


def release_later_versions(template: Path) -> None:
    """Release v1.1.0, v1.2.0 and v2.0.0, which change, add, rename and delete files."""
    stamp_every_file(template, "v1.1.0")
    add_files(template)
    release(template, "v1.1.0")
    stamp_every_file(template, "v1.2.0")
    release(template, "v1.2.0")
    rename_and_delete_files(template)
    stamp_every_file(template, "v2.0.0")
    release(template, "v2.0.0")


# Projects.


def copy(template: Path, folder: Path, version: str, **answers: str) -> Path:
    """A project of one version of the template, made by the command line."""
    data = [f"--data={name}={value}" for name, value in answers.items()]
    run(*NEWEST, "copy", "--quiet", "--defaults", "--vcs-ref", version, *data, template, folder)
    return folder


def commit(project: Path, message: str = "Work") -> None:
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all", ".")
    git(project, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)


def contents(folder: Path) -> dict[str, tuple]:
    """Each file of a folder outside .git and .venv, by its path: its kind, its mode, its bytes."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".git", ".venv", "__pycache__")]
        for name in names:
            file = Path(parent, name)
            executable = os.access(file, os.X_OK)
            content = os.fsencode(os.readlink(file)) if file.is_symlink() else file.read_bytes()
            found[file.relative_to(folder).as_posix()] = (file.is_symlink(), executable, content)
    return found


# What people do to the template's files.


def before(anchor: str, added: str) -> Callable[[str], str]:
    """An edit that puts text before a line which is there once."""

    def edit(text: str) -> str:
        assert text.count(anchor) == 1, f"{anchor!r} is not there once:\n{text}"
        return text.replace(anchor, added + anchor)

    return edit


def below(added: str) -> Callable[[str], str]:
    return lambda text: text + added


TYPICAL_EDITS = {
    ".gitignore": below("scratch/\n*.tmp\n"),
    ".gitattributes": below("*.psd binary\n"),
    ".pre-commit-config.yaml": below(
        "      - id: mine\n        name: mine\n        language: system\n        entry: 'true'\n"
        "  - repo: local\n    hooks:\n      - {id: own, name: own, language: system, entry: 'true'}\n"
    ),
    # Jobs of a person's own stand in files of their own.
    ".github/workflows/ci.yml": lambda text: text.replace(
        "timeout-minutes: 30", "timeout-minutes: 60"
    ),
    ".gitlab-ci.yml": lambda text: text.replace("timeout: 30 minutes", "timeout: 60 minutes"),
    "Makefile": before("-include project.mk\n", "# Mine are in project.mk.\n"),
}


def edit_the_templates(project: Path, edits: dict[str, Callable[[str], str]]) -> None:
    for path, edit in edits.items():
        if (project / path).exists():
            (project / path).write_text(edit((project / path).read_text(encoding="utf-8")))


def work(project: Path) -> None:
    """Edit the user's files as people do, and add others of every kind."""
    with (project / "README.md").open("a") as file:
        file.write("\nMore about this project.\n")
    (project / "requirements.in").write_text("numpy\nsix\n")
    lock = (project / "requirements.txt").read_text(encoding="utf-8")
    (project / "requirements.txt").write_text(lock + "six==1.17.0 \\\n    --hash=sha256:0\n")
    (project / "dev-requirements.in").unlink()
    notebook = json.loads((project / "notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            result = {"output_type": "stream", "name": "stdout", "text": ["42\n"]}
            cell |= {"outputs": [result], "execution_count": 1}
    (project / "notebooks/quickstart.ipynb").write_text(json.dumps(notebook, indent=2))
    shutil.copy(project / "notebooks/quickstart.ipynb", project / "notebooks/mine.ipynb")
    for test in (project / "tests").glob("test_*.py"):
        test.unlink()
    (project / "tests/test_mine.py").write_text("def test_mine():\n    pass\n")
    (project / "project.mk").write_text("mine: ## My own\n\t@echo mine\n")
    (project / "compose.override.yaml").write_text("services: {}\n")
    (project / "latin.csv").write_bytes("Käse;1\r\n".encode("latin-1"))
    (project / "a name with blanks é.txt").write_bytes(b"no newline at the end")
    (project / "picture.png").write_bytes(bytes(range(256)))
    (project / "run-all").write_text("#!/bin/sh\n")
    (project / "run-all").chmod(0o755)
    (project / "link").symlink_to("README.md")
    (project / "docker/mine.sh").parent.mkdir(exist_ok=True)
    (project / "docker/mine.sh").write_text("true\n")


# What an update must leave.


def check(project: Path, was: dict[str, tuple], old: Path, new: Path, edits=None) -> None:
    """Compare a project with what it was, and with fresh projects of the old and the new version.

    ``edits`` are what the person did to the template's files; they must still be there.
    """
    edits = edits or {}
    assert git(project, "ls-files", "--unmerged") == ""
    now = contents(project)
    for path, (_, _, content) in now.items():
        assert not path.endswith(".rej"), f"{path} is left"
        assert not content.startswith(MARKER) and b"\n" + MARKER not in content, path

    templates = {path for path in contents(old) if not USERS.match_file(path)}
    renewed = {path for path in contents(new) if not USERS.match_file(path)}
    users_now = {path: value for path, value in now.items() if path not in templates | renewed}
    users_was = {path: value for path, value in was.items() if path not in templates | renewed}
    assert users_now == users_was, sorted(
        path for path in users_now.keys() | users_was if users_now.get(path) != users_was.get(path)
    )
    for path in renewed:
        expected = (new / path).read_text(encoding="utf-8")
        if path in edits:
            expected = edits[path](expected)
        assert now[path][2] == expected.encode(), f"{path} is not what it should be"
    for path in templates - renewed:
        assert path not in now, f"{path} is left, but the template has it no more"

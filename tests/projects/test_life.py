"""The whole way of a project, of each kind, with nothing but the commands that a person types."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import BIN, NOTEBOOK, choices, commit_all, git, pins, run

# test_deep_learning.py has the stack whose torch not every machine can download.
STACKS = [stack for stack in choices("stack") if stack != "deep-learning"]
KINDS = {stack: [f"stack={stack}"] for stack in STACKS} | {
    "uv": ["stack=minimal", "dependency_manager=uv"]
}
MARKS = {kind: [pytest.mark.xdist_group(f"life-{kind}")] for kind in KINDS}
MARKS["minimal"].append(
    pytest.mark.slow
)  # The others show the same of more packages, or of uv.lock.
ALL = [pytest.param(kind, marks=MARKS[kind]) for kind in KINDS]


@pytest.fixture(scope="module", params=ALL)
def project(request, template, tmp_path_factory) -> Path:
    """A project as the README makes it: copied by the command line, committed, set up."""
    folder = tmp_path_factory.mktemp("life") / "my-project"
    answers = [f"--data={answer}" for answer in KINDS[request.param]]
    run(BIN / "copier", "copy", "--defaults", *answers, template, folder)
    commit_all(folder)
    run("make", "setup", cwd=folder)
    return folder


def test_an_executed_notebook_is_committed_without_outputs(project):
    run(".venv/bin/jupyter", "execute", "--inplace", NOTEBOOK, cwd=project)
    assert outputs((project / NOTEBOOK).read_text())
    add_a_cell(project / NOTEBOOK, "See also the README.")

    first = run("git", "commit", "--all", "--message", "Run it", cwd=project, fails=True)
    assert NOTEBOOK in first.stdout + first.stderr
    assert git(project, "rev-list", "--count", "HEAD").strip() == "1"

    run("git", "commit", "--all", "--message", "Run it", cwd=project)
    committed = git(project, "show", f"HEAD:{NOTEBOOK}")
    assert not outputs(committed)
    assert "See also the README." in committed
    assert git(project, "status", "--porcelain") == ""


def test_the_tests_and_the_checks_of_a_new_project_pass(project):
    tests = run("make", "test", cwd=project)
    assert "4 passed" in tests.stdout
    run("make", "lint", cwd=project)


def test_the_package_answers_on_the_command_line(project):
    answer = run(".venv/bin/python", "-m", "my_ai_project", "--help", cwd=project)
    assert "yearly curve" in answer.stdout


@pytest.mark.parametrize(
    ("programs", "printed"),
    [
        (("python3", "python"), "python3 tools/packages.py install"),
        (("python",), "python tools/packages.py install"),
        (
            ("old python3", "uv"),
            "uv run --no-project --python 3.13 python tools/packages.py install",
        ),
        (("old python3", "python3.12"), "python3.12 tools/packages.py install"),
        (
            ("old python3",),
            "There is no Python 3.11 or newer: install it, or uv, which brings one.",
        ),
    ],
)
def test_setup_takes_the_python_that_is_there(render, programs, printed, tmp_path, monkeypatch):
    project = render(stack="minimal")
    for program in programs:
        name = program.removeprefix("old ")
        path = tmp_path / name
        path.write_text("#!/bin/sh\nexit 1\n" if name != program else "#!/bin/sh\n")
        path.chmod(0o755)
    (tmp_path / "make").symlink_to(shutil.which("make"))
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["make", "--dry-run", "setup"]
    result = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    assert printed in result.stdout + result.stderr


def test_a_new_project_has_nothing_to_lock(project):
    assert "All versions stay." in run("make", "lock", cwd=project).stdout
    assert git(project, "status", "--porcelain") == ""


def test_an_upgrade_may_have_a_limit(project):
    run("make", "upgrade", "PACKAGES=numpy<99 matplotlib>=3", cwd=project)
    assert "??" not in git(project, "status", "--porcelain"), "the shell took < or > for a file"
    git(project, "checkout", ".")


def test_a_package_that_is_not_locked_is_refused_until_it_is(project, tmp_path):
    copy = tmp_path / "copy"
    run("git", "clone", "--quiet", project, copy)
    run("make", "setup", cwd=copy)
    ask_for(copy, "tabulate")
    refused = run("git", "commit", "--all", "--message", "Print tables", cwd=copy, fails=True)
    assert "make lock" in refused.stdout + refused.stderr

    locked = run("make", "--jobs", "4", "lock", "setup", cwd=copy)
    assert re.search(r"^  tabulate +new +-> ", locked.stdout, re.MULTILINE)
    run(".venv/bin/python", "-c", "import tabulate", cwd=copy)
    run("git", "commit", "--all", "--message", "Print tables", cwd=copy)
    assert git(copy, "status", "--porcelain") == ""


@pytest.mark.parametrize("project", ALL[:-1], indirect=True)
def test_pip_alone_installs_the_lock(project, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = [tmp_path / "venv/bin/python", "-m", "pip"]
    run(*pip, "install", "--require-hashes", "-r", project / "requirements.txt")
    installed = run(*pip, "freeze").stdout.splitlines()
    locked = pins((project / "requirements.txt").read_text())
    assert set(installed) <= locked
    assert len(installed) == len({pin.split("==")[0] for pin in locked})


@pytest.mark.parametrize("project", ALL[:-1], indirect=True)
def test_the_commands_of_pip_tools_work_on_the_same_files(project, tmp_path):
    copy = tmp_path / "copy"
    run("git", "clone", "--quiet", project, copy)
    options = ["--quiet", "--no-emit-index-url", "--no-emit-options"]
    for arguments in (
        ["requirements.in"],
        ["--constraint=requirements.txt", "dev-requirements.in"],
        ["--upgrade", "requirements.in"],
        ["--upgrade", "--constraint=requirements.txt", "dev-requirements.in"],
    ):
        run(BIN / "pip-compile", *options, *arguments, cwd=copy)
        for lock in ("requirements.txt", "dev-requirements.txt"):
            before = pins((project / lock).read_text())
            after = pins((copy / lock).read_text())
            assert after
            if "--upgrade" not in arguments:
                assert after <= before


def ask_for(project: Path, package: str) -> None:
    """Add a package where a person would."""
    if (project / "uv.lock").exists():
        pyproject = project / "pyproject.toml"
        text = pyproject.read_text()
        pyproject.write_text(
            text.replace("dependencies = [\n", f'dependencies = [\n    "{package}",\n')
        )
    else:
        with (project / "requirements.in").open("a") as file:
            file.write(f"{package}\n")


def add_a_cell(notebook: Path, text: str) -> None:
    content = json.loads(notebook.read_text())
    cell = {"cell_type": "markdown", "id": "more", "metadata": {}, "source": [text]}
    content["cells"].append(cell)
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def outputs(notebook: str) -> list:
    cells = json.loads(notebook)["cells"]
    return [c for c in cells if c.get("outputs") or c.get("execution_count")]

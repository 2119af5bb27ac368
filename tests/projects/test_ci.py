"""The checks of CI, taken from its files, fail where somebody has got past the hooks."""

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.hooks.leaks import made_up
from tests.support import NOTEBOOK, git, run

pytestmark = pytest.mark.xdist_group("ci")
SIX = """six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
"""


def append(name: str, text: str):
    def fault(project: Path) -> None:
        with (project / name).open("a") as file:
            file.write(text)

    return fault


def edit_notebook(source: str, output: bool = False):
    """Add a cell, with an output if it is to have one."""

    def fault(project: Path) -> None:
        notebook = json.loads((project / NOTEBOOK).read_text())
        shown = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}] if output else []
        cell = {"cell_type": "code", "id": "added", "metadata": {}, "source": [source]}
        notebook["cells"].append(cell | {"execution_count": None, "outputs": shown})
        (project / NOTEBOOK).write_text(json.dumps(notebook, indent=1) + "\n")

    return fault


# What somebody did, the step that fails, and a word of what it prints.
FAULTS = {
    "a dirty notebook": (edit_notebook("1", output=True), "make lint", NOTEBOOK),
    "a stale lock": (append("requirements.in", "tabulate\n"), "make setup", "make lock"),
    "an injected package": (append("requirements.txt", SIX), "make lint", "six"),
    "a failing test": (
        append("tests/test_seasons.py", "\n\ndef test_no():\n    assert not 1\n"),
        "make test",
        "test_no",
    ),
    "a leaked marker": (append("README.md", "<<<<<<< HEAD\n"), "make lint", "merge markers"),
    "a secret in a notebook": (
        edit_notebook(f"token = 'ghp_{made_up(36)}'"),
        "make lint",
        "secret",
    ),
}


def steps(folder: Path, job: str) -> list[str]:
    """The commands of a job, in their order, of either forge."""
    if (file := folder / ".gitlab-ci.yml").exists():
        return yaml.safe_load(file.read_text())[job]["script"]
    found = yaml.safe_load((folder / ".github/workflows/ci.yml").read_text())["jobs"][job]["steps"]
    return [step["run"] for step in found if "run" in step]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What a runner has, and nothing of this machine but its caches and certificates."""
    kept = ("HOME", "PATH", "UV_CACHE_DIR", "PIP_CACHE_DIR", "PRE_COMMIT_HOME", "SSL_CERT_FILE")
    indexes = ("PIP_", "UV_", "GIT_")
    return {"CI": "true"} | {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(indexes)
    }


@pytest.fixture(scope="module")
def project(projects, environment, tmp_path_factory) -> Path:
    """A fresh clone in which every step of the job has passed."""
    clone = tmp_path_factory.mktemp("ci") / "clone"
    run("git", "clone", "--quiet", projects("minimal"), clone)
    for step in steps(clone, "check"):
        run("bash", "-e", "-c", step, cwd=clone, env=environment)
    assert git(clone, "status", "--porcelain") == ""
    return clone


@pytest.mark.parametrize("fault", FAULTS)
def test_the_pipeline_fails(project, environment, fault):
    break_it, failing, word = FAULTS[fault]
    assert failing in steps(project, "check")
    try:
        break_it(project)
        git(project, "add", ".")
        result = run("bash", "-e", "-c", failing, cwd=project, env=environment, fails=True)
        assert word in result.stdout + result.stderr
    finally:
        git(project, "reset", "--quiet", "--hard")


def test_both_forges_run_the_same_commands(render):
    github, gitlab = render(), render(ci="gitlab")
    assert steps(github, "check") == steps(gitlab, "check")
    (build,) = [step for step in steps(github, "image") if step.startswith("make")]
    assert build in steps(gitlab, "build")


def test_doctor_tells_versions_and_no_secret(project, environment):
    secret = {"PIP_INDEX_URL": "https://ada:canary@example.org/simple", "GITHUB_TOKEN": "canary"}
    git(project, "remote", "set-url", "origin", "https://ada:canary@example.org/x")
    printed = run("make", "doctor", cwd=project, env=environment | secret).stdout
    for program in ("system", "python", "uv", "git", "engine"):
        assert f"\n{program}: " in f"\n{printed}"
    assert "make setup: has nothing to do" in printed
    assert "canary" not in printed and os.environ["HOME"] not in printed
    assert "example.org" not in printed
    (project / "requirements.txt").write_text("\n")
    printed = run("make", "doctor", cwd=project, env=environment | secret).stdout
    assert "make setup: would renew .venv\n" in printed
    git(project, "checkout", "requirements.txt")

"""What several test files do: run commands, use git, read locks and the questions."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
NOTEBOOK = "notebooks/quickstart.ipynb"
# The programs of tools/ that only one kind of lock needs.
HALVES = {
    kind: ROOT / f"template/{{% if dependency_manager == '{kind}' %}}tools{{% endif %}}"
    for kind in ("requirements", "uv")
}
# The programs of docker/ that only one of the base images needs.
DEBIAN, ALPINE = (
    ROOT / f"template/{{% if base_image == '{base}' %}}docker{{% endif %}}"
    for base in ("debian", "alpine")
)
# A folder for each kind of lock with the programs that a project of this kind has.
_programs = tempfile.TemporaryDirectory(prefix="pinbook-programs-")
PROGRAMS = {kind: Path(_programs.name, kind, "tools") for kind in HALVES}
for kind, half in HALVES.items():
    PROGRAMS[kind].mkdir(parents=True)
    for program in [*ROOT.glob("template/tools/*.py"), *half.glob("*.py")]:
        shutil.copy(program, PROGRAMS[kind])
# A folder with the torch for CPUs of Python 3.11, for machines that cannot reach PyTorch's index.
TORCH = Path(os.environ.get("PIP_FIND_LINKS", ROOT))
TORCH_IS_HERE = sys.version_info[:2] == (3, 11) and any(TORCH.glob("torch-*+cpu-cp311-*.whl"))
QUESTIONS = {
    name: question
    for name, question in yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8")).items()
    if not name.startswith("_")
}


def choices(question: str) -> list[str]:
    """The values that a question offers; copier.yml has them as a list, or with labels as a dict."""
    offered = QUESTIONS[question]["choices"]
    return list(offered.values()) if isinstance(offered, dict) else offered


def some_slow(values: Iterable[str], *quick: str) -> list:
    """Return parameters of a test, of which all but the quick ones are slow."""
    marks = {value: [] if value in quick else [pytest.mark.slow] for value in values}
    return [pytest.param(value, marks=marks[value], id=value) for value in values]


def run(*command, fails: bool = False, **options) -> subprocess.CompletedProcess:
    """Run a command that must succeed, or must fail, and return what it printed."""
    words = [str(word) for word in command]
    settings = {"capture_output": True, "encoding": "utf-8"} | options
    result = subprocess.run(words, check=False, **settings)
    assert (result.returncode != 0) == fails, (
        f"{words} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
    )
    return result


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return what it printed."""
    return run("git", "-C", folder, *arguments).stdout


def commit_all(folder: Path, message: str = "Start the project") -> None:
    """Make a folder a repository if it is none, and commit all that is in it."""
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", message)


def fill_wheels(project: Path) -> None:
    """Collect the packages of a project with torch for the CPU in wheels/, torch from its folder here."""
    lock = (project / "requirements.txt").read_text(encoding="utf-8")
    named = re.sub(r"(?m)^torch @ \S+/torch-([\d.]+)%2Bcpu-\S+", r"torch==\1+cpu", lock)
    (project / "wheels").mkdir()
    (project / "wheels/named.txt").write_text(named, encoding="utf-8")
    locks = ["-r", "wheels/named.txt", "-r", "dev-requirements.txt"]
    options = ["--quiet", "--require-hashes", "--no-deps", "--wheel-dir=wheels", *locks]
    run(sys.executable, "-m", "pip", "wheel", *options, cwd=project)
    (project / "wheels/named.txt").unlink()
    wheels = sorted((project / "wheels").glob("*.whl"))
    sums = [f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in wheels]
    (project / "wheels/SHA256SUMS").write_text("".join(sums))


def pins(lock: str) -> set[str]:
    """The ``name==version`` of every line of a lock."""
    return set(re.findall(r"^[\w.-]+==[^\s;]+", lock, re.MULTILINE))

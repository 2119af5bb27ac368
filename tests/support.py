"""What several test files do: run commands, use git, read locks and the questions."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
NOTEBOOK = "notebooks/quickstart.ipynb"
# The programs of tools/ that only one kind of lock needs.
PROGRAMS = {
    kind: ROOT / f"template/{{% if dependency_manager == '{kind}' %}}tools{{% endif %}}"
    for kind in ("requirements", "uv")
}
QUESTIONS = {
    name: question
    for name, question in yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8")).items()
    if not name.startswith("_")
}


def choices(question: str) -> list[str]:
    """The values that a question offers; copier.yml has them as a list, or with labels as a dict."""
    offered = QUESTIONS[question]["choices"]
    return list(offered.values()) if isinstance(offered, dict) else offered


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


def pins(lock: str) -> set[str]:
    """The ``name==version`` of every line of a lock."""
    return set(re.findall(r"^[\w.-]+==[^\s;]+", lock, re.MULTILINE))

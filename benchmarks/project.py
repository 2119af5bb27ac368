"""Time what a person waits for, from `copier copy` to a commit, on a new project.

Prints a Markdown table: the fastest and the median of several runs, in seconds. The first run of
`make setup` may fetch packages and is not counted, so the figures are those of a warm cache.

    .venv/bin/python -m benchmarks.project [--runs N] [--data NAME=VALUE ...]
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIER = Path(sys.executable).parent / "copier"
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="counted runs (default: 3)")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=VALUE", help="an answer of the project"
    )
    args = parser.parse_args()
    runs = args.runs

    times: dict[str, list[float]] = {}
    for number in range(runs + 1):
        print(f"run {number} of {runs}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            for step, seconds in life(Path(folder, "project"), args.data).items():
                if number:
                    times.setdefault(step, []).append(seconds)
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {runs} runs\n")
    print("| step | fastest (s) | median (s) |\n|---|---|---|")
    for step, seconds in times.items():
        print(f"| {step} | {min(seconds):.2f} | {statistics.median(seconds):.2f} |")


def life(project: Path, answers: list[str]) -> dict[str, float]:
    """Return the seconds that each step of a new project takes, with answers like ``ci=none``."""
    seconds = {"`copier copy --defaults`": timed(*copy(answers, project), cwd=ROOT)}
    for command in (
        ["git", "init", "--quiet"],
        ["git", "add", "."],
        ["git", "commit", "--quiet", "--message", "Start"],
    ):
        timed(*command, cwd=project)
    seconds["`make setup`"] = timed("make", "setup", cwd=project)
    seconds["`make setup` again, nothing to do"] = timed("make", "setup", cwd=project)
    notebook = project / "notebooks/quickstart.ipynb"
    notebook.write_text(
        notebook.read_text(encoding="utf-8").replace("your own", "YOUR OWN"), encoding="utf-8"
    )
    commit = ["git", "commit", "--all", "--quiet", "--message", "Change a word"]
    seconds["`git commit` of a clean notebook"] = timed(*commit, cwd=project)
    seconds["`make test`, notebook included"] = timed("make", "test", cwd=project)
    seconds["`make lint`"] = timed("make", "lint", cwd=project)
    python = project / ".venv/bin/python"
    seconds["the lock check alone"] = timed(python, "tools/packages.py", "check", cwd=project)
    seconds["`make lock`, nothing to do"] = timed("make", "lock", cwd=project)
    seconds["`make upgrade`"] = timed("make", "upgrade", cwd=project)
    return seconds


def copy(answers: list[str], project: Path) -> list[str | Path]:
    """Return the command that makes a project of this template, with answers like ``ci=none``."""
    data = [f"--data={answer}" for answer in answers]
    return [COPIER, "copy", "--quiet", "--defaults", "--vcs-ref=HEAD", *data, ROOT, project]


def timed(*command: str | Path, cwd: Path) -> float:
    """Run a command and return the seconds it took. Raises CalledProcessError if it fails."""
    program = shutil.which(str(command[0])) or str(command[0])
    start = time.perf_counter()
    subprocess.run(
        [program, *map(str, command[1:])],
        cwd=cwd,
        env=os.environ | IDENTITY,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

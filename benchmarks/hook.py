"""Measure the notebook hook beside plain nbstripout, and print a Markdown table.

Both run on the same notebooks in the same rounds, one after the other; each number is the median
of the rounds, and each ratio the median of the rounds' ratios. Run it with a Python that has
nbstripout, for example .venv/bin/python.
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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.hooks.notebook_project import Project, as_jupyter, code, create, notebook

BARE = {"outputs": [], "execution_count": None}
IMAGE = {"output_type": "display_data", "data": {"image/png": "iVBO" * 262_144}, "metadata": {}}
CELLS = [code(id=f"cell-{number}", source=[f"{number}\n"] * 5) for number in range(30)]
CLEAN = as_jupyter(notebook(*(cell | BARE for cell in CELLS)))
EXECUTED = as_jupyter(notebook(*CELLS))
LARGE = as_jupyter(notebook(CELLS[0] | {"outputs": [IMAGE]}, *CELLS[1:]))

NBCLEAN = f'"{sys.executable}" tools/nbclean.py'
# nbstripout does not say by its exit code that it has changed a file, so git has to.
NBSTRIPOUT = f'"{sys.executable}" -m nbstripout --keep-id'
HOOKS = {
    "nbclean": f"#!/bin/sh\n{NBCLEAN} n.ipynb\n",
    "nbstripout": f"#!/bin/sh\n{NBSTRIPOUT} n.ipynb && git diff --quiet\n",
    "none": "#!/bin/sh\n",
}


def shell(project: Project, command: str) -> float:
    """Run a command in the project and return the seconds it takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=project.folder, shell=True, check=False, capture_output=True)
    return time.perf_counter() - start


def alone(project: Project, tool: str, content: bytes, count: int) -> float:
    """The seconds one tool takes for a number of equal notebooks."""
    names = [f"n{number}.ipynb" for number in range(count)]
    for name in names:
        project.write(name, content)
    return shell(project, f"{tool} {' '.join(names)}")


def commit(project: Project, tool: str, content: bytes) -> float:
    """The seconds of `git add` and `git commit`, again where the hook has cleaned."""
    project.git("reset", "--quiet", "--hard", "start")
    hook = project.folder / ".git" / "hooks" / "pre-commit"
    hook.write_text(HOOKS[tool])
    hook.chmod(0o755)
    project.write("n.ipynb", content.replace(b"29\\n", b"edited\\n"))
    once = "git add -u && git commit -qm x"
    return shell(project, f"{once} || ({once})")


def row(what: str, measure, tools: tuple[str, ...], rounds: int) -> str:
    """One line of the table: seconds of each tool, and the ratios to the first."""
    times = [[measure(tool) for tool in tools] for _ in range(rounds)]
    cells = [what]
    for column in range(3):
        if column >= len(tools):
            cells.append("")
            continue
        milliseconds = 1000 * statistics.median(times[n][column] for n in range(rounds))
        ratio = statistics.median(times[n][column] / times[n][0] for n in range(rounds))
        cells.append(f"{milliseconds:.0f} ms ({ratio:.1f})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the conditions and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    options = parser.parse_args()
    try:
        nbstripout = version("nbstripout")
    except PackageNotFoundError:
        sys.exit(f"{sys.executable} has no nbstripout; try .venv/bin/python -m benchmarks.hook")
    print(
        f"nbstripout {nbstripout}, Python {platform.python_version()}, "
        f"{subprocess.check_output(['git', 'version'], text=True).strip()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, median of {options.rounds} rounds. "
        "Notebooks have 30 cells; a large one has an image of 1 MB. In brackets: the ratio to "
        "nbclean.\n"
    )
    print("| | nbclean | nbstripout --keep-id | no hook |")
    print("|---|---|---|---|")
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for role in "AUTHOR", "COMMITTER":
        os.environ |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    folder = Path(tempfile.mkdtemp())
    try:
        project = create(folder / "project")
        contents = {"clean": CLEAN, "executed": EXECUTED, "executed, large": LARGE}
        for state, content in contents.items():
            for count in 1, 100:
                what = f"{count} notebook{'s' * (count > 1)}, {state}"
                print(
                    row(
                        what,
                        lambda tool, content=content, count=count: alone(
                            project, tool, content, count
                        ),
                        (NBCLEAN, NBSTRIPOUT),
                        options.rounds,
                    ),
                    flush=True,
                )
        project = create(folder / "commits")
        project.write("n.ipynb", CLEAN)
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Start")
        project.git("tag", "start")
        for state, content in contents.items():
            what = f"`git commit` until it is done, 1 notebook, {state}"
            print(
                row(
                    what,
                    lambda tool, content=content: commit(project, tool, content),
                    ("nbclean", "nbstripout", "none"),
                    options.rounds,
                ),
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

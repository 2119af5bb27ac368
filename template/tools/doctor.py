"""Print what a project needs, where it lies and what is out of date, to paste into an issue.

    python tools/doctor.py

No variable, address or name of a person is printed; the home folder is ~. Exit code: 0, because what is
missing is part of the answer.
"""

import os
import platform
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # Python leaves it out if PYTHONSAFEPATH is set.
from machine import VENV_PYTHON, find_uv, output
from packages import STATE, state
from project import read
from verify import ENGINE

# These answers are choices, never a text about a project or a person.
ANSWERS = "_commit|python_version|stack|accelerator|dependency_manager|base_image|ci|cluster"
FORMAT = "client {{.Client.Version}}{{with .Server}}, server {{.Version}}{{end}}"


def answer(*command: str) -> str:
    """Return what a command prints, and where it lies."""
    place = shutil.which(command[0])
    return f"{output(*command) or 'does not answer'} ({place})" if place else "none"


def main() -> None:
    os.chdir(Path(__file__).resolve().parent.parent)
    hook = output("git", "rev-parse", "--git-path", "hooks/pre-commit")
    done = {".venv": read(STATE) == state(), "the git hook": Path(hook).is_file()}
    old = " and ".join(one for one in done if not done[one])
    answers = re.findall(rf"(?m)^((?:{ANSWERS}): .*)", read(".copier-answers.yml"))
    found = {
        "system": platform.platform(),
        "project": ", ".join(answers),
        "python": f"{platform.python_version()} ({sys.executable})",
        ".venv": answer(str(VENV_PYTHON), "--version"),
        "uv": answer(find_uv() or "uv", "--version"),
        "git": answer("git", "--version"),
        "engine": answer(*ENGINE, "version", "--format", FORMAT),
        "builder": answer(*ENGINE, "buildx", "version"),
        "make setup": f"would renew {old}" if old else "has nothing to do",
    }
    text = "\n".join(f"{name}: {what}" for name, what in found.items())
    print(text.replace(str(Path.cwd()), ".").replace(str(Path.home()), "~"))


main()

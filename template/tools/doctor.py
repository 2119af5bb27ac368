"""Print the versions of what a project needs, where it lies and what is out of date, to paste into an issue.

    python tools/doctor.py

No environment variable, name of a person or address is printed, and the home folder is ~.

Exit code: 0, because what is missing is part of the answer.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from packages import STATE, find_uv, read, state

# Answers that are choices, and never a text about a project or a person.
ANSWERS = re.compile(
    r"(?m)^(_commit|python_version|accelerator|devcontainer|stack|ci|[a-z]+_manager): .*"
)
ENGINE = shlex.split(os.environ.get("ENGINE", "docker"))
VERSIONS = ["version", "--format", "client {{.Client.Version}}, server {{.Server.Version}}"]


def answer(*command: str) -> str:
    """Return the first line that a command prints, where there is such a command."""
    if not shutil.which(command[0]):
        return "not found"
    try:
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"fails: {type(error).__name__}"
    line = ((result.stdout + result.stderr).strip().splitlines() or ["nothing printed"])[0]
    return f"{line} ({shutil.which(command[0])})" if result.returncode == 0 else "fails"


def out_of_date() -> str:
    hooks = subprocess.run(
        ["git", "rev-parse", "--git-path", "hooks/pre-commit"],
        check=False,
        capture_output=True,
        text=True,
    )
    wrong = []
    if not STATE.exists() or read(STATE) != state():
        wrong.append(".venv does not hold what the lock says: run `make setup`")
    if hooks.returncode or not Path(hooks.stdout.strip()).exists():
        wrong.append("git has no hook of this project: run `make setup`")
    return "; ".join(wrong) or "nothing"


def main() -> None:
    os.chdir(Path(__file__).resolve().parent.parent)
    python = next((str(path) for path in STATE.parent.glob("[bS]*/python*")), "no .venv")
    found = {
        "system": platform.platform(),
        "project": ", ".join(one[0] for one in ANSWERS.finditer(read(".copier-answers.yml"))),
        "make runs": f"Python {platform.python_version()} ({sys.executable})",
        ".venv": answer(python, "--version"),
        "uv": answer(find_uv() or "uv", "--version"),
        "git": answer("git", "--version"),
        "engine": answer(*ENGINE, *VERSIONS),
        "builder": answer(*ENGINE, "buildx", "version"),
        "out of date": out_of_date(),
    }
    text = "\n".join(f"{name}: {what}" for name, what in found.items())
    print(text.replace(str(Path.cwd()), ".").replace(str(Path.home()), "~"))


if __name__ == "__main__":
    main()

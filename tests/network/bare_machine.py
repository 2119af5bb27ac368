"""A machine with next to nothing, whose network can be cut."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import run

# A network of its own, in which nobody else is.
ALONE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
ALONE += ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
INDEX = Path(__file__).with_name("password_index.py")


class Machine:
    """An empty HOME, no settings, no caches, and on PATH one Python and what Linux brings along."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        (folder / "bin").mkdir()
        self.add_program("python3", f'exec "{python}" "$@"')
        self.variables = {"HOME": str(self.home), "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
        self.variables |= {n: v for n, v in os.environ.items() if n.startswith(("GIT_", "DOCKER_"))}
        assert not shutil.which("uv", path=self.variables["PATH"]), "uv has to come from the lock"

    def add_program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def clone(self, project: Path, name: str = "clone") -> Path:
        run("git", "clone", "--quiet", project, self.folder / name)
        return self.folder / name

    def run(self, *command, cwd: Path, **options) -> subprocess.CompletedProcess:
        """Run a command here, with the network that there is."""
        settings = {"env": self.variables, "stdin": subprocess.DEVNULL}
        return run(*command, cwd=cwd, **settings | options)

    def run_cut(self, *command, index: Path | None = None, **options):
        """Run a command here without network; all that answers is an index of a folder, if any."""
        if subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode:
            pytest.skip("NOT TESTED: a cut network, because `unshare --net` is not allowed")
        serve = [sys.executable, INDEX, index] if index else []
        return self.run(*ALONE, *serve, *command, **options)

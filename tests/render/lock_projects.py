"""Projects of both kinds on a machine with an index of its own, and what is in their locks."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import BIN, PROGRAMS, pins, run

PACKAGES = PROGRAMS["requirements"] / "packages.py"
HERE = "{}.{}".format(*sys.version_info)
# A Python that has neither uv nor packages beside it.
BASE_PYTHON = Path(sys.base_prefix) / f"bin/python{HERE}"
LOCKS = {
    "requirements": ["requirements.txt", "dev-requirements.txt"],
    "uv": ["uv.lock"],
}
requirements_only = pytest.mark.parametrize("project", ["requirements"], indirect=True)
INDEX = '\n[[tool.uv.index]]\nname = "tiny"\nurl = "{}"\ndefault = true\n'


class Project(NamedTuple):
    """A project that asks for a few tiny packages, and keeps their lock in one of the two ways."""

    folder: Path
    kind: str
    index: str

    def ask(self, *needs: str, dev: tuple[str, ...] = (), settings: str | None = None) -> None:
        """Write down what the project needs; ``settings`` are those of uv."""
        settings = 'exclude-newer = "7 days"' if settings is None else settings
        head = '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n'
        if self.kind == "uv":
            head += f"dependencies = {quoted(needs)}\n\n[dependency-groups]\ndev = {quoted(dev)}\n"
            if self.index:
                settings += INDEX.format(self.index)
        else:
            (self.folder / "requirements.in").write_text("\n".join([*needs, ""]))
            (self.folder / "dev-requirements.in").write_text(
                "\n".join(["-c requirements.txt", *dev, ""])
            )
        (self.folder / "pyproject.toml").write_text(f"{head}\n[tool.uv]\n{settings}\n")

    @property
    def locks(self) -> list[Path]:
        return [self.folder / name for name in LOCKS[self.kind]]

    def contents(self) -> list[bytes | None]:
        return [lock.read_bytes() if lock.exists() else None for lock in self.locks]

    def pins(self) -> set[str]:
        """The ``name==version`` of all that is locked."""
        if self.kind == "uv":
            locked = tomllib.loads(self.locks[0].read_text())["package"]
            return {f"{p['name']}=={p['version']}" for p in locked if p["name"] != "demo"}
        return set().union(*(pins(lock.read_text()) for lock in self.locks))

    def run(self, *arguments: str, python: Path = BIN / "python", **options):
        """Run tools/packages.py, which must succeed unless ``fails=True``."""
        return run(
            python,
            PROGRAMS[self.kind] / "packages.py",
            "--root",
            self.folder,
            *arguments,
            **options,
        )

    def installed(self) -> dict[str, str]:
        """What the environment holds, apart from the pip that venv brings along."""
        code = (
            "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
        )
        printed = run(self.folder / ".venv/bin/python", "-I", "-c", code).stdout
        found = dict(line.split() for line in printed.splitlines())
        return {name: v for name, v in found.items() if name not in ("pip", "setuptools")}

    def tamper(self, name: str, *locks: str) -> None:
        """Make the hashes of a package wrong, in these locks or in all."""
        if self.kind == "uv":
            entry = rf'\[\[package]]\nname = "{name}"\n(.|\n)*?(?=\[\[|\Z)'
        else:
            entry = rf"^{name}(==| @ )(.|\n)*?(?=^\w|\Z)"
        for lock in locks or LOCKS[self.kind]:
            text = (self.folder / lock).read_text()
            if found := re.search(entry, text, re.MULTILINE):
                wrong = re.sub("(sha256:)[0-9a-f]{64}", r"\g<1>" + "0" * 64, found[0])
                (self.folder / lock).write_text(text.replace(found[0], wrong))

    def empty_environment(self) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", "--clear", self.folder / ".venv")


def quoted(needs: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{need}"' for need in needs) + "]"


def sentences(result: subprocess.CompletedProcess) -> list[str]:
    return result.stderr.splitlines()

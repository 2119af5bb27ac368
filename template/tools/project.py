"""Read the files of this project, for the other programs of this folder."""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

if not find_spec("packaging") and (pip := find_spec("pip")) and pip.origin:
    # pip brings a copy, which will do as long as the package is not installed.
    sys.path.append(str(Path(pip.origin).with_name("_vendor")))
READY = bool(find_spec("packaging"))
if READY:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

LOGIN = re.compile(r"://[^\s/]+@([^\s/\"']*)")
MERGE_MARKERS = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)
# Inside a URL, no blank or quote stands before a path; and /usr and the like are nobody's own.
MACHINE_PATH = re.compile(
    r"""(?:^|(?<=[\s"'=(,@]))
    (?:file:/|~/|[A-Za-z]:[\\/]|/(?!(?:bin|dev|etc|lib|proc|sys|usr)/)[\w.-]+/)[^\s"',)]*""",
    re.VERBOSE | re.MULTILINE,
)


class Problem(Exception):
    """A sentence that says what is wrong, and what to do about it."""


def read(name: str | Path) -> str:
    """Return the text of a file, or nothing where there is none."""
    path = Path(name)
    try:
        return path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    except UnicodeDecodeError:
        raise Problem(f"{path.name} is not UTF-8: save it as UTF-8.") from None


def load(path: Path) -> dict:
    """Return the tables of a TOML file."""
    try:
        return parse(read(path))
    except tomllib.TOMLDecodeError as error:
        back = f"bring it back with `git checkout HEAD {path.name}`, then run `make lock`"
        remedy = back if path.name == "uv.lock" else "correct it by hand"
        raise Problem(f"{path.name} cannot be read ({error}): {remedy}.") from None


@functools.cache
def parse(text: str) -> dict:
    """Parse TOML, and once only, because uv.lock is large; nobody changes the result."""
    return tomllib.loads(text)


def pyproject() -> Path:
    """Return the pyproject.toml of this folder, or of the nearest folder above that has one."""
    here = Path.cwd()
    found = (folder / "pyproject.toml" for folder in (here, *here.parents))
    return next(filter(Path.exists, found), Path("pyproject.toml"))


def oldest_python() -> str:
    """Return the oldest Python, like ``3.11``, that the project admits."""
    requires = load(pyproject()).get("project", {}).get("requires-python", "")
    if bound := re.search(r"(?:[>~]=|===?)\s*(\d+\.\d+(?:\.\d+)?)", requires):
        return bound[1]
    raise Problem('pyproject.toml needs a line like requires-python = ">=3.11": add it.')


def pythons() -> SpecifierSet:
    """Return the Pythons that the project admits; an oldest one has to be among them."""
    try:
        found = SpecifierSet(load(pyproject()).get("project", {}).get("requires-python", ""))
    except InvalidSpecifier as error:
        raise Problem(f"pyproject.toml cannot be read ({error}): correct it by hand.") from None
    oldest_python()
    return found


def normal(name: str) -> str:
    """Return the name of a package as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bare(text: str) -> str:
    """Return a text, such as a URL, without the user names and passwords of its URLs."""
    return LOGIN.sub(r"://\1", text)

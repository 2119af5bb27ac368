"""Make, install and read the lock of this project: requirements.txt and dev-requirements.txt.

uv makes them from the .in files beside them.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, NamedTuple

from machine import (
    VENV_PYTHON,
    WHEELS,
    adapt_to_wheels,
    environment,
    run,
    run_hashed,
    succeeds,
    without_settings,
)
from project import READY, Problem, load, normal, oldest_python, pyproject, read

if READY:
    from packaging.requirements import InvalidRequirement, Requirement

HASH = r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?!\S)"
LOCKS = {"requirements.txt": "requirements.in", "dev-requirements.txt": "dev-requirements.in"}
PIN = re.compile(r"^([\w.-]+)(?:\[[^]]*])?(?:==| @ )([^\s;]+)", re.MULTILINE)


def install_locked(uv: str, folder: Path) -> None:
    """Fill .venv from the lock, and check that it has all that the project asks for."""
    # How old a release has to be was decided when it was locked.
    options: list[str | Path] = ["--python", VENV_PYTHON, "--exclude-newer=false"]
    sync = [uv, "pip", "sync", *options, "--require-hashes", "--allow-empty-requirements"]
    files = [Path(lock_file) for lock_file in LOCKS]
    if WHEELS.exists():
        adapted, built = adapt_to_wheels(files, folder)
        offline = ["--no-index", "--find-links=wheels"]
        if succeeds(*sync, *offline, "--dry-run", *adapted):
            options, sync, files = [*options, *offline], [*sync, *offline], adapted
            if built:
                print(f"Built by `make wheels`, from sources with the hash of the lock: {built}")
    run_hashed(*sync, *files)
    install = [uv, "pip", "install", "--quiet", *options]
    if "[build-system]" in read(pyproject()):
        # The build backend is there now, so nothing has to be fetched for the project itself.
        run(*install, "--no-deps", "--no-build-isolation", "--editable", ".")
    if "--no-index" in options:
        return  # The .in files can have addresses, and wheels/ has none.
    for lock_file, source in LOCKS.items():
        # uv asks no index where what is installed is enough, with all extras.
        enough = [*install, "--no-index", "--offline", "--dry-run", f"--requirements={source}"]
        if not succeeds(*enough, env=without_settings()):
            raise Problem(f"{lock_file} does not fit {source}: run `make lock setup`.")


def part_of_lock(part: str, _: Path) -> Path:
    """Return the file of ``run``, what the project needs, or of ``dev``, its tools."""
    file = Path("requirements.txt" if part == "run" else "dev-requirements.txt")
    if not file.exists():
        raise Problem(f"{file} is missing: run `make lock`.")
    return file


def refuse_stale(wheels: Path) -> None:
    """Refuse wheels that do not satisfy requirements.in."""
    # Files that -r and -c name may not be here, and pip would download what has an address.
    text = re.sub(r"(?m)^\s*(-r|-c|--requirement\b|--constraint\b).*", "", read("requirements.in"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "asked.in")
        asked.write_text(re.sub(r" *@ *[^ ;\n]*", "", text), encoding="utf-8")
        options = ["--no-index", f"--find-links={wheels}", f"--requirement={asked}"]
        # A pip.conf may hold more than the network, such as constraints.
        fits = succeeds(*pip, *options, env=os.environ | {"PIP_CONFIG_FILE": os.devnull})
    if not fits:
        raise Problem("requirements.txt does not fit requirements.in: run `make lock`.")


def uv_pin() -> str:
    """Return what the lock says of uv, in pip's format, or nothing where it has none."""
    pin = re.search(r"^uv==(?:.*\\\n)*.*\n", read("dev-requirements.txt"), re.MULTILINE)
    return pin[0] if pin else ""


def make(uv: str, options: tuple[str, ...] = (), folder: Path = Path()) -> None:
    """Compile both files, each from its .in file, in place or, to compare them, into a folder."""
    env = environment()
    for lock_file, source in LOCKS.items():
        print(f"Resolving {source}", flush=True)
        # uv keeps the hashes of a pin that stays, also where some were lost or are wrong.
        pins = re.sub(r" \\\n +--hash=\S+", "", read(lock_file))
        (folder / lock_file).write_text(pins, encoding="utf-8")
        env = compile_lock(uv, source, folder / lock_file, env, *options)


def compile_lock(
    uv: str, source: str, lock_file: Path, env: dict[str, str], *options: str
) -> dict[str, str]:
    """Compile one .in file, without a limit on the age of releases where the index tells no age."""
    command = [uv, "pip", "compile", "--universal", f"--python-version={oldest_python()}"]
    command += ["--generate-hashes", f"--output-file={lock_file}", source, *options]
    result = subprocess.run(command, check=False, env=env, stdout=DEVNULL, stderr=PIPE, text=True)
    if "is missing an upload date" in result.stderr and "UV_EXCLUDE_NEWER" not in env:
        why = "This index does not say how old a release is, so exclude-newer is left out."
        print(why, file=sys.stderr)
        env = env | {"UV_EXCLUDE_NEWER": "false"}
        return compile_lock(uv, source, lock_file, env, *options)
    sys.stderr.write(result.stderr)
    result.check_returncode()
    return env


def pinned_files(lock_file: Path) -> dict[str, set[str]]:
    """Return the hashes of each pin of a lock, with its marker."""
    entries = re.findall(r"(?m)^(\w.*?)(?: \\)?\n((?: +--hash=.*\n)*)", read(lock_file))
    return {pin: set(re.findall(r"--hash=(\S+)", hashes)) for pin, hashes in entries}


def with_uv_lock(folder: Path) -> Path:
    """Write requirements*.txt as a uv.lock into this folder, beside the settings of this project."""
    shutil.copy(pyproject(), folder)
    root = normal(load(pyproject())["project"]["name"])
    packages, needs = "", ""
    for name, version in dict.fromkeys(PIN.findall("".join(map(read, LOCKS)))):
        if "://" in version:
            print(f"{name} has an address and no version: it is not checked.", file=sys.stderr)
            continue
        pin = f'name = "{name}", version = "{version}", source = {{ registry = "." }}'
        packages += "[[package]]\n" + pin.replace(", ", "\n") + "\n"
        needs += f"{{ {pin} }}, "
    if not packages:
        raise Problem("Nothing is locked with a hash, so nothing was checked: run `make lock`.")
    (folder / "uv.lock").write_text(
        f'version = 1\nrequires-python = ">={oldest_python()}"\n'
        f'[[package]]\nname = "{root}"\nversion = "0"\nsource = {{ virtual = "." }}\n'
        f"dependencies = [{needs}]\n{packages}"
    )
    return folder


class Entry(NamedTuple):
    """A line of a requirements file, with those that continue it and the comments after it."""

    where: str
    text: str
    requirement: Any  # a Requirement, or nothing where the text is none
    hashes: set[str]
    via: str

    @property
    def url(self) -> str:
        return (self.requirement and self.requirement.url) or ""

    @property
    def version(self) -> str:
        """What this pins, like ``==1.2`` or a URL; nothing where that is not exact."""
        found = self.url or (str(self.requirement.specifier) if self.requirement else "")
        return found if re.fullmatch(r"https?://.*|===?[^,*]+", found) else ""

    def applies(self, place: dict[str, str]) -> bool:
        return not self.requirement.marker or self.requirement.marker.evaluate(place)

    def fits(self, request: Entry) -> bool:
        """Say whether this pin is what a line of an .in file asks for, by version or by address."""
        if request.url or self.url:
            return self.url == (request.url or self.url)
        version = self.version.lstrip("=")
        return request.requirement.specifier.contains(version, prereleases=True)


def entries(name: str) -> tuple[Entry, ...]:
    """Return the lines of a requirements file."""
    return parse(name, read(name))


@functools.cache
def parse(name: str, text: str) -> tuple[Entry, ...]:
    found: list[Entry] = []
    for line in re.finditer(r"(?:.*\\\n)*.+", text):
        body, *comments = re.split(r"(?:^|\s)#", line[0].replace("\\\n", " "), maxsplit=1)
        hashes = set(re.findall(rf"\s--hash[= ]({HASH})", body))
        if body := re.sub(rf"\s--hash[= ]{HASH}", "", body).strip():
            try:
                requirement = Requirement(body)
            except InvalidRequirement:
                requirement = None
            where = f"{name}, line {text.count(chr(10), 0, line.start()) + 1},"
            found.append(Entry(where, body, requirement, hashes, " ".join(comments)))
        elif found:
            found[-1] = found[-1]._replace(via=" ".join([found[-1].via, *comments]))
    return tuple(found)

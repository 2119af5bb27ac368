"""Make, install and read the lock of this project: requirements.txt and dev-requirements.txt.

uv makes them from the .in files beside them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
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
    without_index,
)
from project import READY, Problem, load, normal, oldest_python, pyproject, read

if READY:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name

LOCKS = {"requirements.txt": "requirements.in", "dev-requirements.txt": "dev-requirements.in"}
HASH = r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?!\S)"
INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)[ =]*(.+)")
# What markers see on the systems that a lock is for.
MARKERS = ("os_name", "sys_platform", "platform_system", "platform_machine")
SYSTEMS = (
    ("posix", "linux", "Linux", "x86_64"),
    ("posix", "linux", "Linux", "aarch64"),
    ("posix", "darwin", "Darwin", "x86_64"),
    ("posix", "darwin", "Darwin", "arm64"),
    ("nt", "win32", "Windows", "AMD64"),
)
CPYTHON = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
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
        if not succeeds(*enough, env=without_index()):
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


def make(uv: str, options: tuple[str, ...]) -> None:
    """Compile both files, each from its .in file, in place."""
    env = environment()
    for lock_file, source in LOCKS.items():
        print(f"Resolving {source}", flush=True)
        # uv keeps the hashes of a pin that stays, also where some were lost or are wrong.
        Path(lock_file).write_text(without_hashes(read(lock_file)), encoding="utf-8")
        env = compile_lock(uv, source, lock_file, env, *options)


def compile_lock(
    uv: str, source: str, lock_file: str, env: dict[str, str], *options: str
) -> dict[str, str]:
    """Compile one .in file, without a limit on the age of releases where the index tells no age."""
    command = [uv, "pip", "compile", "--universal", f"--python-version={oldest_python()}"]
    command += ["--generate-hashes", f"--output-file={lock_file}", source, *options]
    result = subprocess.run(command, check=False, env=env, stdout=DEVNULL, stderr=PIPE, text=True)
    if "is missing an upload date" in result.stderr and "UV_EXCLUDE_NEWER" not in env:
        print(
            "This index does not say how old a release is, so exclude-newer in pyproject.toml cannot"
            " be kept: trying without it, as UV_EXCLUDE_NEWER=false would from the start.",
            file=sys.stderr,
        )
        env = env | {"UV_EXCLUDE_NEWER": "false"}
        return compile_lock(uv, source, lock_file, env, *options)
    sys.stderr.write(result.stderr)
    result.check_returncode()
    return env


def make_again(uv: str, folder: Path) -> None:
    """Compile both files from the same versions, into a folder."""
    env = environment()
    for lock_file, source in LOCKS.items():
        made = folder / lock_file
        made.write_text(without_hashes(read(lock_file)), encoding="utf-8")
        env = compile_lock(uv, source, str(made), env)


def pinned_files(lock_file: Path) -> dict[str, set[str]]:
    """Return the hashes of each pin of a lock, with its marker."""
    entries = re.findall(r"(?m)^(\w.*?)(?: \\)?\n((?: +--hash=.*\n)*)", read(lock_file))
    return {pin: set(re.findall(r"--hash=(\S+)", hashes)) for pin, hashes in entries}


def without_hashes(text: str) -> str:
    return re.sub(r" \\\n +--hash=\S+", "", text)


def with_uv_lock(folder: Path) -> Path:
    """Write requirements*.txt as a uv.lock into this folder, beside the settings of this project."""
    shutil.copy(pyproject(), folder)
    root = normal(load(pyproject())["project"]["name"])
    source = 'source = { registry = "." }'
    tables, needs = [], []
    for name, version in dict.fromkeys(PIN.findall("".join(map(read, LOCKS)))):
        if "://" in version:
            print(f"{name} has an address and no version: it is not checked.", file=sys.stderr)
        else:
            tables.append(f'[[package]]\nname = "{name}"\nversion = "{version}"\n{source}\n')
            needs.append(f'{{ name = "{name}", version = "{version}", {source} }}')
    if not tables:
        raise Problem("Nothing is locked with a hash, so nothing was checked: run `make lock`.")
    (folder / "uv.lock").write_text(
        f'version = 1\nrequires-python = ">={oldest_python()}"\n'
        f'[[package]]\nname = "{root}"\nversion = "0"\nsource = {{ virtual = "." }}\n'
        f"dependencies = [{', '.join(needs)}]\n" + "".join(tables)
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
    def version(self) -> str:
        """What this pins, like ``==1.2`` or a URL; nothing where that is not exact."""
        if not self.requirement:
            return ""
        found = self.requirement.url or str(self.requirement.specifier)
        return found if re.fullmatch(r"https?://.*|===?[^,*]+", found) else ""

    def applies(self, place: dict[str, str]) -> bool:
        return not self.requirement.marker or self.requirement.marker.evaluate(place)

    def fits(self, request: Entry) -> bool:
        asked, pinned = request.requirement, self.requirement
        if asked.url or pinned.url:
            # A constraint may say by URL what the .in file asks for by name.
            return asked.url == pinned.url or (not asked.url and "-c " in self.via)
        return asked.specifier.contains(self.version.lstrip("="), prereleases=True)

    def needed_by(self) -> set[str]:
        """The packages that need this one, as the comments of uv and pip-compile say."""
        names = re.sub(r"\bvia\b|-[rc] [^\s,]+|\[[^]]*]", " ", self.via).replace(",", " ")
        return {canonicalize_name(name) for name in names.split()}


Named = dict[str, list[Entry]]


def entries(name: str) -> list[Entry]:
    text = read(name)
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
    return found


def by_name(found: Iterable[Entry]) -> Named:
    named: Named = {}
    for entry in found:
        if entry.requirement:
            named.setdefault(canonicalize_name(entry.requirement.name), []).append(entry)
    return named


def sources_of(source: str, *options: str) -> list[str]:
    """Return an .in file and those that its lines with -r, or other options, name."""
    names = [source]
    for name in names:
        for entry in entries(name):
            if not (include := INCLUDE.match(entry.text)):
                continue
            other = included(name, include[2])
            if other not in [*names, *LOCKS] and include[1] in (options or ("-r", "--requirement")):
                names.append(other)
    return names


def included(name: str, other: str) -> str:
    return os.path.normpath(Path(name).parent / other)


def asked(source: str) -> tuple[list[Entry], list[Entry]]:
    """Return the requirements of an .in file and of those that it includes, and its constraints."""
    needs = sources_of(source)
    limits = sources_of(source, "-r", "--requirement", "-c", "--constraint")[len(needs) :]
    parts = [
        [e for name in names for e in entries(name) if e.requirement] for names in (needs, limits)
    ]
    return parts[0], parts[1]


def environments(requires: SpecifierSet) -> Iterator[dict[str, str]]:
    """Yield what markers see in the places that a lock is for."""
    for version in (f"3.{minor}" for minor in range(50)):
        python = CPYTHON | {"python_version": version, "python_full_version": f"{version}.0"}
        if requires.contains(f"{version}.0"):
            yield from (python | dict(zip(MARKERS, system, strict=True)) for system in SYSTEMS)

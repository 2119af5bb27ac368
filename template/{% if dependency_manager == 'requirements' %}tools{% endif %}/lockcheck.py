"""Find what is wrong with requirements*.txt and what they are made of, without network.

`tools/packages.py check` prints what this finds: one sentence for each failure, with what to do about it.
"""

from __future__ import annotations

import functools
import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from lock import LOCKS, Entry, entries
from project import (
    LOGIN,
    MACHINE_PATH,
    MERGE_MARKERS,
    READY,
    Problem,
    bare,
    load,
    oldest_python,
    pyproject,
    pythons,
    read,
)

if READY:
    from packaging.utils import canonicalize_name

INCLUDE = re.compile(r"(?:-|--(?=requirement|constraint))([rc])(?:equirement|onstraint)?[ =]*(.+)")
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
TORCH = (
    "ask for torch as https://github.com/pinbook/pinbook/blob/main/docs/how-to/add-torch.md says"
)
ARCHIVE = "name an archive, which gets a hash: `NAME @ https://HOST/ARCHIVE.tar.gz`"
# What a line of an .in file must not be; the first that matches says why.
REFUSED = {
    r"(?:-e|--editable)?[ =]*\.(\[.*])?$": (
        "installs this project, which `make setup` does anyway: delete the line"
    ),
    r"[^;]*@ *file:": "names a file of one machine: keep the name of the package alone",
    r"(.*[ @=])?(git|hg|svn|bzr)\+": f"takes a package from version control: {ARCHIVE}",
    r"-e|--editable|[.~/]|(?!-|[^;]*https?:)[^;]*[\\/]": f"takes a local package: {ARCHIVE}",
    r"https?:": "has a URL without a name: write `NAME @ URL`",
    r"-.*//download\.pytorch\.org": f"would take other packages from PyTorch's index, too: {TORCH}",
    r"(-f|--find-links|--extra-index-url)\b|[^-].*\s-": (
        "lets other packages come from there, too: name the file, `NAME @ URL`"
    ),
    r"-(?![rc]|-(requirement|constraint|pre|prefer-binary|no-binary|only-binary)\b)": (
        "has an option that belongs to one machine: set it in pip.conf or the environment"
    ),
}

Named = dict[str, list[Entry]]
Place = dict[str, str]


def failures(sources_only: bool = False) -> list[str]:
    """Return a sentence for each failure of the lock, or of the files that it is made of.

    Where a source is wrong, the lock is not looked at, because one cause gives one sentence.
    """
    found = list(check_files(sources_only)) or list(dict.fromkeys(check_sources()))
    return found or ([] if sources_only else list(check_locks()))


def check_files(may_be_missing: bool) -> Iterator[str]:
    for name in ("pyproject.toml", *LOCKS.values(), *LOCKS):
        path = pyproject() if name == "pyproject.toml" else Path(name)
        made = name in LOCKS
        whole = f"bring it back with `git checkout HEAD {name}`"
        try:
            if MERGE_MARKERS.search(read(path)):
                yield f"{name} has merge markers: {whole if made else 'edit it'}, then run `make lock`."
            elif not path.is_file() and not (may_be_missing and made):
                yield f"{name} is missing: {whole}{', or create it with `make lock`' * made}."
            elif name == "pyproject.toml":
                pythons()
        except Problem as problem:
            yield str(problem)


def check_sources() -> Iterator[str]:
    """Check what the lock is made of, and that `make lock` would overwrite nothing of a person's."""
    yield from check_settings(load(pyproject()))
    for lock, source in LOCKS.items():
        for name in sources_of(source):
            if login := LOGIN.search(read(name)):
                keep = "take it out, and keep it in netrc or a keyring"
                yield f"{name} has a user name or a password for {login[1]}: {keep}."
            for entry in entries(name):
                if why := refused(name, entry):
                    yield f"{entry.where} {why}."
        yield from check_handwriting(lock, source)


def check_settings(project: dict) -> Iterator[str]:
    for name in ("uv.toml", "pip.conf"):
        if Path(name).exists():
            yield f"{name} belongs to one machine: move it out of the project."
    uv = project.get("tool", {}).get("uv", {})
    own = "index|.*-index(-url)?|index-url|find-links|allow-insecure-host|no-verify-hashes"
    for name in filter(re.compile(own).fullmatch, [*uv, *uv.get("pip", {})]):
        yield f"pyproject.toml sets {name} for uv, which belongs to one machine: use its uv.toml."
    needs, _ = asked("requirements.in")
    for need in project.get("project", {}).get("dependencies", []):
        name = re.split(r"[^\w.-]", need.strip(), maxsplit=1)[0]
        if canonicalize_name(name) not in needs:
            yield (
                f"pyproject.toml asks for {name}, and the lock is made from requirements.in:"
                " write it there, then run `make lock`."
            )


def refused(name: str, entry: Entry) -> str:
    """Return what is wrong with a line of an .in file, or nothing."""
    for line, why in REFUSED.items():
        if re.match(line, entry.text):
            return why
    other = included(name, entry)
    if other and (os.path.isabs(other) or not (other in LOCKS or Path(other).is_file())):
        return f"names {other}, which is not in the project: bring it in, or correct the line"
    known = entry.requirement or entry.text.startswith("-")
    return "" if known else "is no requirement: write it like `NAME >=1.2`"


def check_handwriting(lock: str, source: str) -> Iterator[str]:
    """Find the lines of a lock that no tool has written: those without a hash or a comment."""
    annotated = "--no-annotate" not in read(lock)
    lines = [
        bare(entry.text)
        for entry in entries(lock)
        if not (entry.hashes or "via" in entry.via or entry.text.startswith("--"))
        and (annotated or not entry.version)
    ]
    if lines:
        yield (
            f"{lock} has {few(lines)}, which {source} has not: add it to {source}, or, to keep your"
            f" own list, run `rm {source} && git mv {lock} {source}`; then run `make lock`."
        )


def check_locks() -> Iterator[str]:
    yield from cuda_for_cpu()
    yield from check_python()
    places = list(places_of())
    for lock, source in LOCKS.items():
        yield from check_lines(lock)
        yield from check_fit(lock, source, places)
    yield from check_both(places)


def cuda_for_cpu() -> Iterator[str]:
    """Say where a project for the CPU would install CUDA, which is several GB."""
    answered = re.search(r"^accelerator: cpu$", read(".copier-answers.yml"), re.MULTILINE)
    for lock, text in zip(LOCKS, map(read, LOCKS), strict=True):
        cuda = re.findall(r'(?m)^(?:name = ")?((?:nvidia|cuda)-[\w-]+|triton)(?:==|")', text)
        cuda += re.findall(r"(?m)^(torchvision|torchaudio)==(?!.*sys_platform)", text)
        if cuda and (answered or "%2Bcpu-" in text):
            yield f"{lock} has {cuda[0]}, which is for CUDA, in a project for the CPU: {TORCH}."


def check_python() -> Iterator[str]:
    """Check that the lock is for the Python of the image, and for all that the project admits."""
    line = re.compile(r"^FROM \S*python:(\d+\.\d+)\S* AS pinned", re.MULTILINE | re.IGNORECASE)
    image, requires = line.search(read("Dockerfile")), pythons()
    if image and not any(requires.contains(f"{image[1]}.{patch}") for patch in range(100)):
        yield (
            f"pyproject.toml has requires-python {requires}, and the image has Python {image[1]}:"
            " change requires-python, then run `make lock`."
        )
    for_all = re.compile(rf"--universal.* --python-version[= ]{re.escape(oldest_python())} ")
    for lock in LOCKS:
        by_uv = re.search(r"^#.* uv pip compile .*", read(lock), re.MULTILINE)
        by_pip = re.search(r"^# .* by pip-compile with [Pp]ython (\S+)", read(lock), re.MULTILINE)
        if (by_uv and not for_all.search(by_uv[0])) or (by_pip and image and by_pip[1] != image[1]):
            yield f"{lock} was not made for all Pythons and systems of the project: run `make lock`."


def check_lines(lock: str) -> Iterator[str]:
    """Check that each line is an exact version with a hash, and holds nothing private or foreign."""
    text, locked = read(lock), entries(lock)
    if path := MACHINE_PATH.search(text):
        yield f"{lock} has a path of one machine, {path[0]}: run `make lock`."
    if login := LOGIN.search(text):
        yield f"{lock} has a user name or a password for {login[1]}: run `make lock`."
    if lines := [bare(entry.text) for entry in locked if not (entry.version and entry.hashes)]:
        yield f"{lock} has lines without an exact version and a hash, {few(lines)}: run `make lock`."
    files = [name for source in LOCKS.values() for name in sources_of(source)]
    asked_for = {entry.url for name in files for entry in entries(name)}
    if foreign := [bare(e.url) for e in locked if e.version and e.url not in {"", *asked_for}]:
        yield f"{lock} has an address that no .in file has, {few(foreign)}: run `make lock`."


def check_fit(lock: str, source: str, places: list[Place]) -> Iterator[str]:
    """Compare what a lock installs in each place with what its .in file asks for there."""
    pinned, (needs, limits) = pins_of(lock), asked(source)
    wrong = set()
    for place in places:
        pins, requests, bounds = (at(place, named) for named in (pinned, needs, limits))
        wanted = needed(set(requests), pins, needs)
        for name in requests.keys() | pins.keys():
            found, lines = pins.get(name, []), requests.get(name, []) + bounds.get(name, [])
            fits = [pin for pin in found if name in wanted and all(map(pin.fits, lines))]
            if len(found) != 1 or not fits:
                wrong.add(name)
    surplus = []
    for name in sorted(wrong & pinned.keys()):
        has = [bare(entry.text) for entry in pinned[name]]
        if wants := [bare(entry.text) for entry in needs.get(name, []) + limits.get(name, [])]:
            asks, given = " and ".join(wants), " and ".join(has)
            yield f"{source} asks for {asks}, and {lock} has {given}: run `make lock`."
        else:
            surplus += has
    if surplus:
        yield f"{lock} has {few(surplus)}, which {source} does not explain: run `make lock`."
    if absent := sorted(wrong - pinned.keys()):
        yield f"{lock} has no pin for {few(absent)} of {source}: run `make lock`."


def needed(wanted: set[str], pins: Named, needs: Named) -> set[str]:
    """Return wanted names, and those that they need: the comments of the pins say which.

    A pin whose comment names an .in file has to be asked for there.
    """
    more = {
        name
        for name in pins.keys() - wanted
        for pin in pins[name]
        if packages(pin.via) & wanted and (name in needs or "-r " not in pin.via)
    }
    return needed(wanted | more, pins, needs) if more else wanted


@functools.cache
def packages(via: str) -> set[str]:
    """Return the packages that a comment of uv or pip-compile names."""
    names = re.sub(r"\bvia\b|-[rc] [^\s,]+|\[[^]]*]", " ", via).replace(",", " ")
    return {canonicalize_name(name) for name in names.split()}


def check_both(places: list[Place]) -> Iterator[str]:
    """Compare the two locks, because pip and uv accept a file if either has its hash."""
    wrong = set()
    for place in places:
        ours, theirs = (at(place, pins_of(lock)) for lock in LOCKS)
        for name in ours.keys() & theirs.keys():
            known = [(pin.version, pin.hashes) for pin in ours[name]]
            if known != [(pin.version, pin.hashes) for pin in theirs[name]]:
                wrong.add(name)
    if wrong:
        yield (
            f"{' and '.join(LOCKS)} have different versions or hashes of {few(sorted(wrong))}: run"
            " `make lock`, with the line `-c requirements.txt` in dev-requirements.in."
        )


def sources_of(source: str) -> dict[str, str]:
    """Return an .in file and those that it names, each with ``r`` or, for constraints, ``c``."""
    kinds = {source: "r"}
    names = [source]
    for name in names:
        for entry in entries(name):
            other = included(name, entry)
            if other and other not in {*kinds, *LOCKS}:
                names.append(other)
                kinds[other] = "c" if kinds[name] == "c" else entry.text.lstrip("-")[0]
    return kinds


def included(name: str, entry: Entry) -> str:
    """Return the file that a line with -r or -c names, seen from the project."""
    include = INCLUDE.match(entry.text)
    return os.path.normpath(Path(name).parent / include[2]) if include else ""


def pins_of(lock: str) -> Named:
    return by_name(entry for entry in entries(lock) if entry.version)


def asked(source: str) -> tuple[Named, Named]:
    """Return the requirements of an .in file and of those that it includes, and its constraints."""
    kinds = sources_of(source)
    needs, limits = (
        by_name(e for name, kind in kinds.items() if kind == part for e in entries(name))
        for part in "rc"
    )
    return needs, limits


def by_name(found: Iterable[Entry]) -> Named:
    named: Named = {}
    for entry in found:
        if entry.requirement:
            named.setdefault(canonicalize_name(entry.requirement.name), []).append(entry)
    return named


def places_of() -> Iterator[Place]:
    """Yield what markers see on each system and Python that a lock is for."""
    requires = pythons()
    for minor, system in product(range(20), SYSTEMS):
        version = f"3.{minor}"
        if requires.contains(f"{version}.0"):
            python = {"python_version": version, "python_full_version": f"{version}.0"}
            yield CPYTHON | python | dict(zip(MARKERS, system, strict=True))


def at(place: Place, named: Named) -> Named:
    """Return the entries that apply in one place."""
    chosen = {
        name: [entry for entry in found if entry.applies(place)] for name, found in named.items()
    }
    return {name: found for name, found in chosen.items() if found}


def few(names: list[str]) -> str:
    """Return the first of some names, and whether there are more."""
    return textwrap.shorten(", ".join(dict.fromkeys(names)), 500, placeholder=" and more")

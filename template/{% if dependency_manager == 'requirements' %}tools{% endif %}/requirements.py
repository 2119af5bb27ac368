"""Read requirements files: the .in files, which ask for packages, and the .txt files, which lock them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from project import READY, read

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

"""Check that requirements*.txt hold what a lock promises, without network.

    python tools/lockcheck.py [--root FOLDER]

Nothing is written. Each failure is one sentence on standard error, with what to do about it.

Exit codes: 0 the lock is right, 1 it is not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from lock import (
    INCLUDE,
    LOCKS,
    Entry,
    Named,
    asked,
    by_name,
    entries,
    environments,
    included,
    sources_of,
)
from project import (
    LOGIN,
    MACHINE_PATH,
    MERGE_MARKERS,
    READY,
    Problem,
    bare,
    load,
    pyproject,
    read,
)

if READY:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import canonicalize_name

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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=root, help="folder of the lock")
    args = parser.parse_args()
    if not args.root.is_dir():
        parser.error(f"--root {args.root}: there is no such folder")
    os.chdir(args.root)
    if not READY:
        sys.exit("lockcheck.py needs the package `packaging`: run it through `make lint`.")
    found = failures()
    for sentence in found:
        print(sentence, file=sys.stderr)
    sys.exit(1 if found else 0)


def failures(sources_only: bool = False) -> list[str]:
    """Return a sentence for each failure of the lock, or of the files that it is made of.

    Where a source is wrong, the lock is not looked at, because one cause gives one sentence.
    """
    found = list(dict.fromkeys(check_files(sources_only)))
    if not found:
        found = list(dict.fromkeys(check_sources()))
    if not found and not sources_only:
        found = list(dict.fromkeys(check_locks()))
    return found


def check_files(may_be_missing: bool) -> Iterator[str]:
    for name in ("pyproject.toml", *LOCKS.values(), *LOCKS):
        path = pyproject() if name == "pyproject.toml" else Path(name)
        whole = f"bring it back with `git checkout HEAD {name}`"
        remedy = (
            f"{whole}, then run `make lock`" if name in LOCKS else "edit it, then run `make lock`"
        )
        try:
            text = read(path)
            if name.endswith(".toml"):
                SpecifierSet(load(path).get("project", {}).get("requires-python", ""))
        except Problem as problem:
            yield str(problem)
        except InvalidSpecifier as error:
            yield f"pyproject.toml cannot be read ({error}): correct it by hand."
        else:
            if not path.is_file() and not (may_be_missing and name in LOCKS):
                create = ", or create it with `make lock`" if name in LOCKS else ""
                yield f"{name} is missing: {whole}{create}."
            elif MERGE_MARKERS.search(text):
                yield f"{name} has merge markers: {remedy}."


def check_sources() -> Iterator[str]:
    """Check what the lock is made of, and that `make lock` would overwrite nothing of a person's."""
    yield from check_settings(load(pyproject()))
    for lock, source in LOCKS.items():
        for name in sources_of(source):
            if login := LOGIN.search(read(name)):
                keep = "take it out, and keep it in netrc or a keyring"
                yield f"{name} has a user name or a password for {login[1]}: {keep}."
            for entry in entries(name):
                if why := refused(entry):
                    yield f"{entry.where} {why}."
        yield from check_handwriting(lock, source)


def check_settings(project: dict) -> Iterator[str]:
    uv = project.get("tool", {}).get("uv", {})
    for name in ("uv.toml", "pip.conf"):
        if Path(name).exists():
            yield f"{name} belongs to one machine: move it out of the project."
    own = "index|.*-index(-url)?|index-url|find-links|allow-insecure-host|no-verify-hashes"
    for name in filter(re.compile(own).fullmatch, [*uv, *uv.get("pip", {})]):
        yield f"pyproject.toml sets {name} for uv, which belongs to one machine: use its uv.toml."
    names = {canonicalize_name(e.requirement.name) for e in asked("requirements.in")[0]}
    for need in project.get("project", {}).get("dependencies", []):
        name = re.split(r"[^\w.-]", need.strip(), maxsplit=1)[0]
        if canonicalize_name(name) not in names:
            yield (
                f"pyproject.toml asks for {name}, and the lock is made from requirements.in:"
                " write it there, then run `make lock`."
            )


def refused(entry: Entry) -> str:
    """Return what is wrong with a line of an .in file, or nothing."""
    for line, why in REFUSED.items():
        if re.match(line, entry.text):
            return why
    if include := INCLUDE.match(entry.text):
        other = included(entry.where.split(",")[0], include[2])
        if re.match(r"[/~]|\w:", include[2]):
            return f"names a file of one machine, {other}: bring it into the project"
        there = other in LOCKS or Path(other).is_file()
        return "" if there else f"names {other}, which is missing: correct that line"
    known = entry.requirement or entry.text.startswith("-")
    return "" if known else "is no requirement: write it like `NAME >=1.2`"


def check_handwriting(lock: str, source: str) -> Iterator[str]:
    """Find the lines of a lock that no tool has written, and that no line of the .in file explains."""
    tool = re.search(r"^# .*autogenerated by [^#]*(#.*\n)*", read(lock), re.MULTILINE)
    bare_pins = tool and "--no-annotate" in tool[0]
    names = by_name(asked(source)[0])
    lines = []
    for entry in entries(lock):
        made = entry.hashes or "via" in entry.via or (tool and entry.text.startswith("--"))
        pinned = entry.version and (bare_pins or canonicalize_name(entry.requirement.name) in names)
        if not made and not pinned:
            lines.append(bare(entry.text))
    if lines:
        yield (
            f"{lock} has {few(lines)}, which {source} has not: add it to {source}, or, to keep your"
            f" own list, run `rm {source} && git mv {lock} {source}`; then run `make lock`."
        )


def cuda_for_cpu() -> Iterator[str]:
    """Say where a project for the CPU would install CUDA, which is several GB."""
    answered = re.search(r"^accelerator: cpu$", read(".copier-answers.yml"), re.MULTILINE)
    for lock, text in zip(LOCKS, map(read, LOCKS), strict=True):
        cuda = re.findall(r'(?m)^(?:name = ")?((?:nvidia|cuda)-[\w-]+|triton)(?:==|")', text)
        cuda += re.findall(r"(?m)^(torchvision|torchaudio)==(?!.*sys_platform)", text)
        if cuda and (answered or "%2Bcpu-" in text):
            yield f"{lock} has {cuda[0]}, which is for CUDA, in a project for the CPU: {TORCH}."


def check_locks() -> Iterator[str]:
    yield from cuda_for_cpu()
    requires = SpecifierSet(load(pyproject()).get("project", {}).get("requires-python", ""))
    yield from check_python(requires)
    addresses = {
        entry.requirement.url
        for source in LOCKS.values()
        for part in asked(source)
        for entry in part
    }
    pins = []
    for lock, source in LOCKS.items():
        locked = entries(lock)
        pins.append(by_name(entry for entry in locked if entry.version))
        yield from check_lines(lock, locked, addresses)
        yield from check_pins(source, lock, pins[-1], requires)
    yield from check_both(pins[0], pins[1], requires)


def check_python(requires: SpecifierSet) -> Iterator[str]:
    line = re.compile(r"^FROM \S*python:(\d+\.\d+)\S* AS pinned", re.MULTILINE | re.IGNORECASE)
    image = found[1] if (found := line.search(read("Dockerfile"))) else ""
    if image and not any(requires.contains(f"{image}.{patch}") for patch in range(100)):
        yield (
            f"pyproject.toml has requires-python {requires}, and the image has Python {image}:"
            " change requires-python, then run `make lock`."
        )
    lower = [bound for bound in requires if bound.operator in (">=", "~=", "==", "===")]
    oldest = lower[0].version.removesuffix(".*") if lower else ""
    if not oldest:
        yield 'pyproject.toml needs a line like requires-python = ">=3.11": add it.'
    for name in LOCKS:
        header = "\n".join(re.findall(r"^#.*", read(name), re.MULTILINE))
        if "uv pip compile" in header and not re.search(r"--universal.* --python-version", header):
            yield f"{name} was made for one system and Python: run `make lock`."
        for pattern, expected in {
            r"by pip-compile with [Pp]ython (\d+\.\d+)": image,
            r"--python-version[= ](\d[\d.]*)": oldest,
        }.items():
            found = re.search(pattern, header)
            if found and expected and found[1] != expected:
                yield f"{name} was made for Python {found[1]}, not {expected}: run `make lock`."


def check_lines(lock: str, locked: list[Entry], addresses: set[str | None]) -> Iterator[str]:
    """Check that each line is an exact version with a hash, and holds nothing private or foreign."""
    text = read(lock)
    if path := MACHINE_PATH.search(text):
        yield f"{lock} has a path of one machine, {path[0]}: run `make lock`."
    if login := LOGIN.search(text):
        yield f"{lock} has a user name or a password for {login[1]}: run `make lock`."
    for entry in locked:
        if not entry.version:
            what = f"is no exact version with a hash, `{bare(entry.text)}`"
            yield f"{entry.where} {what}: run `make lock`."
        elif entry.requirement.url not in {None, *addresses} and re.search(
            "-c |^[^-]*$", entry.via
        ):
            what = f"has an address that no .in file has, {bare(entry.text)}"
            yield f"{entry.where} {what}: run `make lock`."
    unhashed = [pin.requirement.name for pin in locked if pin.version and not pin.hashes]
    if unhashed:
        yield f"{lock} has no hashes for {few(unhashed)}: run `make lock`."


def check_pins(source: str, lock: str, pinned: Named, requires: SpecifierSet) -> Iterator[str]:
    """Compare the pins of a lock with what its .in file asks for, on every system and Python."""
    needs, limits = map(by_name, asked(source))
    places = list(environments(requires))
    absent = []
    for name in sorted(needs.keys() | pinned.keys()):
        requests, pins, bounds = needs.get(name, []), pinned.get(name, []), limits.get(name, [])
        at_once = ([p.text for p in pins if p.applies(place)] for place in places if len(pins) > 1)
        if not pins:
            if any(request.applies(place) for request in requests for place in places):
                absent.append(name)
        elif double := next((texts for texts in at_once if len(texts) > 1), None):
            yield f"{lock} has {bare(' and '.join(double))} at one place: run `make lock`."
        elif (requests or bounds) and not all(
            agree(requests, bounds, pins, place) for place in places
        ):
            wants = " and ".join(entry.text for entry in [*requests, *bounds])
            has = " and ".join(entry.text for entry in pins)
            yield f"{source} asks for {bare(wants)}, and {lock} has {bare(has)}: run `make lock`."
    if absent:
        yield f"{lock} has no pin for {few(absent)} of {source}: run `make lock`."
    if surplus := unwanted(needs, pinned):
        if not any("via" in pin.via for pins in pinned.values() for pin in pins):
            yield f"{lock} does not say which package needs which: run `make lock`."
        else:
            yield f"{lock} has {few(surplus)}, which {source} does not name: run `make lock`."


def agree(
    requests: list[Entry], bounds: list[Entry], pins: list[Entry], place: dict[str, str]
) -> bool:
    """Return whether these pins are what these lines of an .in file need in one environment."""
    requests, bounds, pins = (
        [entry for entry in part if entry.applies(place)] for part in (requests, bounds, pins)
    )
    if not requests and not all(pin.needed_by() for pin in pins):
        return False
    if requests and not pins:
        return False
    return all(pin.fits(request) for pin in pins for request in [*requests, *bounds])


def unwanted(needs: Named, pinned: Named) -> list[str]:
    """Return the pins that no line of the .in file asks for, and no package that is asked for."""
    wanted, found = set(needs), set(needs)
    while found:
        found = {
            name
            for name in pinned.keys() - wanted
            if any(pin.needed_by() & wanted and "-r " not in pin.via for pin in pinned[name])
        }
        wanted |= found
    surplus = sorted(pinned.keys() - wanted)
    first = [n for n in surplus if any("-r " in p.via or not p.needed_by() for p in pinned[n])]
    return first or surplus


def check_both(run: Named, dev: Named, requires: SpecifierSet) -> Iterator[str]:
    """Compare the two locks, because pip and uv accept a file if either has its hash."""
    places = list(environments(requires))
    for name in sorted(run.keys() & dev.keys()):
        for pin in dev[name]:
            common = [place for place in places if pin.applies(place)]
            others = [other for other in run[name] if any(map(other.applies, common))]
            hashes = {other.version: other.hashes for other in others}
            if others and pin.version not in hashes:
                has = " and ".join(other.text for other in others)
                yield (
                    f"requirements.txt has {bare(has)}, and dev-requirements.txt has"
                    f" {bare(pin.text)}: run `make lock`, with the line `-c requirements.txt`"
                    " in dev-requirements.in."
                )
            elif pin.hashes and hashes.get(pin.version) and pin.hashes != hashes[pin.version]:
                both = "requirements.txt and dev-requirements.txt"
                yield f"{both} have different hashes for {name}: run `make lock`."


def few(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 8} more" if len(names) > 9 else ""
    return ", ".join(names[: 8 if more else 9]) + more


if __name__ == "__main__":
    main()

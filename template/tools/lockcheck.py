"""Check that the lock of this project holds what it promises, without network.

    python tools/lockcheck.py [--root FOLDER]

Nothing is written. Each failure is one sentence on standard error, with what mends it.

Exit codes: 0 the lock is right, 1 it is not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import canonicalize_name
except ModuleNotFoundError:
    sys.exit("lockcheck.py needs the package `packaging`: run it through `make lint`.")

sys.path.insert(0, str(Path(__file__).parent))  # where PYTHONSAFEPATH leaves it out
from packages import LOCKS, MERGE_MARKERS, PUBLIC_INDEX, find_uv, pyproject, sources

MADE = ("uv.lock", *LOCKS)
HASH = r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?!\S)"
LOGIN = re.compile(r"://[^\s/@]+@([^\s/\"']*)")
# Inside a URL, no blank or quote stands before a path; and /usr and the like are nobody's own.
MACHINE_PATH = re.compile(
    r"""(?:^|(?<=[\s"'=(,@]))
    (?:file:|~/|[A-Za-z]:[\\/]|/(?!(?:bin|dev|etc|lib|proc|sys|usr)/)[\w.-]+/)[^\s"',)]*""",
    re.VERBOSE | re.MULTILINE,
)
INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)[ =]*(.+)")
ARCHIVE = "name an archive, which gets a hash: `NAME @ https://HOST/ARCHIVE.tar.gz`"
TORCH = (
    "ask for torch as https://github.com/pinbook/pinbook/blob/main/docs/how-to/add-torch.md says"
)
# What a line of an .in file must not be; the first that matches says why.
REFUSED = {
    r"-.*//download\.pytorch\.org": f"would take other packages from PyTorch's index, too: {TORCH}",
    r"(.*[ @=])?(git|hg|svn|bzr)\+": f"takes a package from version control: {ARCHIVE}",
    r"-e|--editable|[.~/]|(?!-|[^;]*https?:)[^;]*[\\/]": f"takes a local package: {ARCHIVE}",
    r"https?:": "has a URL without a name: write `NAME @ URL`",
    r"-(?![rc]|-(requirement|constraint|pre|prefer-binary|no-binary|only-binary)\b)": (
        "has an option that belongs to one machine: set it in pip.conf or the environment"
    ),
}
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
    requirement: Requirement | None
    hashes: set[str]
    comments: list[str]

    @property
    def version(self) -> str:
        """What this pins, like ``==1.2`` or a URL; nothing where that is not exact."""
        if not self.requirement:
            return ""
        found = self.requirement.url or str(self.requirement.specifier)
        return found if re.fullmatch(r"https?://.*|===?[^,*]+", found) else ""

    @property
    def via(self) -> str:
        return " ".join(self.comments)

    def applies(self, place: dict[str, str]) -> bool:
        return not self.requirement.marker or self.requirement.marker.evaluate(place)

    def fits(self, request: Entry) -> bool:
        asked, pinned = request.requirement, self.requirement
        if asked.url or pinned.url:
            # A constraint may say by URL what the .in file asks for by name.
            return asked.url == pinned.url or (not asked.url and "-c " in self.via)
        return asked.specifier.contains(self.version.lstrip("="), prereleases=True)


Named = dict[str, list[Entry]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).resolve().parent.parent,
        help="folder of the lock (default: the project around tools/)",
    )
    root = parser.parse_args().root
    if not root.is_dir():
        parser.error(f"--root {root}: there is no such folder")
    os.chdir(root)
    sentences = list(dict.fromkeys(failures()))
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    sys.exit(1 if sentences else 0)


def failures() -> Iterator[str]:
    names = [name for lock, source in sources().items() for name in (source, lock)]
    if obstacles := list(unreadable(dict.fromkeys(["pyproject.toml", *names]))):
        yield from obstacles
        return
    project = load(pyproject())
    requires = SpecifierSet(project.get("project", {}).get("requires-python", ""))
    yield from wrong_python(names, requires)
    if "uv.lock" in names:
        yield from check_uv_lock(project)
        yield from misfit(requires)
    else:
        yield from check_requirements(requires, project.get("project", {}))
    yield from cuda_for_cpu()


def cuda_for_cpu() -> Iterator[str]:
    """Say where a project for the CPU would install CUDA, which is several GB."""
    answered = re.search(r"^accelerator: cpu$", read(".copier-answers.yml"), re.MULTILINE)
    for lock in sources():
        text = read(lock)
        cuda = re.findall(r'(?m)^(?:name = ")?((?:nvidia|cuda)-[\w-]+|triton)(?:==|")', text)
        if cuda and (answered or "//download.pytorch.org/whl/cpu/" in text):
            yield f"{lock} has {cuda[0]}, which is for CUDA, in a project for the CPU: {TORCH}."


def unreadable(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        path = pyproject() if name == "pyproject.toml" else Path(name)
        text = read(path)
        whole = f"bring it back with `git checkout HEAD {name}`"
        if not path.is_file():
            yield f"{name} is missing: {mend(name, whole)}."
        elif "\ufffd" in text:
            yield f"{name} is not UTF-8: save it as UTF-8."
        elif MERGE_MARKERS.search(text):
            edit = whole if name in MADE else "edit it"
            yield f"{name} has merge markers: {edit}, then run `make lock`."
        elif name.endswith((".toml", ".lock")):
            try:
                SpecifierSet(load(path).get("project", {}).get("requires-python", ""))
            except (tomllib.TOMLDecodeError, InvalidSpecifier) as error:
                edit = f"{whole}, then run `make lock`" if name in MADE else "mend it by hand"
                yield f"{name} cannot be read ({error}): {edit}."


def wrong_python(names: list[str], requires: SpecifierSet) -> Iterator[str]:
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
    for name in names:
        header = "\n".join(re.findall(r"^#.*", read(name), re.MULTILINE))
        for pattern, expected in {
            r"by pip-compile with [Pp]ython (\d+\.\d+)": image,
            r"--python-version[= ](\d[\d.]*)": oldest,
        }.items():
            found = re.search(pattern, header)
            if found and expected and found[1] != expected:
                yield f"{name} was made for Python {found[1]}, not {expected}: run `make lock`."


def private(name: str, text: str) -> Iterator[str]:
    if path := MACHINE_PATH.search(text):
        yield f"{name} has a path of one machine, {path[0]}: {mend(name, 'take it out')}."
    if login := LOGIN.search(text):
        keep = "take it out, and keep it in netrc or a keyring"
        yield f"{name} has a user name or a password for {login[1]}: {mend(name, keep)}."


def check_requirements(requires: SpecifierSet, project: dict) -> Iterator[str]:
    pins = []
    for lock, source in LOCKS.items():
        sources, asked = [source], []
        for name in sources:  # A line with -r makes it longer.
            yield from private(name, read(name))
            for entry in entries(name):
                if reasons := [why for line, why in REFUSED.items() if re.match(line, entry.text)]:
                    yield f"{entry.where} {reasons[0]}."
                elif include := INCLUDE.match(entry.text):
                    other = os.path.normpath(Path(name).parent / include[2])
                    if not Path(other).is_file():
                        yield f"{entry.where} names {other}, which is missing: mend that line."
                    elif include[1] in ("-r", "--requirement") and other not in sources:
                        sources.append(other)
                elif entry.requirement:
                    asked.append(entry)
                elif not entry.text.startswith("-"):
                    yield f"{entry.where} is no requirement: write it like `NAME >=1.2`."
        locked = entries(lock)
        pins.append(by_name(entry for entry in locked if entry.version))
        yield from private(lock, read(lock))
        yield from loose(lock, locked)
        yield from disagreements(source, lock, by_name(asked), pins[-1], requires)
    yield from differences(*pins)
    for need in project.get("dependencies", []):
        name = re.split(r"[^\w.-]", need.strip(), maxsplit=1)[0]
        if canonicalize_name(name) not in pins[0]:
            yield (
                f"pyproject.toml asks for {name}, and the lock is made from requirements.in:"
                " write it there, then run `make lock`."
            )


def loose(lock: str, locked: list[Entry]) -> Iterator[str]:
    for entry in locked:
        if not entry.version:
            what = f"is no exact version with a hash, `{bare(entry.text)}`"
            yield f"{entry.where} {what}: run `make lock`."
    unhashed = [pin.requirement.name for pin in locked if pin.version and not pin.hashes]
    if unhashed:
        yield f"{lock} has no hashes for {', '.join(dict.fromkeys(unhashed))}: run `make lock`."


def disagreements(
    source: str, lock: str, asked: Named, pinned: Named, requires: SpecifierSet
) -> Iterator[str]:
    places = list(environments(requires))
    absent, surplus = [], []
    for name in sorted(asked.keys() | pinned.keys()):
        requests, pins = asked.get(name, []), pinned.get(name, [])
        if not pins:
            if any(request.applies(place) for request in requests for place in places):
                absent.append(name)
        elif not requests:
            if any("-r " in pin.via or "via" not in pin.via for pin in pins):
                surplus.append(name)
        elif not all(agree(requests, pins, place) for place in places):
            wants, has = (" and ".join(entry.text for entry in side) for side in (requests, pins))
            yield f"{source} asks for {bare(wants)}, and {lock} has {bare(has)}: run `make lock`."
    if absent:
        yield f"{lock} has no pin for {', '.join(absent)} of {source}: run `make lock`."
    if surplus:
        yield f"{lock} has {', '.join(surplus)}, which {source} does not name: run `make lock`."


def agree(requests: list[Entry], pins: list[Entry], place: dict[str, str]) -> bool:
    """Return whether these pins are what these lines of an .in file need in one environment."""
    requests = [request for request in requests if request.applies(place)]
    pins = [pin for pin in pins if pin.applies(place)]
    if not requests:  # Then there has to be another package that needs the pins.
        return all(re.sub(r"via|-[rc] [^\s,]+|[\s,]", "", pin.via) for pin in pins)
    return bool(pins) and all(pin.fits(request) for pin in pins for request in requests)


def differences(run: Named, dev: Named) -> Iterator[str]:
    for name in sorted(run.keys() & dev.keys()):
        hashes = {pin.version: pin.hashes for pin in run[name]}
        for pin in dev[name]:
            if pin.version not in hashes:
                has = " and ".join(other.text for other in run[name])
                yield (
                    f"requirements.txt has {bare(has)}, and dev-requirements.txt has"
                    f" {bare(pin.text)}: run `make lock`, with the line `-c requirements.txt`"
                    " in dev-requirements.in."
                )
            elif pin.hashes and hashes[pin.version] and pin.hashes != hashes[pin.version]:
                # `make lock` keeps the hashes of a pin that stays, right or wrong.
                yield (
                    f"requirements.txt and dev-requirements.txt have different hashes for {name}:"
                    f' run `make upgrade PACKAGES="{name}"`.'
                )


def check_uv_lock(project: dict) -> Iterator[str]:
    metadata, settings = project.get("project", {}), project.get("tool", {}).get("uv", {})
    asked = [metadata.get(name, []) for name in ("dependencies", "optional-dependencies")]
    asked += [project.get("dependency-groups", {}), settings]
    yield from private("pyproject.toml", json.dumps(asked, default=str, ensure_ascii=False))
    yield from private("uv.lock", read("uv.lock"))
    packages = load(Path("uv.lock")).get("package", [])
    local, unhashed, indexes = {}, [], set()
    for name, value in settings.get("sources", {}).items():
        for source in value if isinstance(value, list) else [value]:
            if source.keys() & {"git", "path", "workspace"}:
                local[canonicalize_name(name)] = "pyproject.toml"
    for package in packages:
        name, source = package["name"], package.get("source", {})
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        if source in ({"editable": "."}, {"virtual": "."}):
            continue  # the project itself
        if not source.keys() & {"registry", "url"}:
            local.setdefault(name, "uv.lock")
        elif not files or not all(re.fullmatch(HASH, file.get("hash", "")) for file in files):
            unhashed.append(name)
        indexes.add(bare(source.get("registry", PUBLIC_INDEX)))
    for name, file in local.items():
        yield f"{file} takes {name} from version control or a folder: {ARCHIVE}."
    if unhashed:
        yield f"uv.lock has no hashes for {', '.join(unhashed)}: run `make lock`."
    known = {bare(index.get("url", "")) for index in settings.get("index", [])} | {PUBLIC_INDEX}
    for index in sorted(indexes - known):
        yield (
            f"uv.lock takes packages from {index}, which pyproject.toml does not name:"
            " add it to [[tool.uv.index]], or run `uv lock --refresh` without it."
        )


def misfit(requires: SpecifierSet) -> Iterator[str]:
    """Ask uv, where no setting of this machine can make it doubt the lock."""
    uv = find_uv()
    if not uv:
        yield "There is no uv to check uv.lock with: run `make setup`."
        return
    command = [uv, "lock", "--check", "--offline", "--no-cache", "--verbose", "--color=never"]
    if requires.contains("{}.{}.{}".format(*sys.version_info)):
        command.append(f"--python={sys.executable}")  # uv would look for another one.
    environment = {name: value for name, value in os.environ.items() if name[:3] != "UV_"}
    environment |= {"UV_NO_SYSTEM_CONFIG": "1", "XDG_CONFIG_HOME": os.devnull}
    result = subprocess.run(
        command, env=environment, check=False, capture_output=True, encoding="utf-8"
    )
    if result.returncode == 0:
        return
    if reason := re.search(r"existing lockfile due to (.*)", result.stderr):
        yield f"uv.lock does not fit pyproject.toml ({reason[1]}): run `make lock`."
    else:
        reason = re.search(r"^error: (.*)", result.stderr, re.MULTILINE)
        why = reason[1] if reason else f"it ended with {result.returncode}"
        yield f"uv cannot check uv.lock ({why}): mend that, then run `make lock`."


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
            number = text.count("\n", 0, line.start()) + 1
            found.append(Entry(f"{name}, line {number},", body, requirement, hashes, comments))
        elif found:
            found[-1].comments.extend(comments)
    return found


def by_name(found: Iterable[Entry]) -> Named:
    named: Named = {}
    for entry in found:
        if entry.requirement:
            named.setdefault(canonicalize_name(entry.requirement.name), []).append(entry)
    return named


def environments(requires: SpecifierSet) -> Iterator[dict[str, str]]:
    """Yield what markers see in the places that a lock is for."""
    for version in (f"3.{minor}" for minor in range(50)):
        python = CPYTHON | {"python_version": version, "python_full_version": f"{version}.0"}
        if requires.contains(f"{version}.0"):
            yield from (python | dict(zip(MARKERS, system, strict=True)) for system in SYSTEMS)


def mend(name: str, edit: str) -> str:
    """Return what to do: a lock is made anew, and all else is edited."""
    return "run `make lock`" if name in MADE else edit


def bare(text: str) -> str:
    """Return a text, such as a URL, without the user names and passwords of its URLs."""
    return LOGIN.sub(r"://\1", text).rstrip("/")


@functools.cache
def load(path: Path) -> dict:
    """Return the tables of a TOML file; uv.lock is large, so it is parsed once."""
    return tomllib.loads(read(path))


def read(name: str | Path) -> str:
    """Return the text of a file, or nothing where there is none."""
    path = Path(name)
    return path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""


if __name__ == "__main__":
    main()

"""Find what is wrong with uv.lock and what it is made of, without network.

uv says whether the lock fits pyproject.toml; the rest is what uv accepts and this project does not.
`tools/packages.py check` prints what this finds: one sentence for each failure, with what to do about it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from lock import LOCKS
from machine import need_uv, run_quietly, without_settings
from project import (
    LOGIN,
    MACHINE_PATH,
    MERGE_MARKERS,
    Problem,
    bare,
    load,
    pythons,
    read,
)

HASH = r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?!\S)"
PUBLIC_INDEX = "https://pypi.org/simple"
PUBLIC_FILES = "https://files.pythonhosted.org"
TORCH = (
    "ask for torch as https://github.com/pinbook/pinbook/blob/main/docs/how-to/add-torch.md says"
)
ARCHIVE = "name an archive, which gets a hash: `NAME @ https://HOST/ARCHIVE.tar.gz`"


def failures(sources_only: bool = False) -> list[str]:
    """Return a sentence for each failure of the lock, or of the files that it is made of.

    Where a source is wrong, the lock is not looked at, because one cause gives one sentence.
    """
    found = list(check_files(sources_only)) or list(dict.fromkeys(check_sources()))
    return found or ([] if sources_only else list(dict.fromkeys(check_locks())))


def check_files(may_be_missing: bool) -> Iterator[str]:
    for name in ("pyproject.toml", "uv.lock"):
        made = name == "uv.lock"
        whole = f"bring it back with `git checkout HEAD {name}`"
        try:
            if MERGE_MARKERS.search(read(name)):
                yield f"{name} has merge markers: {whole if made else 'edit it'}, then run `make lock`."
            elif not Path(name).is_file() and not (may_be_missing and made):
                yield f"{name} is missing: {whole}{', or create it with `make lock`' * made}."
            elif load(Path(name)) and not made:
                pythons()
        except Problem as problem:
            yield str(problem)


def check_sources() -> Iterator[str]:
    """Check what pyproject.toml asks for."""
    project = load(Path("pyproject.toml"))
    metadata, settings = project.get("project", {}), project.get("tool", {}).get("uv", {})
    asked = [metadata.get(name, []) for name in ("dependencies", "optional-dependencies")]
    asked += [project.get("dependency-groups", {}), settings]
    yield from check_private("pyproject.toml", json.dumps(asked, default=str, ensure_ascii=False))
    for name, value in settings.get("sources", {}).items():
        for source in value if isinstance(value, list) else [value]:
            if source.keys() & {"git", "path", "workspace"}:
                yield f"pyproject.toml takes {name} from version control or a folder: {ARCHIVE}."


def check_private(name: str, text: str) -> Iterator[str]:
    if path := MACHINE_PATH.search(text):
        yield f"{name} has a path of one machine, {path[0]}: take it out."
    if login := LOGIN.search(text):
        keep = "take it out, and keep it in netrc or a keyring"
        yield f"{name} has a user name or a password for {login[1]}: {keep}."


def cuda_for_cpu() -> Iterator[str]:
    """Say where a project for the CPU would install CUDA, which is several GB."""
    answered = re.search(r"^accelerator: cpu$", read(".copier-answers.yml"), re.MULTILINE)
    for lock, text in zip(LOCKS, map(read, LOCKS), strict=True):
        cuda = re.findall(r'(?m)^(?:name = ")?((?:nvidia|cuda)-[\w-]+|triton)(?:==|")', text)
        pypi = r"\n.*\nsource = \{ registry.*\n(?!resolution-markers)"
        cuda += re.findall(rf'(?m)^name = "(torchvision|torchaudio)"{pypi}', text)
        if cuda and (answered or "%2Bcpu-" in text):
            yield f"{lock} has {cuda[0]}, which is for CUDA, in a project for the CPU: {TORCH}."


def check_locks() -> Iterator[str]:
    yield from cuda_for_cpu()
    yield from check_python()
    yield from check_private("uv.lock", read("uv.lock"))
    packages = load(Path("uv.lock")).get("package", [])
    # The project itself has no file.
    packages = [package for package in packages if "." not in package.get("source", {}).values()]
    yield from check_hashes(packages)
    yield from check_addresses(packages, load(Path("pyproject.toml")))
    yield from check_fit()


def check_python() -> Iterator[str]:
    line = re.compile(r"^FROM \S*python:(\d+\.\d+)\S* AS pinned", re.MULTILINE | re.IGNORECASE)
    image, requires = line.search(read("Dockerfile")), pythons()
    if image and not any(requires.contains(f"{image[1]}.{patch}") for patch in range(100)):
        yield (
            f"pyproject.toml has requires-python {requires}, and the image has Python {image[1]}:"
            " change requires-python, then run `make lock`."
        )


def check_hashes(packages: list[dict]) -> Iterator[str]:
    unhashed = []
    for package in packages:
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        if not package.get("source", {}).keys() & {"registry", "url"}:
            yield f"uv.lock takes {package['name']} from version control or a folder: {ARCHIVE}."
        elif not files or not all(re.fullmatch(HASH, file.get("hash", "")) for file in files):
            unhashed.append(package["name"])
    if unhashed:
        yield f"uv.lock has no hashes for {', '.join(unhashed)}: run `make lock`."


def check_addresses(packages: list[dict], project: dict) -> Iterator[str]:
    """Check that each file lies with its index, or where pyproject.toml says."""
    named = json.dumps(project)
    indexes = project.get("tool", {}).get("uv", {}).get("index", [])
    known = {bare(index.get("url", "")).rstrip("/") for index in indexes} | {PUBLIC_INDEX}
    sites = {site(url) for url in known | {PUBLIC_FILES}}
    unknown: set[str] = set()
    foreign: dict[str, str] = {}
    for package in packages:
        source = package.get("source", {})
        index = bare(source.get("registry", PUBLIC_INDEX)).rstrip("/")
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")]), source]
        urls = [file["url"] for file in files if "url" in file]
        if index not in known:
            unknown.add(index)
        else:
            wrong = [u for u in urls if insecure(u) or not (u in named or site(u) in sites)]
            if wrong:
                foreign[package["name"]] = wrong[0]
    for index in sorted(unknown):
        yield (
            f"uv.lock takes packages from {index}, which pyproject.toml does not name:"
            " add it to [[tool.uv.index]], or run `uv lock --refresh` without it."
        )
    for name, url in foreign.items():
        yield (
            f"uv.lock takes {name} from {bare(url)}, which is neither with its index nor in"
            f' pyproject.toml: run `make upgrade PACKAGES="{name}"`.'
        )


def site(url: str) -> str:
    """Return the host of a URL without its first part: many an index has its files on another."""
    host = urlsplit(bare(url)).netloc
    return (
        host if host.count(".") == 1 or re.match(r"[\d.]+(:|$)", host) else host.partition(".")[2]
    )


def insecure(url: str) -> bool:
    """Say whether others can change a file on its way; nobody can on one's own machine."""
    return not re.match(r"https://|http://(localhost|127\.\d+\.\d+\.\d+|\[::1])[:/]", bare(url))


def check_fit() -> Iterator[str]:
    """Ask uv, where no setting of this machine can make it doubt the lock."""
    options = ["--check", "--offline", "--no-cache", "--verbose", "--color=never"]
    command = [need_uv(), "lock", *options]
    if pythons().contains("{}.{}.{}".format(*sys.version_info)):
        command.append(f"--python={sys.executable}")  # uv would look for another one.
    result = run_quietly(*command, env=without_settings())
    if result.returncode == 0:
        return
    if reason := re.search(r"existing lockfile due to (.*)", result.stderr):
        yield f"uv.lock does not fit pyproject.toml ({reason[1]}): run `make lock`."
    else:
        reason = re.search(r"^error: (.*)", result.stderr, re.MULTILINE)
        why = reason[1] if reason else f"it ended with {result.returncode}"
        yield f"uv cannot check uv.lock ({why}): correct that, then run `make lock`."

"""Check that uv.lock holds what a lock promises, without network.

    python tools/lockcheck.py [--root FOLDER]

uv says whether the lock fits pyproject.toml; the rest is what uv accepts and this project does not.
Nothing is written. Each failure is one sentence on standard error, with what to do about it.

Exit codes: 0 the lock is right, 1 it is not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from lock import LOCKS
from project import LOGIN, MACHINE_PATH, MERGE_MARKERS, READY, Problem, bare, load, read

if READY:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

HASH = r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?!\S)"
PUBLIC_INDEX = "https://pypi.org/simple"
PUBLIC_FILES = "https://files.pythonhosted.org"
TORCH = (
    "ask for torch as https://github.com/pinbook/pinbook/blob/main/docs/how-to/add-torch.md says"
)
ARCHIVE = "name an archive, which gets a hash: `NAME @ https://HOST/ARCHIVE.tar.gz`"


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
    for name in ("pyproject.toml", "uv.lock"):
        path = Path(name)
        whole = f"bring it back with `git checkout HEAD {name}`"
        made = name == "uv.lock"
        try:
            text = read(path)
            if MERGE_MARKERS.search(text):
                yield f"{name} has merge markers: {whole if made else 'edit it'}, then run `make lock`."
            elif not path.is_file() and not (may_be_missing and made):
                create = ", or create it with `make lock`" if made else ""
                yield f"{name} is missing: {whole}{create}."
            else:
                SpecifierSet(load(path).get("project", {}).get("requires-python", ""))
        except Problem as problem:
            yield str(problem)
        except InvalidSpecifier as error:
            yield f"pyproject.toml cannot be read ({error}): correct it by hand."


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
    project = load(Path("pyproject.toml"))
    requires = SpecifierSet(project.get("project", {}).get("requires-python", ""))
    yield from check_python(requires)
    yield from check_private("uv.lock", read("uv.lock"))
    packages = load(Path("uv.lock")).get("package", [])
    # The project itself has no file.
    packages = [package for package in packages if "." not in package.get("source", {}).values()]
    yield from check_hashes(packages)
    yield from check_addresses(packages, project)
    yield from check_fit(requires)


def check_python(requires: SpecifierSet) -> Iterator[str]:
    line = re.compile(r"^FROM \S*python:(\d+\.\d+)\S* AS pinned", re.MULTILINE | re.IGNORECASE)
    image = found[1] if (found := line.search(read("Dockerfile"))) else ""
    if image and not any(requires.contains(f"{image}.{patch}") for patch in range(100)):
        yield (
            f"pyproject.toml has requires-python {requires}, and the image has Python {image}:"
            " change requires-python, then run `make lock`."
        )
    if not any(bound.operator in (">=", "~=", "==", "===") for bound in requires):
        yield 'pyproject.toml needs a line like requires-python = ">=3.11": add it.'


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
    known = {bare(index.get("url", "")) for index in indexes} | {PUBLIC_INDEX}
    sites = {site(url) for url in known | {PUBLIC_FILES}}
    unknown: set[str] = set()
    foreign: dict[str, str] = {}
    for package in packages:
        source = package.get("source", {})
        index = bare(source.get("registry", PUBLIC_INDEX))
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


def check_fit(requires: SpecifierSet) -> Iterator[str]:
    """Ask uv, where no setting of this machine can make it doubt the lock."""
    folders = [Path(".venv/bin"), Path(".venv/Scripts"), Path(sys.executable).parent]
    path = [*(str(folder.absolute()) for folder in folders), os.environ.get("PATH", "")]
    uv = shutil.which("uv", path=os.pathsep.join(path))
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
        yield f"uv cannot check uv.lock ({why}): correct that, then run `make lock`."


if __name__ == "__main__":
    main()

"""Make, install and read the lock of this project: requirements.txt and dev-requirements.txt.

uv makes them from the .in files beside them, for tools/packages.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL, PIPE

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
from project import Problem, load, oldest_python, pyproject, read
from requirements import LOCKS

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
    """Return what the lock says of uv, in pip's format."""
    if pin := re.search(r"^uv==(?:.*\\\n)*.*\n", read("dev-requirements.txt"), re.MULTILINE):
        return pin[0]
    raise Problem("The lock has no uv: add it to dev-requirements.in, or install it.")


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
    root = re.sub(r"[-_.]+", "-", load(pyproject())["project"]["name"]).lower()
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

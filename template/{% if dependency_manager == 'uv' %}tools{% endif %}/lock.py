"""Make, install and read the lock of this project: uv.lock, which uv makes from pyproject.toml."""

from __future__ import annotations

import os
import re
from pathlib import Path

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
from project import Problem, load, read

LOCKS = {"uv.lock": "pyproject.toml"}
PIN = re.compile(r'^\[\[package]]\nname = "(.+)"\nversion = "(.+)"', re.MULTILINE)


def install_locked(uv: str, folder: Path) -> None:
    """Fill .venv from the lock; where its files cannot be had, ask wheels/ or another index."""
    sync: list[str | Path] = [uv, "sync", "--python", VENV_PYTHON]
    if not WHEELS.exists() and succeeds(*sync, "--locked"):
        return
    file = export(uv, folder)
    # How old a release has to be was decided when it was locked.
    options: list[str | Path] = ["--python", VENV_PYTHON, "--exclude-newer=false"]
    if WHEELS.exists():
        (adapted,), built = adapt_to_wheels([file], folder)
        offline = ["--no-index", "--find-links=wheels"]
        there = [*options, *offline, "--require-hashes", "--dry-run", adapted]
        if succeeds(uv, "pip", "sync", *there):
            options, file = [*options, *offline], adapted
            if built:
                print(f"Built by `make wheels`, from sources with the hash of the lock: {built}")
    if "--no-index" not in options and lock_fits(uv, environment()):
        # uv.lock knows more than pip's format: which package comes from which index.
        run_hashed(*sync, "--frozen", "--no-install-project")
    else:
        strict = ["--require-hashes", "--allow-empty-requirements"]
        run_hashed(uv, "pip", "sync", *options, *strict, file)
    if "[build-system]" in read("pyproject.toml"):
        # The build backend is there now, so nothing has to be fetched for the project itself.
        own = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
        run(uv, "pip", "install", *options, *own)


def export(uv: str, folder: Path, *options: str) -> Path:
    """Write uv.lock in pip's format into a folder."""
    file = folder / "uv.txt"
    command = [uv, "export", "--quiet", "--frozen", "--no-emit-project", *options]
    run(*command, f"--output-file={file}")
    return file


def part_of_lock(part: str, folder: Path) -> Path:
    """Write ``run``, what the project needs, or ``dev``, its tools too, in pip's format."""
    return export("uv", folder, *["--no-dev"] if part == "run" else [])


def refuse_stale(_: Path) -> None:
    """Refuse a lock that does not fit pyproject.toml."""
    # uv cannot check a lock with addresses offline, because it would have to ask there.
    if "source = { url" not in read("uv.lock") and not lock_fits("uv", without_settings()):
        raise Problem("uv.lock does not fit pyproject.toml: run `make lock`.")


def lock_fits(uv: str, env: dict[str, str]) -> bool:
    """Say whether uv.lock fits pyproject.toml and the settings of uv; this asks no index."""
    check: list[str | Path] = [uv, "lock", "--check", "--offline"]
    if VENV_PYTHON.exists():
        check += ["--no-build-isolation", "--python", VENV_PYTHON]
    return succeeds(*check, env=env)


def uv_pin() -> str:
    """Return what the lock says of uv, in pip's format, or nothing where it has none."""
    for package in load(Path("uv.lock")).get("package", []):
        if package["name"] == "uv":
            hashes = [f"--hash={wheel['hash']}" for wheel in package["wheels"]]
            return " ".join([f"uv=={package['version']}", *hashes])
    return ""


def make(uv: str, options: tuple[str, ...] = (), folder: Path = Path()) -> None:
    """Lock what pyproject.toml asks for in place or, with the same versions, in a folder."""
    print("Resolving pyproject.toml", flush=True)
    if folder != Path():
        ask_for_pins(uv, folder)
    elif not options:
        options = tuple(f"--upgrade-package={name}" for name in unhashed())
    # An index of pip's stays out of uv.lock.
    own_index = {"UV_DEFAULT_INDEX": os.environ.get("UV_DEFAULT_INDEX", "")}
    run(uv, "lock", "--project", folder, *options, env=environment() | own_index)


def unhashed() -> list[str]:
    """Return the packages of an index whose hashes were lost: uv leaves such an entry as it is."""
    names = []
    for package in load(Path("uv.lock")).get("package", []):
        files = [package.get("sdist"), *package.get("wheels", [])]
        if "registry" in package["source"] and not all("hash" in file for file in files if file):
            names.append(f"{package['name']}=={package['version']}")
    return names


def ask_for_pins(uv: str, folder: Path) -> None:
    """Write a pyproject.toml into a folder that has the locked versions as constraints."""
    options = ["--all-groups", "--all-extras", "--no-hashes", "--no-annotate", "--no-header"]
    pinned = re.findall(r"(?m)^\w.*==.*", read(export(uv, folder, *options)))
    versions = "constraint-dependencies = [" + "".join(f'"{pin}", ' for pin in pinned)
    text = read("pyproject.toml")
    if "constraint-dependencies = [" in text:
        text = text.replace("constraint-dependencies = [", versions)
    else:
        text = re.sub(r"(?m)^\[tool\.uv]$|\Z", f"[tool.uv]\n{versions}]", text, count=1)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def pinned_files(lock_file: Path) -> dict[str, set[str]]:
    """Return the hashes of each package of a lock."""
    return {
        f"{package['name']}=={package.get('version', '')}": {
            file["hash"] for file in [*package.get("wheels", []), package.get("sdist", {})] if file
        }
        for package in load(lock_file).get("package", [])
    }


def with_uv_lock(_: Path) -> Path:
    """Return the folder of uv.lock: this one."""
    if "sha256:" not in read("uv.lock"):
        raise Problem("Nothing is locked with a hash, so nothing was checked: run `make lock`.")
    return Path()

"""Install and lock the packages of this project, with uv.

    python tools/packages.py install            make .venv hold exactly what the lock says
    python tools/packages.py lock               make requirements*.txt fit requirements*.in again
    python tools/packages.py upgrade [NAME ...] move the pins to the newest versions

Index, proxy and certificate settings come from uv's environment variables or, where those are not
set, from pip's settings (PIP_... and pip.conf), so none of them has to stand in a committed file.

Exit codes: 0 done, 1 something is missing (one sentence says what), 2 wrong usage, otherwise that
of the uv or pip command that failed.
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = {"requirements.in": "requirements.txt", "dev-requirements.in": "dev-requirements.txt"}
VENV_PYTHON = Path(".venv", "Scripts/python.exe" if os.name == "nt" else "bin/python")
# pip's extra-index-url is not among them: uv asks an extra index first for every package, so what
# one machine has there would end up in everybody's lock. UV_INDEX adds one knowingly.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder of the requirements (default: this one)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("install", help="make .venv hold exactly what the lock says")
    command.add_argument(
        "--python",
        metavar="X.Y",
        default="{}.{}".format(*sys.version_info),
        help="Python version of .venv (default: %(default)s)",
    )
    commands.add_parser("lock", help="make the .txt files fit the .in files; pins stay if they can")
    command = commands.add_parser("upgrade", help="move the pins to the newest versions")
    command.add_argument("names", nargs="*", metavar="NAME", help="packages (default: all)")
    args = parser.parse_args()

    try:
        os.chdir(args.root)
    except OSError as error:
        parser.error(f"--root {args.root}: {error.strerror}")
    try:
        if args.command == "install":
            install(args.python)
        elif args.command == "lock":
            lock()
        else:
            upgrade(args.names)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # The command itself has said why.
    except KeyboardInterrupt:
        sys.exit(130)


def install(version: str) -> None:
    """Make .venv hold exactly the locked packages, and this project in editable form.

    An environment of another Python version is replaced; a uv that is missing comes from the lock.
    """
    venv = Path(".venv")
    ours = venv.is_dir() and ((venv / "pyvenv.cfg").exists() or not any(venv.iterdir()))
    if os.path.lexists(venv) and (venv.is_symlink() or not ours):
        sys.exit(".venv is no virtual environment of this project: move it away, then try again.")
    refuse_markers()
    for lock_file in LOCKS.values():
        if not Path(lock_file).exists():
            sys.exit(f"{lock_file} is missing: bring it back with `git checkout {lock_file}`.")

    if python_version(VENV_PYTHON) != version:
        python = find_python(version)
        if python_version(VENV_PYTHON) != python_version(python):
            create_venv(python)
    uv = find_uv() or install_uv()
    # `make lock`, which adds hashes, needs what has been made up to here.
    for lock_file in LOCKS.values():
        # A hash stands on a line of its own, after a backslash.
        if unhashed := re.findall(r"^([\w.-]+)==[^\\\n]*$", read(lock_file), re.MULTILINE):
            sys.exit(f"{lock_file} has no hashes for {', '.join(unhashed)}: run `make lock`.")
    install = [uv, "pip", "install", "--python", VENV_PYTHON]
    locked = [f"--requirements={lock_file}" for lock_file in LOCKS.values()]
    run(*install, "--require-hashes", *locked)
    # Now the build backend is there, so that nothing has to be fetched for the project itself.
    own = ["--editable", "."] if "[build-system]" in read(pyproject()) else []
    run(*install, "--quiet", "--exact", "--no-deps", "--no-build-isolation", *locked, *own)


def create_venv(python: str) -> None:
    """Make an empty .venv, without pip if the machine has a uv."""
    print(f"Creating .venv with Python {python_version(python)}", flush=True)
    uv = shutil.which("uv")
    if uv and not Path(uv).is_relative_to(Path(".venv").absolute()):
        run(uv, "venv", "--quiet", "--clear", "--python", python, ".venv")
    else:
        run(python, "-m", "venv", "--clear", ".venv")


def find_python(version: str) -> str:
    """Return an interpreter of this version, or this one (with a warning) where there is none."""
    candidates = [shutil.which(f"python{version}"), shutil.which("python3"), sys.executable]
    if shutil.which("pyenv"):
        versions = Path(output("pyenv", "root"), "versions")
        candidates += sorted(versions.glob(f"{version}.*/bin/python"))
    for candidate in candidates:
        if python_version(candidate) == version:
            return candidate
    if uv := find_uv():  # It also downloads Pythons.
        subprocess.run([uv, "python", "install", version], check=False)
        if python := output(uv, "python", "find", "--managed-python", version):
            return python
    missing = f"Python {version} is not on this machine"
    if sys.version_info < tuple(map(int, oldest_python().split("."))):
        sys.exit(
            f"{missing}, and the lock covers none before {oldest_python()}: install it, or uv."
        )
    here = python_version(sys.executable)
    print(
        f"{missing}: using {here}, which the lock covers too. To have the Python of the image here,"
        f" install {version} or uv and run this again.",
        file=sys.stderr,
    )
    return sys.executable


def find_uv() -> str | None:
    """Return the uv of this project, or else that of the machine."""
    own = [str(VENV_PYTHON.parent), str(Path(sys.executable).parent)]
    return shutil.which("uv", path=os.pathsep.join([*own, os.environ["PATH"]]))


def install_uv() -> str:
    """Install the locked uv into .venv with pip, and return its path."""
    entry = re.search(r"^uv==(?:.*\\\n)*.*\n", read("dev-requirements.txt"), re.MULTILINE)
    if not entry:
        sys.exit("There is no uv: install it, or add it to dev-requirements.in and the lock.")
    output(VENV_PYTHON, "-m", "ensurepip")
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "uv.txt")
        requirement.write_text(entry[0])
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        run(VENV_PYTHON, "-m", "pip", "install", *options, "-r", requirement)
    return find_uv()


def lock(*options: str) -> None:
    """Compile the .in files for all platforms and all Pythons that requires-python admits.

    Either both .txt files are renewed or none is: where a resolution fails, uv says why.
    """
    uv = find_uv() or sys.exit("There is no uv: run `make setup`.")
    refuse_markers()
    before = {lock_file: read(lock_file) for lock_file in LOCKS.values()}
    try:
        for source, lock_file in LOCKS.items():
            print(f"Resolving {source}", flush=True)
            run(
                *(uv, "pip", "compile", "--quiet", source, "--output-file", lock_file),
                *("--universal", "--python-version", oldest_python(), "--generate-hashes"),
                *("--custom-compile-command", "make lock", *options),
            )
    except BaseException:
        for lock_file, text in before.items():
            if not text:
                Path(lock_file).unlink(missing_ok=True)
            elif read(lock_file) != text:
                Path(lock_file).write_text(text, encoding="utf-8", newline="\n")
        raise
    for lock_file, text in before.items():
        for line in moved_pins(text, read(lock_file)):
            print(f"  {line}")


def upgrade(names: list[str]) -> None:
    """Move the pins of these packages, or of all, to the newest versions."""
    locked = pins("".join(map(read, LOCKS.values())))
    for name in names:
        if re.sub(r"[-_.]+", "-", name).lower() not in locked:
            sys.exit(f"{name} is in no lock: add it to requirements.in, then run `make lock`.")
    lock(*[f"--upgrade-package={name}" for name in names] or ["--upgrade"])


def moved_pins(before: str, after: str) -> list[str]:
    """Return a line like ``numpy 2.4.6 -> 2.5.5`` for each package whose pins differ."""
    old, new = pins(before), pins(after)
    return [
        f"{name} {old.get(name, 'new')} -> {new.get(name, 'removed')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def pins(text: str) -> dict[str, str]:
    """Return the pinned version of each package; several, when Pythons differ, with commas."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, env=environment())


@functools.cache
def environment() -> dict[str, str]:
    """Return the environment for uv, with what only pip has been told about index and network."""
    configured = dict(os.environ)
    if "UV_INDEX_URL" in os.environ:
        configured.setdefault("UV_DEFAULT_INDEX", os.environ["UV_INDEX_URL"])
    for name, uv_name in UV_NAMES.items():  # which also works where this Python has no pip
        if value := os.environ.get("PIP_" + name.replace("-", "_").upper()):
            configured.setdefault(uv_name, value)
    settings = output(sys.executable, "-m", "pip", "config", "list")
    for section in ("install", "global"):  # as pip ranks them
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", settings, re.MULTILINE):
            if name in UV_NAMES:
                configured.setdefault(UV_NAMES[name], ast.literal_eval(value))
    return configured


def output(*command: str | Path) -> str:
    """Return what a command prints, or nothing where it fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def python_version(python: str | Path | None) -> str:
    """Return the version, like ``3.13``, of an interpreter; nothing where it does not run."""
    return (
        output(python, "-c", "import sys; print('%s.%s' % sys.version_info[:2])") if python else ""
    )


def oldest_python() -> str:
    """Return the oldest Python, like ``3.11``, that the project admits."""
    if line := re.search(r'^requires-python = ">=([\d.]+)"', read(pyproject()), re.MULTILINE):
        return line[1]
    sys.exit(f'{pyproject()} needs a line like requires-python = ">=3.11".')


def pyproject() -> Path:
    """Return the pyproject.toml of this folder, or of the nearest folder above that has one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").exists():
            return folder / "pyproject.toml"
    sys.exit("pyproject.toml is missing: bring it back with `git checkout pyproject.toml`.")


def refuse_markers() -> None:
    """End with a sentence where a merge has left both sides in a lock."""
    for lock_file in LOCKS.values():
        if "<<<<<<< " in read(lock_file):
            sys.exit(
                f"{lock_file} has merge markers: take one side with `git checkout --ours"
                f" {lock_file}`, then run `make lock`."
            )


def read(path: str | Path) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""


if __name__ == "__main__":
    main()

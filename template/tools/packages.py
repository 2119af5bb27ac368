"""Install and lock the packages of this project, with uv.

    python tools/packages.py install            make .venv hold exactly what the lock says
    python tools/packages.py lock               make the lock fit what the project asks for again
    python tools/packages.py upgrade [NAME ...] move the pins to the newest versions
    python tools/packages.py check              look, without network, whether the lock is right
    python tools/packages.py compare            make the lock again elsewhere, and compare (for CI)
    python tools/packages.py audit              look for known vulnerabilities of what is locked
    python tools/packages.py hooks              install the git hooks, with pre-commit
    python tools/packages.py collect PART DIR   put the wheels of a part of the lock into a folder

Index, proxy and certificate settings come from uv's environment variables or, where those are not
set, from pip's settings (PIP_... and pip.conf), so none of them has to stand in a committed file.
Where wheels/ (see `make wheels`) has what this machine needs, `install` asks no index.

Exit codes: 0 done, 1 something is missing or vulnerable (one sentence says what), 2 wrong usage, or
that of the uv or pip command that failed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE

try:
    import tomllib  # noqa: F401
except ModuleNotFoundError:
    sys.exit("This needs Python 3.11 or newer: install it, or uv, which brings one.")

sys.path.insert(0, str(Path(__file__).parent))  # where PYTHONSAFEPATH leaves it out
import lock as locking
import machine
from lock import LOCKS
from lockcheck import failures
from machine import VENV_PYTHON, environment, output, run
from project import READY, Problem, normal, pyproject, read

STATE = Path(".venv/installed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=root, help="folder of the lock")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    here = "{}.{}".format(*sys.version_info)
    install = commands.add_parser("install")
    install.add_argument("--python", metavar="X.Y", type=minor_version, default=here)
    for name in ("lock", "check", "compare", "hooks"):
        commands.add_parser(name)
    commands.add_parser("upgrade").add_argument("names", nargs="*", metavar="NAME")
    commands.add_parser("audit").add_argument("options", nargs="*", metavar="-- OPTION")
    collect = commands.add_parser("collect")
    collect.add_argument("part", choices=["run", "dev", "uv"])
    collect.add_argument("folder", type=Path, metavar="DIR")
    args = vars(parser.parse_args())

    name, root = args.pop("command"), args.pop("root")
    if not root.is_dir():
        parser.error(f"--root {root}: there is no such folder")
    os.chdir(root)
    # SIGTERM ends like Ctrl-C, because `lock` then brings back what was there.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        globals()[name](*args.values())
    except Problem as problem:
        sys.exit(str(problem))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # The command itself has said why.
    except KeyboardInterrupt:
        sys.exit(130)


def minor_version(text: str) -> str:
    """Return a version like ``3.13``; argparse says which text is none."""
    if not re.fullmatch(r"\d+\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text} is no version like 3.13")
    return text


def check() -> None:
    """Refuse a lock that is not right."""
    if not READY:
        raise Problem("The lock check needs the package `packaging`: run it through `make lint`.")
    refuse_wrong()


def refuse_wrong(sources_only: bool = False) -> None:
    """Refuse what the lock check refuses, where this Python has the package for that."""
    if READY and (sentences := failures(sources_only)):
        raise Problem("\n".join(sentences))


def install(version: str) -> None:
    """Make .venv hold exactly the locked packages, and this project in editable form.

    An environment of another Python version is replaced; a uv that is missing comes from the lock.
    """
    venv = STATE.parent
    ours = venv.is_dir() and ((venv / "pyvenv.cfg").exists() or not any(venv.iterdir()))
    if os.path.lexists(venv) and (venv.is_symlink() or not ours):
        raise Problem(
            ".venv is no virtual environment of this project: move it away, then try again."
        )
    if machine.venv_version() == version and read(STATE) == state():
        return
    if machine.venv_version() != version:
        machine.create_venv(version)
    uv = machine.find_uv() or machine.install_uv(locking.uv_pin())
    refuse_wrong()  # `make lock`, which repairs it, needs what has been made up to here.
    with tempfile.TemporaryDirectory() as folder:
        locking.install_locked(uv, Path(folder))
    STATE.write_text(state(), encoding="utf-8")


def state() -> str:
    """Return a checksum of the lock, its sources, and the names of what is installed."""
    files = [pyproject(), *map(Path, [*LOCKS, *LOCKS.values()])]
    found = [file.read_bytes() for file in files if file.is_file()]
    folders = "lib/python*/site-packages", "Lib/site-packages"
    infos = [info for folder in folders for info in STATE.parent.glob(f"{folder}/*.dist-info")]
    names = sorted({os.fsencode(info.name) for info in infos})
    return hashlib.sha256(b"\0".join([*found, *names])).hexdigest()


def hooks() -> None:
    """Install the git hooks of .pre-commit-config.yaml; make a repository where there is none."""
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        run("git", "init", "--quiet", "--initial-branch", "main")
    found = machine.run_quietly("git", "rev-parse", "--git-path", "hooks", "--show-prefix")
    if found.returncode:
        raise Problem(f"git cannot use this repository. It says: {' '.join(found.stderr.split())}")
    hooks, prefix = found.stdout.splitlines()
    pre_commit = Path(hooks, "pre-commit")
    present = pre_commit.read_bytes().decode(errors="replace") if pre_commit.exists() else ""
    if prefix:
        print("No hooks: they work only at the top of a git repository.", file=sys.stderr)
    elif folder := output("git", "config", "core.hooksPath"):
        print(
            f"No hooks: git looks for them in {folder} (core.hooksPath). Call"
            f" '{VENV_PYTHON.parent}/pre-commit run' from the pre-commit hook there.",
            file=sys.stderr,
        )
    elif "prek" in present:
        print("The hooks of prek stay.")
    elif str(VENV_PYTHON.absolute()) not in present or not Path(hooks, "pre-push").exists():
        run(VENV_PYTHON.with_name("pre-commit"), "install")


def collect(part: str, folder: Path) -> None:
    """Put the wheels of one part of the lock into a folder; pip checks each against its hashes.

    ``part`` is ``run`` (what the project needs), ``dev`` (its tools), or ``uv``.
    """
    with tempfile.TemporaryDirectory() as temporary:
        if part == "uv":
            if not (pin := locking.uv_pin()):
                raise Problem(f"The lock has no uv: add it to {list(LOCKS.values())[-1]}.")
            locked = Path(temporary, "uv.txt")
            locked.write_text(pin, encoding="utf-8")
        else:
            locked = locking.part_of_lock(part, Path(temporary))
        machine.collect_wheels(locked, folder, Path(temporary))
        if part == "run":
            locking.refuse_stale(folder)


def lock(*options: str) -> None:
    """Make the lock, for all platforms and all Pythons that requires-python admits.

    Either all of its files are replaced or none is: where a resolution fails, uv says why.
    """
    uv = machine.need_uv()
    refuse_wrong(sources_only=True)
    before = {file: file.read_bytes() for file in map(Path, LOCKS) if file.exists()}
    try:
        locking.make(uv, options)
        refuse_wrong()
    except BaseException:
        for file in map(Path, LOCKS):
            if file not in before:
                file.unlink(missing_ok=True)
            elif file.read_bytes() != before[file]:
                file.write_bytes(before[file])
        raise
    report(b"\n".join(before.values()).decode())


def upgrade(names: list[str]) -> None:
    """Move the pins of these packages, or of all, to the newest versions."""
    locked = pins("".join(map(read, LOCKS)))
    for name in names:
        if normal(re.split(r"[^\w.-]", name)[0]) not in locked:
            source = next(iter(LOCKS.values()))
            raise Problem(f"{name} is in no lock: add it to {source}, then run `make lock`.")
    lock(*[f"--upgrade-package={name}" for name in names] or ["--upgrade"])


def report(before: str) -> None:
    """Print a table with lines like ``numpy  2.4.6  ->  2.5.5`` of the packages whose pins differ."""
    old, new = pins(before), pins("".join(map(read, LOCKS)))
    moved = [
        (name, old.get(name, "new"), new.get(name, "removed"))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    widths = [max(map(len, column)) for column in zip(*moved, strict=True)]
    for name, was, now in moved:
        print(f"  {name:{widths[0]}}  {was:{widths[1]}}  ->  {now}")
    print("Now `make setup` installs it." if moved else "All versions stay.")


def pins(locks: str) -> dict[str, str]:
    """Return the pinned version of each package; several, when Pythons differ, with commas."""
    found: dict[str, list[str]] = {}
    for name, version in dict.fromkeys(locking.PIN.findall(locks)):
        found.setdefault(name, []).append(version)
    return {name: ", ".join(versions) for name, versions in found.items()}


def compare() -> None:
    """Lock again elsewhere, with the same versions, and refuse what the index would not give.

    A file that was uploaded after the release was locked is no difference.
    """
    uv = machine.need_uv()
    refuse_wrong()
    with tempfile.TemporaryDirectory() as folder:
        locking.make(uv, folder=Path(folder))
        for name in LOCKS:
            locked, made = (locking.pinned_files(Path(place, name)) for place in (".", folder))
            other = [pin for pin in locked if pin not in made or locked[pin] - made[pin]]
            if names := ", ".join(sorted({*other, *made.keys() - locked.keys()})):
                raise Problem(
                    f"{name} has other packages or hashes than the index gives, {names}: run"
                    " `make lock`, and look at what changes."
                )
    print("The index gives the same lock.")


def audit(options: list[str]) -> None:
    """Ask the OSV database, through uv, about every version in the lock."""
    uv = machine.need_uv()
    refuse_wrong()
    with tempfile.TemporaryDirectory() as folder:
        cwd = locking.with_uv_lock(Path(folder))
        command = [uv, "audit", "--frozen", "--preview-features=audit-command", *options]
        env = {"UV_HTTP_RETRIES": "1"} | environment()
        result = subprocess.run(command, check=False, cwd=cwd, env=env, stderr=PIPE, text=True)
    if "error sending request" in result.stderr:
        cause = result.stderr.strip().rpartition("cause: ")[2]
        raise Problem(f"No source of advisories answers, so nothing was checked: {cause}.")
    sys.stderr.write(result.stderr)
    sys.exit(result.returncode)


if __name__ == "__main__":
    main()

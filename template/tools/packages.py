"""Install and lock the packages of this project, with uv.

    python tools/packages.py install            make .venv hold exactly what the lock says
    python tools/packages.py lock               make the lock fit what the project asks for again
    python tools/packages.py upgrade [NAME ...] move the pins to the newest versions
    python tools/packages.py audit              look for known vulnerabilities of what is locked
    python tools/packages.py hooks              install the git hooks, with pre-commit
    python tools/packages.py collect PART DIR   put the wheels of a part of the lock into a folder

The lock is requirements.txt and dev-requirements.txt, made from the .in files beside them, or,
where there is no requirements.in, uv.lock, made from pyproject.toml.

Index, proxy and certificate settings come from uv's environment variables or, where those are not
set, from pip's settings (PIP_... and pip.conf), so none of them has to stand in a committed file.
Where wheels/ (see `make wheels`) has what this machine needs, `install` asks no index.

Exit codes: 0 done, 1 something is missing or vulnerable (one sentence says what), 2 wrong usage, or
that of the uv or pip command that failed.
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL, PIPE

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit("This needs Python 3.11 or newer: install it, or uv, which brings one.")

LOCKS = {"requirements.txt": "requirements.in", "dev-requirements.txt": "dev-requirements.in"}
PUBLIC_INDEX = "https://pypi.org/simple"
WHEELS = Path("wheels/SHA256SUMS")
MERGE_MARKERS = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)
# The first that knows all options below.
OLDEST_UV = (0, 11, 33)
VENV_PYTHON = Path(".venv", "Scripts/python.exe" if os.name == "nt" else "bin/python")
# pip's extra-index-url is not among them: uv asks an extra index first for every package, so what
# one machine has there would end up in everybody's lock. UV_INDEX adds one knowingly.
UV_NAMES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_PROXY": "ALL_PROXY",
}


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
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("install", help="make .venv hold exactly what the lock says")
    command.add_argument(
        "--python",
        metavar="X.Y",
        type=minor_version,
        default="{}.{}".format(*sys.version_info),
        help="Python version of .venv (default: %(default)s)",
    )
    commands.add_parser("lock", help="make the lock fit again; pins stay if they can")
    command = commands.add_parser("upgrade", help="move the pins to the newest versions")
    command.add_argument("names", nargs="*", metavar="NAME", help="packages (default: all)")
    command = commands.add_parser("audit", help="look for known vulnerabilities of what is locked")
    command.add_argument("options", nargs="*", metavar="-- OPTION", help="options of `uv audit`")
    commands.add_parser("hooks", help="install the git hooks, with pre-commit")
    command = commands.add_parser("collect", help="put wheels of the lock into a folder, with pip")
    command.add_argument(
        "part",
        choices=["run", "dev", "uv"],
        help="what the project needs, that and its tools, or uv alone",
    )
    command.add_argument(
        "folder", type=lambda text: Path(text).absolute(), metavar="DIR", help="where the wheels go"
    )
    args = parser.parse_args()

    try:
        os.chdir(args.root)
    except OSError as error:
        parser.error(f"--root {args.root}: {error.strerror}")
    # So that `lock` brings back what was there, as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if args.command == "install":
            install(args.python)
        elif args.command == "lock":
            lock()
        elif args.command == "upgrade":
            upgrade(args.names)
        elif args.command == "hooks":
            install_hooks()
        elif args.command == "collect":
            collect(args.part, args.folder)
        else:
            audit(args.options)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # The command itself has said why.
    except tomllib.TOMLDecodeError as error:
        sys.exit(f"pyproject.toml is damaged ({error}): mend it by hand.")
    except KeyboardInterrupt:
        sys.exit(130)


def minor_version(text: str) -> str:
    """Return a version like ``3.13``; argparse says which text is none."""
    if not re.fullmatch(r"\d+\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text} is no version like 3.13")
    return text


def sources() -> dict[str, str]:
    """Return the files of the lock, each with the file that says what it is made of."""
    # A uv.lock may lie beside the others: a bare `uv run` writes one.
    if any(Path(source).exists() for source in LOCKS.values()):
        return LOCKS
    only_uv = Path("uv.lock").exists() or not Path("requirements.txt").exists()
    return {"uv.lock": "pyproject.toml"} if only_uv else LOCKS


def install(version: str) -> None:
    """Make .venv hold exactly the locked packages, and this project in editable form.

    An environment of another Python version is replaced; a uv that is missing comes from the lock.
    """
    venv = Path(".venv")
    ours = venv.is_dir() and ((venv / "pyvenv.cfg").exists() or not any(venv.iterdir()))
    if os.path.lexists(venv) and (venv.is_symlink() or not ours):
        sys.exit(".venv is no virtual environment of this project: move it away, then try again.")
    refuse_missing(*sources(), *sources().values())
    refuse_damaged()
    if python_version(VENV_PYTHON) != version:
        python = find_python(version)
        if python_version(VENV_PYTHON) != python_version(python):
            create_venv(python)
    uv = find_uv() or install_uv()
    # `make lock`, which adds hashes, needs what has been made up to here.
    for lock_file in sources():
        if names := unhashed(lock_file):
            sys.exit(f"{lock_file} has no hashes for {', '.join(names)}: run `make lock`.")
    with tempfile.TemporaryDirectory() as folder:
        install_locked(uv, Path(folder))


def install_locked(uv: str, folder: Path) -> None:
    """Fill .venv from the lock, and check that it has all that the project asks for."""
    # How old a release has to be was decided when it was locked.
    install = [uv, "pip", "install", "--python", VENV_PYTHON, "--exclude-newer=false"]
    locked = in_pip_format(uv, folder)
    files = [f"--requirements={file}" for file in locked]
    adapted = [f"--requirements={adapt_to_wheels(file, folder)}" for file in locked]
    from_wheels = [*install, "--no-index", "--find-links=wheels"]
    dry_run = [*from_wheels, "--dry-run", "--no-deps", "--require-hashes", *adapted]
    in_wheels = WHEELS.exists() and succeeds(*dry_run)
    if in_wheels:
        install, files = from_wheels, adapted
    if "uv.lock" in sources() and not in_wheels and lock_fits(uv, environment()):
        # uv.lock knows more than pip's format: which package comes from which index.
        sync = [uv, "sync", "--python", VENV_PYTHON, "--frozen", "--inexact"]
        install_hashed(*sync, "--no-install-project")
    else:
        # One after the other, because uv would take a hash of either.
        for file in files:
            install_hashed(*install, "--require-hashes", file)
    # The build backend is there now, so nothing has to be fetched for the project itself.
    own = ["--editable", "."] if "[build-system]" in read(pyproject()) else []
    run(*install, "--quiet", "--exact", "--no-deps", "--no-build-isolation", *files, *own)

    for lock_file, source in sources().items():
        if lock_file == "uv.lock":
            fits = lock_fits(uv, without_index())
        else:
            # uv asks no index where what is installed is enough, with all extras.
            command = [*install, "--no-index", "--offline", f"--requirements={source}"]
            fits = in_wheels or succeeds(*command, env=without_index())
        if not fits:
            sys.exit(f"{lock_file} does not fit {source}: run `make lock setup`.")


def install_hashed(*command: str | Path) -> None:
    """Run a command of uv that installs, and say what to do where a file has another hash."""
    try:
        run(*command)
    except subprocess.CalledProcessError as error:
        if names := set(re.findall(r"Hash mismatch for `([\w.-]+)", said_by(error))):
            names = " ".join(sorted(names))
            sys.exit(
                f"The lock has other hashes than the files of {names}. If somebody has edited it, run"
                f' `make upgrade PACKAGES="{names}"`; if not, do not trust these files.'
            )
        raise


def in_pip_format(uv: str, folder: Path) -> list[Path]:
    """Return the files of the lock; write uv.lock as one in pip's format into a folder."""
    if "uv.lock" not in sources():
        return [Path(lock_file) for lock_file in LOCKS]
    file = folder / "uv.txt"
    run(uv, "export", "--quiet", "--frozen", "--no-emit-project", f"--output-file={file}")
    return [file]


def install_hooks() -> None:
    """Install the git hooks of .pre-commit-config.yaml; make a repository where there is none."""
    if not output("git", "rev-parse", "--git-dir"):
        run("git", "init", "--quiet", "--initial-branch", "main")
    folder = output("git", "config", "core.hooksPath")
    hook = Path(output("git", "rev-parse", "--git-path", "hooks"), "pre-commit")
    present = hook.read_text(encoding="utf-8", errors="replace") if hook.exists() else ""
    if output("git", "rev-parse", "--show-prefix"):
        print(
            "This folder is not the top of its git repository, so the hooks are not installed: they"
            " work only there.",
            file=sys.stderr,
        )
    elif folder:
        print(
            f"git looks for hooks in {folder} (core.hooksPath), so they are not installed; call"
            f" '{VENV_PYTHON.parent}/pre-commit run' from the pre-commit hook there.",
            file=sys.stderr,
        )
    elif "prek" in present:
        print("The hooks of prek stay.")
    elif str(VENV_PYTHON.absolute()) not in present or not hook.with_name("pre-push").exists():
        run(VENV_PYTHON.with_name("pre-commit"), "install")


def collect(part: str, folder: Path) -> None:
    """Put the wheels of one part of the lock into a folder; pip checks each against its hashes.

    ``part`` is ``run`` (what the project needs), ``dev`` (its tools, too), or ``uv``.
    Where wheels/ is filled, they come from there and no index is asked.
    """
    refuse_damaged()
    with tempfile.TemporaryDirectory() as temporary:
        locked = part_of_lock(part, Path(temporary))
        options: list[str | Path] = ["--require-hashes", "--no-deps", "--wheel-dir", folder]
        if WHEELS.exists():
            locked = adapt_to_wheels(locked, Path(temporary))
            options += ["--no-index", "--find-links", WHEELS.parent]
        pip = [sys.executable, "-m", "pip", "wheel", *options, "--requirement", locked]
        try:
            run(*pip, env=dict(os.environ))
        except subprocess.CalledProcessError:
            sys.exit(
                "pip could not collect the wheels. If a package failed to build, create"
                " docker/apt-build.txt and list the Debian packages that its build needs, one a"
                " line, such as gcc and libc6-dev."
            )
        if part == "run" and "uv.lock" not in sources():
            refuse_incomplete(folder, Path(temporary, "asked.in"))


def refuse_incomplete(wheels: Path, asked: Path) -> None:
    """End with a sentence where wheels do not satisfy requirements.in, which ``asked`` copies."""
    # Files that -r and -c name may not be here, and pip would download what has an address.
    text = re.sub(r"(?m)^\s*(-r|-c|--requirement\b|--constraint\b).*", "", read("requirements.in"))
    asked.write_text(re.sub(r" *@ *[^ ;\n]*", "", text), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    options = ["--no-index", "--find-links", wheels, "--requirement", asked]
    # A pip.conf may hold more than the network, such as constraints.
    if not succeeds(*pip, *options, env=os.environ | {"PIP_CONFIG_FILE": os.devnull}):
        sys.exit("requirements.txt does not fit requirements.in: run `make lock`.")


def part_of_lock(part: str, folder: Path) -> Path:
    """Return one part of the lock in pip's format; what has to be written goes into a folder."""
    if part == "uv":
        file = folder / "uv.txt"
        where = (
            "the dev group of pyproject.toml" if "uv.lock" in sources() else "dev-requirements.in"
        )
        file.write_text(uv_pin() or sys.exit(f"The lock has no uv: add it to {where}."))
    elif "uv.lock" in sources():
        # uv cannot check a lock with addresses offline, because it would have to ask there.
        if "source = { url" not in read("uv.lock") and not lock_fits("uv", without_index()):
            sys.exit("uv.lock does not fit pyproject.toml: run `make lock`.")
        file = folder / f"{part}.txt"
        options = ["--no-dev"] if part == "run" else []
        export = ["uv", "export", "--quiet", "--frozen", "--no-emit-project", *options]
        run(*export, f"--output-file={file}")
    else:
        file = Path("requirements.txt" if part == "run" else "dev-requirements.txt")
        refuse_missing(file.name)
    return file


def adapt_to_wheels(locked: Path, folder: Path) -> Path:
    """Write a lock for wheels/: what was built there has another hash, and nothing an address."""
    text = read(locked)
    wheels = re.findall(r"^(\w{64})  ([^-]+)-([^-]+)-.*\.whl$", read(WHEELS), re.MULTILINE)
    for digest, name, version in wheels:
        name = name.replace("_", "[-_.]") + r"(?:\[[^]]*])?"
        text = re.sub(rf"(?mi)^({name}) @ \S+", rf"\1=={version}", text)
        if digest not in text:
            pin = rf"(?mi)^{name}=={re.escape(version)} .*\n"
            text = re.sub(pin, rf"\g<0>    --hash=sha256:{digest} \\\n", text)
    adapted = folder / f"wheels-{locked.name}"
    adapted.write_text(text, encoding="utf-8")
    return adapted


def lock_fits(uv: str, env: dict[str, str]) -> bool:
    """Say whether uv.lock fits pyproject.toml and the settings of uv; this asks no index."""
    check = [uv, "lock", "--check", "--offline"]
    if VENV_PYTHON.exists():
        check += ["--no-build-isolation", "--python", VENV_PYTHON]
    return succeeds(*check, env=env)


def without_index() -> dict[str, str]:
    """Return the environment without what only this machine is told about indexes and releases."""
    wanted = {
        name: value
        for name, value in environment().items()
        if not re.search("INDEX|FIND_LINKS|EXCLUDE_NEWER", name)
    }
    nowhere = dict.fromkeys(("XDG_CONFIG_HOME", "APPDATA"), os.devnull)
    return wanted | nowhere | {"UV_NO_SYSTEM_CONFIG": "1"}


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
    """Return the uv of this project, or else that of the machine; one that is too old does not count."""
    own = [str(VENV_PYTHON.parent.absolute()), str(Path(sys.executable).parent)]
    for folder in [*own, *os.environ["PATH"].split(os.pathsep)]:
        uv = shutil.which("uv", path=folder)
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", output(uv, "--version")) if uv else None
        if version and tuple(map(int, version.groups())) >= OLDEST_UV:
            return uv
    return None


def install_uv() -> str:
    """Install the locked uv into .venv, with an older one or with pip, and return its path."""
    pin = uv_pin()
    if not pin:
        sys.exit("There is no uv: install it, or add it to the development packages.")
    if "--hash=" not in pin:
        sys.exit("The lock has no hashes for uv: install uv on this machine, then run `make lock`.")
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "uv.txt")
        requirement.write_text(pin)
        options = ["--quiet", "--require-hashes", "--no-deps", "-r", requirement]
        wheels = ["--no-index", f"--find-links={WHEELS.parent.absolute()}"]
        # The wheels in wheels/ can be those of another system.
        places = [wheels, []] if WHEELS.exists() else [[]]
        old_uv = ["uv", "pip", "install", "--python", VENV_PYTHON.absolute(), *options]
        # It may not understand our pyproject.toml, where an index can stand.
        tries = [(place, cwd) for place in places for cwd in (None, folder)]
        there = shutil.which("uv")
        if not (there and any(succeeds(*old_uv, *place, cwd=cwd) for place, cwd in tries)):
            output(VENV_PYTHON, "-m", "ensurepip")
            pip = [VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *options]
            if not any(succeeds(*pip, *place) for place in places[:-1]):
                told = environment()
                run(*pip, env=told | {n: told[uv] for n, uv in UV_NAMES.items() if uv in told})
    return find_uv() or sys.exit(
        f"The uv of the lock is older than {'.'.join(map(str, OLDEST_UV))}: install a newer one on"
        " this machine, then run `make upgrade setup PACKAGES=uv`."
    )


def uv_pin() -> str:
    """Return what the lock says of uv, in pip's format, or nothing where it has none."""
    if "uv.lock" not in sources():
        pin = re.search(r"^uv==(?:.*\\\n)*.*\n", read("dev-requirements.txt"), re.MULTILINE)
        return pin[0] if pin else ""
    for package in tomllib.loads(read("uv.lock"))["package"]:
        if package["name"] == "uv":
            hashes = [f"--hash={wheel['hash']}" for wheel in package["wheels"]]
            return " ".join([f"uv=={package['version']}", *hashes])
    return ""


def lock(*options: str) -> None:
    """Make the lock, for all platforms and all Pythons that requires-python admits.

    Either all of its files are renewed or none is: where a resolution fails, uv says why.
    """
    uv = find_uv() or sys.exit("There is no uv: run `make setup`.")
    refuse_missing(*sources().values())
    refuse_damaged()
    oldest_python()
    before = {lock_file: read(lock_file) for lock_file in sources()}
    try:
        for lock_file, source in sources().items():
            print(f"Resolving {source}", flush=True)
            if lock_file == "uv.lock":
                # An index of pip's is none of uv.lock's.
                index = {"UV_DEFAULT_INDEX": os.environ.get("UV_DEFAULT_INDEX", "")}
                # uv leaves an entry without hashes as it is.
                anew = [f"--upgrade-package={name}" for name in unhashed("uv.lock")]
                run(uv, "lock", *(options or anew), env=environment() | index)
                refuse_new_index(before[lock_file])
            else:
                compile_lock(uv, source, lock_file, *options)
            if names := unhashed(lock_file):
                sys.exit(
                    f"{names[0]} has no hash: name an archive, which gets one:"
                    " `NAME @ https://HOST/ARCHIVE.tar.gz`."
                )
    except BaseException:
        for lock_file, text in before.items():
            if not text:
                Path(lock_file).unlink(missing_ok=True)
            elif read(lock_file) != text:
                Path(lock_file).write_text(text, encoding="utf-8", newline="\n")
        raise
    moved = moved_pins("".join(before.values()), "".join(map(read, before)))
    widths = [max(map(len, column)) for column in zip(*moved, strict=True)]
    for name, old, new in moved:
        print(f"  {name:{widths[0]}}  {old:{widths[1]}}  ->  {new}")
    print("Now `make setup` installs it." if moved else "All versions stay.")


def refuse_new_index(before: str) -> None:
    """End with a sentence where uv has written an index into uv.lock that only this machine knows."""
    known = PUBLIC_INDEX + before + read("pyproject.toml")
    for index in re.findall(r'registry = "([^"]+)"', read("uv.lock")):
        if index.rstrip("/") not in known:
            sys.exit(
                f"uv.lock would name {index}, which this machine is set to use: lock where it is"
                " not, or name it in pyproject.toml ([[tool.uv.index]])."
            )


def compile_lock(uv: str, source: str, lock_file: str, *options: str) -> None:
    """Compile one .in file, without a limit on the age of releases where the index tells no age."""
    command = [uv, "pip", "compile", "--universal", f"--python-version={oldest_python()}"]
    command += ["--generate-hashes", f"--output-file={lock_file}", source, *options]
    try:
        run(*command, stdout=DEVNULL)
    except subprocess.CalledProcessError as error:
        if "is missing an upload date" not in said_by(error):
            raise
        print(
            "This index does not say how old a release is, so exclude-newer in pyproject.toml cannot"
            " be kept: trying without it, as UV_EXCLUDE_NEWER=false would from the start.",
            file=sys.stderr,
        )
        environment()["UV_EXCLUDE_NEWER"] = "false"  # for the next file, too
        run(*command, stdout=DEVNULL)


def unhashed(lock_file: str) -> list[str]:
    """Return what a lock pins without a hash: a package from git, from a folder, or by hand."""
    if lock_file != "uv.lock":
        # A hash stands on a line of its own, after a backslash.
        entry = r"^(-e \S+|[^\s#=-][^\s=]*)[^\\\n]*$"
        return list(dict.fromkeys(re.findall(entry, read(lock_file), re.MULTILINE)))
    names = []
    for package in tomllib.loads(read(lock_file)).get("package", []):
        files = [package.get("sdist"), *package.get("wheels", [])]
        hashed = ["hash" in file for file in files if file]
        if "." not in package["source"].values() and not (hashed and all(hashed)):
            registry = "registry" in package["source"]
            names.append(package["name"] + f"=={package['version']}" * registry)
    return names


def upgrade(names: list[str]) -> None:
    """Move the pins of these packages, or of all, to the newest versions."""
    locked = pins("".join(map(read, sources())))
    for name in names:
        if normal(re.match(r"[\w.-]*", name)[0]) not in locked:
            (source, *_) = sources().values()
            sys.exit(f"{name} is in no lock: add it to {source}, then run `make lock`.")
    lock(*[f"--upgrade-package={name}" for name in names] or ["--upgrade"])


def moved_pins(before: str, after: str) -> list[tuple[str, str, str]]:
    """Return rows like ``numpy``, ``2.4.6``, ``2.5.5`` for the packages whose pins differ."""
    old, new = pins(before), pins(after)
    return [
        (name, old.get(name, "new"), new.get(name, "removed"))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def pins(locks: str) -> dict[str, str]:
    """Return the pinned version of each package; several, when Pythons differ, with commas."""
    found: dict[str, list[str]] = {}
    pip_pin = r"^([\w.-]+)(?:\[[^]]*])?(?:==| @ )([^\s;]+)"
    pip_pins = re.findall(pip_pin, locks, re.MULTILINE)
    uv_pins = re.findall(r'^\[\[package]]\nname = "(.+)"\nversion = "(.+)"', locks, re.MULTILINE)
    for name, version in pip_pins + uv_pins:
        versions = found.setdefault(name, [])
        if version not in versions:
            versions.append(version)
    return {name: ", ".join(versions) for name, versions in found.items()}


def audit(options: list[str]) -> None:
    """Ask the OSV database, through uv, about every version in the lock."""
    uv = find_uv() or sys.exit("There is no uv: run `make setup`.")
    refuse_missing(*sources())
    refuse_damaged()
    if not any("sha256:" in read(lock_file) for lock_file in sources()):
        sys.exit("Nothing is locked with a hash, so nothing was checked: run `make lock`.")
    with tempfile.TemporaryDirectory() as folder:
        if "uv.lock" not in sources():
            write_uv_lock(Path(folder))
        result = subprocess.run(
            [uv, "audit", "--frozen", "--preview-features=audit-command", *options],
            check=False,
            cwd="." if "uv.lock" in sources() else folder,
            env={"UV_HTTP_RETRIES": "1"} | environment(),
            stderr=PIPE,
            encoding="utf-8",
        )
    if "error sending request" in result.stderr:
        cause = result.stderr.strip().rpartition("cause: ")[2]
        sys.exit(f"No source of advisories answers, so nothing was checked: {cause}.")
    sys.stderr.write(result.stderr)
    sys.exit(result.returncode)


def write_uv_lock(folder: Path) -> None:
    """Write requirements*.txt as a uv.lock, beside the settings of this project."""
    shutil.copy(pyproject(), folder)
    root = normal(tomllib.loads(read(pyproject()))["project"]["name"])
    source = 'source = { registry = "." }'
    tables, needs = [], []
    for name, versions in pins("".join(map(read, LOCKS))).items():
        for version in versions.split(", "):
            if "://" in version:
                print(f"{name} has an address and no version: it is not checked.", file=sys.stderr)
            else:
                tables.append(f'[[package]]\nname = "{name}"\nversion = "{version}"\n{source}\n')
                needs.append(f'{{ name = "{name}", version = "{version}", {source} }}')
    (folder / "uv.lock").write_text(
        f'version = 1\nrequires-python = ">={oldest_python()}"\n'
        f'[[package]]\nname = "{root}"\nversion = "0"\nsource = {{ virtual = "." }}\n'
        f"dependencies = [{', '.join(needs)}]\n" + "".join(tables)
    )


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run(*command: str | Path, env: dict[str, str] | None = None, stdout: int | None = None) -> None:
    """Run a command that must succeed; it prints on its own."""
    subprocess.run(command, check=True, env=env or environment(), stdout=stdout)


def said_by(error: subprocess.CalledProcessError) -> str:
    """Return what a command of uv that has failed says when it is tried again.

    The first time it speaks to the terminal, where it shows progress. It ends with 2 where no index
    answers; that is not tried again.
    """
    if error.returncode == 2:
        return ""
    options = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(error.cmd, check=False, env=environment(), **options).stderr


def succeeds(
    *command: str | Path, env: dict[str, str] | None = None, cwd: str | None = None
) -> bool:
    """Say whether a command succeeds; it prints nothing."""
    options = {"capture_output": True, "env": env or environment(), "cwd": cwd}
    return subprocess.run(command, check=False, **options).returncode == 0


@functools.cache
def environment() -> dict[str, str]:
    """Return the environment for uv, with what only pip has been told about index and network."""
    # To compile for the oldest Python, uv would fetch one.
    configured = os.environ | {"UV_PROJECT_ENVIRONMENT": ".venv", "UV_PYTHON_DOWNLOADS": "never"}
    if "UV_INDEX_URL" in os.environ:
        configured.setdefault("UV_DEFAULT_INDEX", os.environ["UV_INDEX_URL"])
    for variable, uv_name in UV_NAMES.items():  # which also works where this Python has no pip
        if value := os.environ.get(variable):
            configured.setdefault(uv_name, value)
    settings = output(sys.executable, "-m", "pip", "config", "list")
    for section in ("install", "global"):  # as pip ranks them
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", settings, re.MULTILINE):
            if uv_name := UV_NAMES.get(f"PIP_{name.replace('-', '_').upper()}"):
                configured.setdefault(uv_name, ast.literal_eval(value))
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
    requires = tomllib.loads(read(pyproject())).get("project", {}).get("requires-python", "")
    if bound := re.search(r"(?:[>~]=|===?)\s*(\d+\.\d+(?:\.\d+)?)", requires):
        return bound[1]
    sys.exit('pyproject.toml needs a line like requires-python = ">=3.11".')


def pyproject() -> Path:
    """Return the pyproject.toml of this folder, or of the nearest folder above that has one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").exists():
            return folder / "pyproject.toml"
    refuse_missing("pyproject.toml")


def refuse_missing(*names: str) -> None:
    """End with a sentence where a file is not there."""
    for name in names:
        if not Path(name).exists():
            anew = ", or make it anew with `make lock`" if name in sources() else ""
            sys.exit(f"{name} is missing: bring it back with `git checkout HEAD {name}`{anew}.")


def refuse_damaged() -> None:
    """End with a sentence where a merge has left both sides in a file, or uv.lock is no TOML."""
    for lock_file, source in sources().items():
        back = f"bring it back with `git checkout HEAD {lock_file}`, then run `make lock`."
        for name, mend in {source: "edit it, then run `make lock`.", lock_file: back}.items():
            if MERGE_MARKERS.search(read(name)):
                sys.exit(f"{name} has merge markers: {mend}")
        if lock_file == "uv.lock":
            try:
                tomllib.loads(read(lock_file))
            except tomllib.TOMLDecodeError as error:
                sys.exit(f"uv.lock is damaged ({error}): {back}")


def read(path: str | Path) -> str:
    """Return the text of a file, or nothing where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
    except UnicodeDecodeError:
        sys.exit(f"{path} is not UTF-8: save it as UTF-8.")


if __name__ == "__main__":
    main()

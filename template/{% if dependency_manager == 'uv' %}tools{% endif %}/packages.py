"""Install and lock the packages of this project, with uv.

    python tools/packages.py install            make .venv hold exactly what the lock says
    python tools/packages.py lock               make the lock fit what the project asks for again
    python tools/packages.py upgrade [NAME ...] move the pins to the newest versions
    python tools/packages.py compare            make the lock again elsewhere, and compare (for CI)
    python tools/packages.py audit              look for known vulnerabilities of what is locked
    python tools/packages.py hooks              install the git hooks, with pre-commit
    python tools/packages.py collect PART DIR   put the wheels of a part of the lock into a folder

The lock is uv.lock, made from pyproject.toml.

Proxy, certificate and, to install, index settings come from uv's environment variables or, where those
are not set, from pip's settings (PIP_... and pip.conf).
Where wheels/ (see `make wheels`) has what this machine needs, `install` asks no index.

Exit codes: 0 done, 1 something is missing or vulnerable (one sentence says what), 2 wrong usage, or
that of the uv or pip command that failed.
"""

from __future__ import annotations

import argparse
import configparser
import functools
import hashlib
import os
import re
import shutil
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
from lockcheck import LOCKS, READY, Problem, failures, load, read

WHEELS = Path("wheels/SHA256SUMS")
# The first that knows all options below.
OLDEST_UV = (0, 11, 33)
VENV_PYTHON = Path(".venv", "Scripts/python.exe" if os.name == "nt" else "bin/python")
STATE = Path(".venv/installed")
# pip's extra-index-url is not among them: uv asks an extra index first for every package, so what
# one machine has there would end up in everybody's lock. UV_INDEX adds one knowingly.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
PIN = re.compile(r'^\[\[package]]\nname = "(.+)"\nversion = "(.+)"', re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=root, help="folder of the lock")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("install", help="make .venv hold exactly what the lock says")
    here = "{}.{}".format(*sys.version_info)
    command.add_argument("--python", metavar="X.Y", type=minor_version, default=here)
    commands.add_parser("lock", help="make the lock fit again; pins stay if they can")
    command = commands.add_parser("upgrade", help="move the pins to the newest versions")
    command.add_argument("names", nargs="*", metavar="NAME", help="packages (default: all)")
    commands.add_parser("compare", help="make the lock again elsewhere, and compare")
    command = commands.add_parser("audit", help="look for known vulnerabilities of what is locked")
    command.add_argument("options", nargs="*", metavar="-- OPTION", help="options of `uv audit`")
    commands.add_parser("hooks", help="install the git hooks, with pre-commit")
    command = commands.add_parser("collect", help="put wheels of the lock into a folder, with pip")
    what = "what the project needs, that and its tools, or uv alone"
    command.add_argument("part", choices=["run", "dev", "uv"], help=what)
    command.add_argument("folder", type=lambda text: Path(text).absolute(), metavar="DIR")
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


def check(sources_only: bool = False) -> None:
    """Refuse a lock that the lock check refuses, where this Python has the package for that."""
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
    if venv_version() == version and read(STATE) == state():
        return
    if venv_version() != version:
        python = find_python(version)
        if venv_version() != python_version(python):
            create_venv(python)
    uv = find_uv() or install_uv()
    check()  # `make lock`, which repairs it, needs what has been made up to here.
    with tempfile.TemporaryDirectory() as folder:
        install_locked(uv, Path(folder))
    STATE.write_text(state(), encoding="utf-8")


def state() -> str:
    """Return a checksum of the lock, its sources, and the names of what is installed."""
    files = map(Path, ["uv.lock", "pyproject.toml"])
    found = [file.read_bytes() for file in files if file.is_file()]
    folders = "lib/python*/site-packages", "Lib/site-packages"
    infos = [info for folder in folders for info in STATE.parent.glob(f"{folder}/*.dist-info")]
    names = sorted({os.fsencode(info.name) for info in infos})
    return hashlib.sha256(b"\0".join([*found, *names])).hexdigest()


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


def run_hashed(*command: str | Path) -> None:
    """Run a command of uv that installs, and say what to do where a file has another hash."""
    try:
        run(*command)
    except subprocess.CalledProcessError as error:
        # The first time, uv has shown its progress. With 2 it says that no index answers.
        again = run_quietly(*command) if error.returncode == 1 else None
        if again and (names := set(re.findall(r"Hash mismatch for `([\w.-]+)", again.stderr))):
            packages = " ".join(sorted(names))
            raise Problem(
                f"The lock has other hashes than the files of {packages}. If somebody has edited it, run"
                f' `make upgrade PACKAGES="{packages}"`; if not, do not trust these files.'
            ) from None
        raise


def fit_entry(version: str, digest: str, entry: re.Match) -> str:
    """Return an entry of a lock by version, with the hash of the wheel where only a source has one."""
    lines = f"{entry[1]}=={version}{entry[2]}"
    hashes = re.findall(r"--hash=sha256:(\w{64})", lines)
    if len(hashes) == 1 and ".whl" not in entry[0].split("\\")[0]:
        return lines.replace(hashes[0], digest)
    return lines


def adapt_to_wheels(files: list[Path], folder: Path) -> tuple[list[Path], str]:
    """Write a lock for wheels/: what was built there has another hash, and nothing an address.

    The names of what was built are returned, too. Only a package with a single hash, that of its
    source, can have been built: wheels/ never stands against a hash of the lock.
    """
    if output("git", "ls-files", WHEELS.parent):
        raise Problem(
            "git tracks wheels/, which belongs to one machine: run `git rm -r --cached wheels`."
        )
    built, adapted = [], []
    wheels = re.findall(r"^(\w{64})  ([^-]+)-([^-]+)-.*\.whl$", read(WHEELS), re.MULTILINE)
    for file in files:
        text = read(file)
        for digest, name, version in wheels:
            start = rf"^({name.replace('_', '[-_.]')}(?:\[[^]]*])?)"
            entry = rf"(?mi){start}(?:=={re.escape(version)}(?=[ ;])| @ \S+)(.*\n(?: .*\n)*)"
            fitted = re.sub(entry, functools.partial(fit_entry, version, digest), text)
            if digest in fitted and digest not in text:
                built.append(name)
            text = fitted
        adapted.append(folder / f"wheels-{file.name}")
        adapted[-1].write_text(text, encoding="utf-8")
    return adapted, ", ".join(sorted(set(built)))


def hooks() -> None:
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

    ``part`` is ``run`` (what the project needs), ``dev`` (its tools), or ``uv``.
    Where wheels/ is filled, they come from there and no index is asked.
    """
    with tempfile.TemporaryDirectory() as temporary:
        locked = part_of_lock(part, Path(temporary))
        options: list[str | Path] = ["--require-hashes", "--no-deps", "--wheel-dir", folder]
        if WHEELS.exists():
            (locked,), _ = adapt_to_wheels([locked], Path(temporary))
            options += ["--no-index", "--find-links", WHEELS.parent]
        pip = [sys.executable, "-m", "pip", "wheel", *options, "--requirement", locked]
        try:
            run(*pip, env=dict(os.environ))
        except subprocess.CalledProcessError:
            raise Problem(
                "pip could not collect the wheels. If a package failed to build, create"
                " docker/apt-build.txt and list the Debian packages that its build needs, one a"
                " line, such as gcc and libc6-dev."
            ) from None


def part_of_lock(part: str, folder: Path) -> Path:
    """Return one part of the lock in pip's format, in a folder."""
    if part == "uv":
        if not (pin := uv_pin()):
            raise Problem("The lock has no uv: add it to the dev group of pyproject.toml.")
        (folder / "uv.txt").write_text(pin, encoding="utf-8")
        return folder / "uv.txt"
    # uv cannot check a lock with addresses offline, because it would have to ask there.
    if "source = { url" not in read("uv.lock") and not lock_fits("uv", without_index()):
        raise Problem("uv.lock does not fit pyproject.toml: run `make lock`.")
    return export("uv", folder, *["--no-dev"] if part == "run" else [])


def lock_fits(uv: str, env: dict[str, str]) -> bool:
    """Say whether uv.lock fits pyproject.toml and the settings of uv; this asks no index."""
    check: list[str | Path] = [uv, "lock", "--check", "--offline"]
    if VENV_PYTHON.exists():
        check += ["--no-build-isolation", "--python", VENV_PYTHON]
    return succeeds(*check, env=env)


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
        candidates += map(str, sorted(versions.glob(f"{version}.*/bin/python")))
    for candidate in candidates:
        if candidate and python_version(candidate) == version:
            return candidate
    if uv := find_uv():  # It also downloads Pythons.
        subprocess.run([uv, "python", "install", version], check=False)
        if python := output(uv, "python", "find", "--managed-python", version):
            return python
    missing = f"Python {version} is not on this machine"
    oldest = oldest_python()
    if sys.version_info < tuple(map(int, oldest.split("."))):
        raise Problem(f"{missing}, and the lock covers none before {oldest}: install it, or uv.")
    print(
        f"{missing}: using {python_version(sys.executable)}, which the lock covers too. To have the"
        f" Python of the image here, install {version} or uv and run this again.",
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


def need_uv() -> str:
    if uv := find_uv():
        return uv
    raise Problem("There is no uv: run `make setup`.")


def install_with_pip(options: list[str], places: list[list[str]]) -> None:
    """Install from the first place that has it; the last one is the index, whose errors are shown."""
    output(VENV_PYTHON, "-m", "ensurepip")
    command = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *options]
    if not any(succeeds(*command, *place) for place in places[:-1]):
        # pip reads its own settings, and gets those that only uv has been told.
        told = [(f"PIP_{name.upper().replace('-', '_')}", uv) for name, uv in UV_NAMES.items()]
        env = environment()
        run(*command, env=env | {name: env[uv] for name, uv in told if uv in env})


def install_uv() -> str:
    """Install the locked uv into .venv, with an older one or with pip, and return its path."""
    pin = uv_pin()
    if not pin:
        raise Problem("There is no uv: install it, or add it to the development packages.")
    if "--hash=" not in pin:
        raise Problem(
            "The lock has no hashes for uv: install uv on this machine, then run `make lock`."
        )
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "uv.txt")
        requirement.write_text(pin, encoding="utf-8")
        options = ["--quiet", "--require-hashes", "--no-deps", f"--requirement={requirement}"]
        wheels = ["--no-index", f"--find-links={WHEELS.parent.absolute()}"]
        # The wheels in wheels/ can be those of another system.
        places: list[list[str]] = [wheels, []] if WHEELS.exists() else [[]]
        old_uv = ["uv", "pip", "install", f"--python={VENV_PYTHON.absolute()}", *options]
        # An old uv may not understand our pyproject.toml, where an index can stand.
        tries = [(place, cwd) for place in places for cwd in (None, folder)]
        there = shutil.which("uv")
        if not (there and any(succeeds(*old_uv, *place, cwd=cwd) for place, cwd in tries)):
            install_with_pip(options, places)
    if uv := find_uv():
        return uv
    raise Problem(
        f"The uv of the lock is older than {'.'.join(map(str, OLDEST_UV))}: install a newer one on"
        " this machine, then run `make upgrade setup PACKAGES=uv`."
    )


def uv_pin() -> str:
    """Return what the lock says of uv, in pip's format, or nothing where it has none."""
    for package in load(Path("uv.lock")).get("package", []):
        if package["name"] == "uv":
            hashes = [f"--hash={wheel['hash']}" for wheel in package["wheels"]]
            return " ".join([f"uv=={package['version']}", *hashes])
    return ""


def lock(*options: str) -> None:
    """Make the lock, for all platforms and all Pythons that requires-python admits.

    Where that fails, uv says why, and the lock stays as it was.
    """
    uv = need_uv()
    check(sources_only=True)
    oldest_python()
    file = Path("uv.lock")
    before = file.read_bytes() if file.exists() else None
    try:
        print("Resolving pyproject.toml", flush=True)
        lost = [f"--upgrade-package={name}" for name in unhashed()]
        run(uv, "lock", *(options or lost), env=environment() | own_index())
        check()
    except BaseException:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(before)
        raise
    report((before or b"").decode())


def unhashed() -> list[str]:
    """Return the packages of an index whose hashes were lost: uv leaves such an entry as it is."""
    names = []
    for package in load(Path("uv.lock")).get("package", []):
        files = [package.get("sdist"), *package.get("wheels", [])]
        if "registry" in package["source"] and not all("hash" in file for file in files if file):
            names.append(f"{package['name']}=={package['version']}")
    return names


def upgrade(names: list[str]) -> None:
    """Move the pins of these packages, or of all, to the newest versions."""
    locked = pins("".join(map(read, LOCKS)))
    for name in names:
        if normal(re.sub(r"[^\w.-].*", "", name)) not in locked:
            raise Problem(f"{name} is in no lock: add it to pyproject.toml, then run `make lock`.")
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
    for name, version in dict.fromkeys(PIN.findall(locks)):
        found.setdefault(name, []).append(version)
    return {name: ", ".join(versions) for name, versions in found.items()}


def compare() -> None:
    """Lock again elsewhere, with the same versions, and refuse what the index would not give.

    A file that was uploaded after the release was locked is no difference.
    """
    uv = need_uv()
    check()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--all-groups", "--all-extras", "--no-hashes", "--no-annotate", "--no-header"]
        pinned = re.findall(r"(?m)^\w.*==.*", read(export(uv, Path(folder), *options)))
        versions = "constraint-dependencies = [" + "".join(f'"{pin}", ' for pin in pinned)
        text = read("pyproject.toml")
        if "constraint-dependencies = [" in text:
            text = text.replace("constraint-dependencies = [", versions)
        else:
            text = re.sub(r"(?m)^\[tool\.uv]$|\Z", f"[tool.uv]\n{versions}]", text, count=1)
        Path(folder, "pyproject.toml").write_text(text, encoding="utf-8")
        run(uv, "lock", "--quiet", "--project", folder, env=environment() | own_index())
        made = pinned_files(Path(folder, "uv.lock"))
    if wrong := differences("uv.lock", pinned_files(Path("uv.lock")), made):
        raise Problem("\n".join(wrong))
    print("The index gives the same lock.")


def pinned_files(lock_file: Path) -> dict[str, set[str]]:
    """Return the hashes of each package of a lock."""
    return {
        f"{package['name']}=={package.get('version', '')}": {
            file["hash"] for file in [*package.get("wheels", []), package.get("sdist", {})] if file
        }
        for package in load(lock_file).get("package", [])
    }


def own_index() -> dict[str, str]:
    """Return what keeps an index of pip's out of uv.lock."""
    return {"UV_DEFAULT_INDEX": os.environ.get("UV_DEFAULT_INDEX", "")}


def differences(
    lock_file: str, locked: dict[str, set[str]], made: dict[str, set[str]]
) -> list[str]:
    """Return sentences about the pins and hashes of a lock that the index would not give."""
    pinned = sorted(locked.keys() & made.keys())
    found = {
        "has what nothing asks for": sorted(locked.keys() - made.keys()),
        "lacks": sorted(made.keys() - locked.keys()),
        "has hashes that the index does not know, of": [
            pin for pin in pinned if locked[pin] - made[pin]
        ],
    }
    return [
        f"{lock_file} {what}: {', '.join(names)}: run `make lock`, and look at what changes."
        for what, names in found.items()
        if names
    ]


def audit(options: list[str]) -> None:
    """Ask the OSV database, through uv, about every version in the lock."""
    uv = need_uv()
    check()
    if "sha256:" not in read("uv.lock"):
        raise Problem("Nothing is locked with a hash, so nothing was checked: run `make lock`.")
    command = [uv, "audit", "--frozen", "--preview-features=audit-command", *options]
    env = {"UV_HTTP_RETRIES": "1"} | environment()
    result = subprocess.run(command, check=False, env=env, stderr=PIPE, text=True)
    if "error sending request" in result.stderr:
        cause = result.stderr.strip().rpartition("cause: ")[2]
        raise Problem(f"No source of advisories answers, so nothing was checked: {cause}.")
    sys.stderr.write(result.stderr)
    sys.exit(result.returncode)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command that must succeed; it prints on its own."""
    subprocess.run(command, check=True, env=env or environment())


def run_quietly(
    *command: str | Path, env: dict[str, str] | None = None, cwd: str | None = None
) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        check=False,
        env=env or environment(),
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def succeeds(*command: str | Path, **options) -> bool:
    return run_quietly(*command, **options).returncode == 0


def output(*command: str | Path) -> str:
    """Return what a command prints, or nothing where it fails."""
    try:
        result = run_quietly(*command, env=dict(os.environ))
    except OSError:
        return ""
    return "" if result.returncode else result.stdout.strip()


def environment() -> dict[str, str]:
    """Return the environment for uv, with what only pip has been told about index and network."""
    # To compile for the oldest Python, uv would fetch one.
    env = os.environ | {"UV_PROJECT_ENVIRONMENT": ".venv", "UV_PYTHON_DOWNLOADS": "never"}
    if "UV_INDEX_URL" in env:
        env.setdefault("UV_DEFAULT_INDEX", env["UV_INDEX_URL"])
    told = pip_settings()
    for name, uv_name in UV_NAMES.items():
        if value := env.get(f"PIP_{name.upper().replace('-', '_')}") or told.get(name):
            env.setdefault(uv_name, value)
    return env


def pip_settings() -> dict[str, str]:
    """Return what the files of pip's settings say; those that come later win."""
    own = os.environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return {}
    home, data = Path.home(), os.environ.get("APPDATA", "nowhere")
    config = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
    files: list[str | Path] = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf"]
    files.append(home / ".pip/pip.conf")
    files += [Path(config, "pip/pip.conf"), home / "Library/Application Support/pip/pip.conf"]
    files += [Path(data, "pip/pip.ini"), Path(sys.prefix, "pip.conf"), own]
    parser = configparser.RawConfigParser(strict=False)
    parser.read(files, encoding="utf-8")
    sections = [parser[name] for name in ("global", "install") if name in parser]
    return {
        name.replace("_", "-"): value for section in sections for name, value in section.items()
    }


def without_index() -> dict[str, str]:
    """Return the environment without what only this machine is told about indexes and releases."""
    unwanted = re.compile("INDEX|FIND_LINKS|EXCLUDE_NEWER")
    env = {name: value for name, value in environment().items() if not unwanted.search(name)}
    nowhere = dict.fromkeys(("XDG_CONFIG_HOME", "APPDATA"), os.devnull)
    return env | nowhere | {"UV_NO_SYSTEM_CONFIG": "1"}


def python_version(python: str) -> str:
    """Return the version, like ``3.13``, of an interpreter; nothing where it does not run."""
    return output(python, "-c", "import sys; print('%s.%s' % sys.version_info[:2])")


def venv_version() -> str:
    """Return the version, like ``3.13``, of .venv; nothing where there is none that works."""
    found = re.search(r"(?m)^version\w* *= *(\d+\.\d+)", read(".venv/pyvenv.cfg"))
    return found[1] if found and VENV_PYTHON.exists() else ""


def oldest_python() -> str:
    """Return the oldest Python, like ``3.11``, that the project admits."""
    requires = load(Path("pyproject.toml")).get("project", {}).get("requires-python", "")
    if bound := re.search(r"(?:[>~]=|===?)\s*(\d+\.\d+(?:\.\d+)?)", requires):
        return bound[1]
    raise Problem('pyproject.toml needs a line like requires-python = ">=3.11": add it.')


if __name__ == "__main__":
    main()

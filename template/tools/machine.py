"""Know what this machine has: its Pythons, its uv, its settings for both, and wheels/."""

from __future__ import annotations

import configparser
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from project import Problem, oldest_python, read

WHEELS = Path("wheels/SHA256SUMS")
# The first that knows all options of lock.py and packages.py.
OLDEST_UV = (0, 11, 33)
VENV_PYTHON = Path(".venv", "Scripts/python.exe" if os.name == "nt" else "bin/python")
# pip's extra-index-url is not among them: uv asks an extra index first for every package, so what
# one machine has there would end up in everybody's lock. UV_INDEX adds one knowingly.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


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


def python_version(python: str) -> str:
    """Return the version, like ``3.13``, of an interpreter; nothing where it does not run."""
    return output(python, "-c", "import sys; print('%s.%s' % sys.version_info[:2])")


def venv_version() -> str:
    """Return the version, like ``3.13``, of .venv; nothing where there is none that works."""
    found = re.search(r"(?m)^version\w* *= *(\d+\.\d+)", read(".venv/pyvenv.cfg"))
    return found[1] if found and VENV_PYTHON.exists() else ""


def create_venv(python: str) -> None:
    """Make an empty .venv, without pip if the machine has a uv."""
    print(f"Creating .venv with Python {python_version(python)}", flush=True)
    if uv := find_uv(of_project=False):
        run(uv, "venv", "--quiet", "--clear", "--python", python, ".venv")
    else:
        run(python, "-m", "venv", "--clear", ".venv")


def find_uv(of_project: bool = True) -> str | None:
    """Return the uv of this project, or else that of the machine; one that is too old does not count."""
    venv = str(VENV_PYTHON.parent.absolute())
    folders = [venv, str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)]
    for folder in folders if of_project else [f for f in folders if f != venv]:
        uv = shutil.which("uv", path=folder)
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", output(uv, "--version")) if uv else None
        if version and tuple(map(int, version.groups())) >= OLDEST_UV:
            return uv
    return None


def need_uv() -> str:
    if uv := find_uv():
        return uv
    raise Problem("There is no uv: run `make setup`.")


def install_uv(pin: str) -> str:
    """Install this uv of the lock into .venv, with pip, and return its path."""
    if not pin:
        raise Problem("There is no uv: install it, or add it to the development packages.")
    if "--hash=" not in pin:
        raise Problem(
            "The lock has no hashes for uv: install uv on this machine, then run `make lock`."
        )
    output(VENV_PYTHON, "-m", "ensurepip")
    # pip reads its own settings, and gets those that only uv has been told.
    told = [(f"PIP_{name.upper().replace('-', '_')}", uv) for name, uv in UV_NAMES.items()]
    env = environment()
    env |= {name: env[uv] for name, uv in told if uv in env}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "uv.txt")
        file.write_text(pin, encoding="utf-8")
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        pip = [str(VENV_PYTHON), "-m", "pip", "install", *options, f"--requirement={file}"]
        # The wheels in wheels/ can be those of another system.
        wheels = ["--no-index", f"--find-links={WHEELS.parent}"]
        if not (WHEELS.exists() and succeeds(*pip, *wheels)):
            run(*pip, env=env)
    if uv := find_uv():
        return uv
    raise Problem(
        f"The uv of the lock is older than {'.'.join(map(str, OLDEST_UV))}: install a newer one on"
        " this machine, then run `make upgrade setup PACKAGES=uv`."
    )


def adapt_to_wheels(files: list[Path], folder: Path) -> tuple[list[Path], str]:
    """Write a lock for wheels/: what was built there has another hash, and nothing an address.

    The names of what was built are returned, too. Only a package with a single hash, that of its
    source, can have been built: wheels/ never stands against a hash of the lock. What has the build
    tag `1built` has been compiled because the lock has no wheel of it for this system.
    """
    if output("git", "ls-files", WHEELS.parent):
        raise Problem(
            "git tracks wheels/, which belongs to one machine: run `git rm -r --cached wheels`."
        )
    built, adapted = [], []
    wheels = re.findall(r"^(\w{64})  ([^-]+)-([^-]+)-(1built)?.*\.whl$", read(WHEELS), re.MULTILINE)
    for file in files:
        text = read(file)
        for digest, name, version, tag in wheels:
            start = rf"^({name.replace('_', '[-_.]')}(?:\[[^]]*])?)"
            entry = rf"(?mi){start}(?:=={re.escape(version)}(?=[ ;])| @ \S+)(.*\n(?: .*\n)*)"
            fitted = re.sub(entry, functools.partial(fit_entry, version, tag, digest), text)
            if digest in fitted and digest not in text:
                built.append(name)
            text = fitted
        adapted.append(folder / f"wheels-{file.name}")
        adapted[-1].write_text(text, encoding="utf-8")
    return adapted, ", ".join(sorted(set(built)))


def fit_entry(version: str, tag: str, digest: str, entry: re.Match) -> str:
    """Return an entry of a lock by version, with the hash of the wheel where only a source has one."""
    lines = f"{entry[1]}=={version}{entry[2]}"
    if tag == "1built":
        return re.sub(r"(?s)--hash=.*", f"--hash=sha256:{digest}\n", lines)
    hashes = re.findall(r"--hash=sha256:(\w{64})", lines)
    if len(hashes) == 1 and ".whl" not in entry[0].split("\\")[0]:
        return lines.replace(hashes[0], digest)
    return lines


def collect_wheels(locked: Path, folder: Path, temporary: Path) -> None:
    """Put the wheels of a lock in pip's format into a folder; pip checks each against its hashes.

    Where wheels/ has them, they come from there and no index is asked.
    """
    options: list[str | Path] = ["--require-hashes", "--no-deps", "--wheel-dir", folder]
    if WHEELS.exists():
        (locked,), _ = adapt_to_wheels([locked], temporary)
        options += ["--find-links", WHEELS.parent]
    pip = [sys.executable, "-m", "pip", "wheel", *options, "--requirement", locked]
    settings = dict(os.environ)
    try:
        # The lock may have moved on since wheels/ was filled.
        if not (WHEELS.exists() and succeeds(*pip, "--no-index", env=settings)):
            run(*pip, env=settings)
    except subprocess.CalledProcessError:
        raise Problem(
            "pip could not collect the wheels. If a package failed to build, create"
            " docker/apt-build.txt and list the Debian packages that its build needs, one a"
            " line, such as gcc and libc6-dev."
        ) from None


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command that must succeed; it prints on its own."""
    subprocess.run(command, check=True, env=env or environment())


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


def run_quietly(
    *command: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        check=False,
        env=env or environment(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def succeeds(*command: str | Path, env: dict[str, str] | None = None) -> bool:
    return run_quietly(*command, env=env).returncode == 0


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

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
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_PROXY": "ALL_PROXY",
}


def venv_version() -> str:
    """Return the version, like ``3.13``, of .venv; nothing where there is none that works."""
    found = re.search(r"(?m)^version\w* *= *(\d+\.\d+)", read(".venv/pyvenv.cfg"))
    return found[1] if found and VENV_PYTHON.exists() else ""


def create_venv(version: str) -> None:
    """Make an empty .venv of this version of Python or, with a warning, of the one that runs this."""
    print(f"Creating .venv with Python {version}", flush=True)
    uv = find_uv(of_project=False)
    first, last = ([uv, "venv", "--quiet", "--python"], []) if uv else ([], ["-m", "venv"])
    # A command of pyenv starts no version but the one that is chosen.
    of_pyenv = Path(output("pyenv", "root") or "nowhere", "versions").glob(f"{version}.*/bin")
    path = os.pathsep.join([*map(str, of_pyenv), os.environ["PATH"]])
    # uv downloads a Python that is not on this machine.
    env = os.environ | {"PATH": path}
    if succeeds(*first, f"python{version}", *last, "--clear", ".venv", env=env):
        return
    here, oldest = "{}.{}".format(*sys.version_info), oldest_python()
    missing = f"Python {version} is not on this machine"
    if sys.version_info < tuple(map(int, oldest.split("."))):
        raise Problem(f"{missing}, and the lock covers none before {oldest}: install it, or uv.")
    if version != here:
        print(f"{missing}: using {here}. To have it, install it or uv.", file=sys.stderr)
    if venv_version() != here:
        run(*first, sys.executable, *last, "--clear", ".venv")


def find_uv(of_project: bool = True) -> str | None:
    """Return the uv of this project, or else that of the machine; one that is too old does not count."""
    own = str(VENV_PYTHON.parent.absolute())
    for folder in (own, str(Path(sys.executable).parent), *os.get_exec_path()):
        if of_project or folder != own:
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
    if "--hash=" in pin:
        output(VENV_PYTHON, "-m", "ensurepip")
        env = environment()
        # pip reads its own settings, and gets those that only uv has been told.
        env |= {name: env[uv] for name, uv in UV_NAMES.items() if uv in env}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "uv.txt")
            file.write_text(pin, encoding="utf-8")
            options = ["--quiet", "--disable-pip-version-check", f"--requirement={file}"]
            run_pip(VENV_PYTHON, "install", *options, env=env)
    if uv := find_uv():
        return uv
    oldest = ".".join(map(str, OLDEST_UV))
    raise Problem(f"There is no uv {oldest} or newer, nor one with a hash in the lock: install uv.")


def run_pip(python: str | Path, *arguments: str | Path, env: dict[str, str]) -> None:
    """Run pip on a lock; no index is asked where wheels/ has what is needed."""
    pip = [python, "-m", "pip", *arguments, "--require-hashes", "--no-deps"]
    if WHEELS.exists():
        pip += ["--find-links", WHEELS.parent]
        if succeeds(*pip, "--no-index", env=env):
            return
    run(*pip, env=env)


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
    """Put the wheels of a lock in pip's format into a folder; pip checks each against its hashes."""
    if WHEELS.exists():
        (locked,), _ = adapt_to_wheels([locked], temporary)
    try:
        options = [f"--wheel-dir={folder}", f"--requirement={locked}"]
        run_pip(sys.executable, "wheel", *options, env=dict(os.environ))
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
        said = run_quietly(*command).stderr if error.returncode == 1 else ""
        if names := " ".join(sorted(set(re.findall(r"Hash mismatch for `([\w.-]+)", said)))):
            raise Problem(
                f"The lock has other hashes than the files of {names}. If somebody has edited it, run"
                f' `make upgrade PACKAGES="{names}"`; if not, do not trust these files.'
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
    try:
        return run_quietly(*command, env=env).returncode == 0
    except OSError:
        return False


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
    told = pip_settings() | env
    for name, uv_name in UV_NAMES.items():
        if told.get(name):
            env.setdefault(uv_name, told[name])
    return env


def pip_settings() -> dict[str, str]:
    """Return what the files of pip's settings say, as variables; those that come later win."""
    own = os.environ.get("PIP_CONFIG_FILE", "")
    home, data = Path.home(), os.environ.get("APPDATA", "nowhere")
    config = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
    parser = configparser.RawConfigParser(strict=False)
    if own != os.devnull:
        files: list[str | Path] = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", home / ".pip/pip.conf"]
        files += [Path(config, "pip/pip.conf"), home / "Library/Application Support/pip/pip.conf"]
        files += [Path(data, "pip/pip.ini"), Path(sys.prefix, "pip.conf"), own]
        parser.read(files, encoding="utf-8")
    told: dict[str, str] = {}
    for section in filter(parser.has_section, ("global", "install")):
        told |= {
            f"PIP_{name.upper().replace('-', '_')}": value
            for name, value in parser[section].items()
        }
    return told


def without_settings() -> dict[str, str]:
    """Return the environment without what this machine tells uv, except where its cache is."""
    env = {n: v for n, v in os.environ.items() if n == "UV_CACHE_DIR" or not n.startswith("UV_")}
    nowhere = dict.fromkeys(("XDG_CONFIG_HOME", "APPDATA"), os.devnull)
    return env | nowhere | {"UV_NO_SYSTEM_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}

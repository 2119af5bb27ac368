"""Projects whose only source of packages is an index that asks for a password."""

import gzip
import io
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.network.password_index import ADDRESS, LOGIN, LOGIN_IN_URL, serve
from tests.render.private_index import wheel
from tests.support import commit_all, run, some_slow

USER, PASSWORD = LOGIN.split(":")
# What the hooks need, without Jupyter.
TOOLS = "detect-secrets flit-core nbstripout pip pre-commit pre-commit-hooks ruff setuptools uv"
# The command that pip and uv call, as far as they call it.
KEYRING = f"""\
case "$*" in
  *--output=json*) echo '{{"username": "{USER}", "password": "{PASSWORD}"}}' ;;
  "get "*" {USER}") echo "{PASSWORD}" ;;
  *) exit 1 ;;
esac"""


@pytest.fixture(scope="session")
def folder(plain, python, tmp_path_factory) -> Path:
    """The wheels of the index: those of a project, and a package that no other index has."""
    folder = tmp_path_factory.mktemp("index")
    options = ["--quiet", "--require-hashes", "--no-deps", "--wheel-dir", folder]
    locks = ["-r", "requirements.txt", "-r", "dev-requirements.txt"]
    run(python, "-m", "pip", "wheel", *options, *locks, cwd=plain("requirements"))
    for version in ("1.0", "2.0"):
        (folder / f"only_here-{version}-py3-none-any.whl").write_bytes(wheel("only-here", version))
    return folder


@pytest.fixture(scope="session")
def private(plain, folder, tmp_path_factory) -> Path:
    """A project that needs little besides that package; a newer version is allowed."""
    project = tmp_path_factory.mktemp("private") / "project"
    run("git", "clone", "--quiet", plain("requirements"), project)
    (project / "requirements.in").write_text("only-here==1.0\n")
    tools = ["-c requirements.txt", *TOOLS.split()]
    (project / "dev-requirements.in").write_text("\n".join(tools) + "\n")
    with serve(folder) as server:
        settings = {**os.environ, "UV_DEFAULT_INDEX": url(server.server_address)}
        run(sys.executable, "tools/packages.py", "lock", cwd=project, env=settings)
    (project / "requirements.in").write_text("only-here\n")
    commit_all(project, "Need little")
    return project


def url(address: tuple[str, int], login: str = f"{LOGIN_IN_URL}@") -> str:
    return "http://{}{}:{}/simple/".format(login, *address)


def uv_default_index(machine, address):
    machine.variables["UV_DEFAULT_INDEX"] = url(address)


def pip_conf(machine, address):
    path = machine.home / ".config/pip/pip.conf"
    path.parent.mkdir(parents=True)
    path.write_text(f"[global]\nindex-url = {url(address)}\n")


def netrc(machine, address):
    (machine.home / ".netrc").write_text(f"machine {address[0]} login {USER} password {PASSWORD}\n")
    (machine.home / ".netrc").chmod(0o600)
    machine.variables["PIP_INDEX_URL"] = url(address, login="")


def keyring(machine, address):
    machine.add_program("keyring", KEYRING)
    machine.variables["PIP_INDEX_URL"] = url(address, login=f"{USER}@")
    machine.variables["UV_KEYRING_PROVIDER"] = "subprocess"


# Those besides PIP_INDEX_URL, which is what CI has.
WAYS = {
    "UV_DEFAULT_INDEX": uv_default_index,
    "pip.conf": pip_conf,
    "netrc": netrc,
    "keyring": keyring,
}


@pytest.mark.parametrize("way", some_slow(WAYS, "pip.conf", "keyring"))
def test_setup_hooks_lock_and_upgrade_know_no_other_index(way, machine, private, folder):
    clone = machine.clone(private)
    WAYS[way](machine, ADDRESS)
    targets = "setup", "lock", "upgrade"
    printed = [machine.run_cut("make", t, index=folder, cwd=clone) for t in targets]
    _, lock, upgrade = printed
    assert "All versions stay." in lock.stdout
    assert "This index does not say how old a release is, so exclude-newer" in lock.stderr
    assert "only-here  1.0  ->  2.0" in upgrade.stdout
    commit_all(clone, "Upgrade")
    assert traces(ADDRESS, clone, printed) == set()


# None for the keyring: a build cannot reach it.
BUILDS = {
    "UV_DEFAULT_INDEX": ["image", "STAGE=notebook"],
    "pip.conf": ["image", "lock"],
    "netrc": ["image", "wheels"],
}


@pytest.mark.parametrize("way", some_slow(BUILDS, "pip.conf", "netrc"))
def test_builds_know_no_other_index(way, machine, private, folder, engine, engine_settings):
    clone = machine.clone(private)
    # The index is on this machine, and what another test has built does not count.
    flags = "--network host --no-cache-filter uv,wheels-runtime,wheels-notebook,locking,collected"
    (clone / "project.mk").write_text(f"{engine_settings}IMAGE_FLAGS += {flags}\n")
    with serve(folder) as server:
        WAYS[way](machine, server.server_address)
        built = machine.run("make", *BUILDS[way], "IMAGE=network-private", cwd=clone)
    if "lock" in BUILDS[way]:
        assert "uv-" in " ".join(server.fetched), "without .venv, `make lock` is a build"
        assert "cpython" not in built.stderr, "uv needs no other Python for it"
        assert machine.run("git", "diff", "--stat", "--", "*.txt", cwd=clone).stdout == ""
    if "wheels" in BUILDS[way]:
        assert list((clone / "wheels").glob("only_here-1.0-*.whl"))
    built.stderr = re.sub(r".* Looking in indexes: .*", "", built.stderr)
    image = "network-private:" + ("notebook" if "STAGE=notebook" in BUILDS[way] else "runtime")
    run(engine, "save", "--output", clone / "image.tar", image)
    described = [run(engine, command, image) for command in ("history", "inspect")]
    run(engine, "rmi", image)
    assert traces(server.server_address, clone, [built, *described]) == set()


@pytest.mark.parametrize("kind", some_slow(["requirements", "uv"], "requirements"))
def test_the_checks_in_ci_know_no_other_index_than_the_secret(kind, machine, plain, folder):
    clone = machine.clone(plain(kind))
    variables, jobs = workflow(clone, secret=url(ADDRESS))
    machine.variables |= variables
    printed = [
        machine.run_cut("bash", "-e", "-c", step, index=folder, cwd=clone) for step in jobs["check"]
    ]
    assert "4 passed" in printed[-1].stdout
    assert traces(ADDRESS, clone, printed) == set()


def test_without_a_secret_ci_asks_the_public_index(connected, plain, engine, engine_settings):
    clone = connected.clone(plain("requirements"))
    (clone / "project.mk").write_text(engine_settings + "IMAGE_FLAGS += --no-cache-filter build\n")
    connected.add_program("docker", f'exec "{shutil.which(engine)}" "$@"')
    variables, jobs = workflow(clone, secret="")
    assert variables == {"PIP_INDEX_URL": ""}
    connected.variables |= variables
    for step in jobs["check"] + jobs["image"]:
        connected.run("bash", "-e", "-c", step, cwd=clone)
    run(engine, "rmi", "network-requirements:runtime")


def workflow(clone: Path, secret: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The variables of the workflow, and the commands of its jobs."""
    parsed = yaml.safe_load((clone / ".github/workflows/ci.yml").read_text())
    settings = [step.get("env", {}) for job in parsed["jobs"].values() for step in job["steps"]]
    filled = {
        name: one[name].replace("${{ secrets.PIP_INDEX_URL }}", secret)
        for one in settings
        for name in one.keys() & {"PIP_INDEX_URL"}
    }
    return filled, {
        name: [step["run"] for step in job["steps"] if "run" in step]
        for name, job in parsed["jobs"].items()
    }


def traces(address: tuple[str, int], clone: Path, printed: list) -> set[str]:
    """Where the password, its user or the index stands: in a file, in git, or in what was printed."""
    found = set()
    for path in clone.rglob("*"):
        if path.suffix == ".tar":
            found |= {name for name, content in members(path) if told(content, address)}
        elif path.is_file() and told(path.read_bytes(), address):
            found.add(str(path))
    objects = ["git", "-C", clone, "cat-file", "--batch-all-objects", "--batch"]
    if told(run(*objects, encoding=None).stdout, address):
        found.add("git")
    for result in printed:
        if told((result.stdout + result.stderr).encode(), address):
            found.add(f"the output of {result.args}")
    return found


def members(image: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an image, of which a layer is one; some engines compress layers."""
    with tarfile.open(image) as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            content = archive.extractfile(member).read()
            yield member.name, gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def told(content: bytes, address: tuple[str, int]) -> bool:
    secrets = USER, PASSWORD, LOGIN_IN_URL.split(":")[1], "{}:{}".format(*address)
    return any(secret.encode() in content for secret in secrets)


def test_a_trace_is_found_wherever_it_is(private, machine):
    """Without this, the tests above could pass for nothing."""
    clone = machine.clone(private)
    assert traces(ADDRESS, clone, []) == set()
    (clone / "note").write_text(f"me: {USER}")
    commit_all(clone, "A note")
    (clone / "note").write_text("")
    with tarfile.open(clone / "image.tar", "w") as image:
        for name, content in {"plain": PASSWORD, "layer": LOGIN_IN_URL}.items():
            data = gzip.compress(content.encode()) if name == "layer" else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            image.addfile(member, io.BytesIO(data))
    printed = run("echo", url(ADDRESS, login=""))
    assert traces(ADDRESS, clone, [printed]) == {
        "git",
        "plain",
        "layer",
        f"the output of {printed.args}",
    }

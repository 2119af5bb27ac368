"""A package that is built from source gets its Debian library by itself, also from a wheelhouse."""

import re
import subprocess
import sys

import pytest

from tests.support import ROOT, commit_all, run, some_slow

PSYCOPG2 = """psycopg2==2.9.10 \\
    --hash=sha256:12ec0b40b0273f95296233e8750441339298e6a572f7039da5b260e3c8b60e11
"""


@pytest.fixture(scope="module")
def database(create, tmp_path_factory):
    """A project with one package, which has no wheels for Linux and links libpq."""
    project = create("Pinbook database", stack="minimal")
    for name in ("requirements.in", "dev-requirements.in"):
        (project / name).write_text("psycopg2\n")
    development = (project / "dev-requirements.txt").read_text()
    uv = re.search(r"^uv==.*\n(?: .*\n)*", development, re.MULTILINE)[0]
    (project / "requirements.txt").write_text(PSYCOPG2)
    (project / "dev-requirements.txt").write_text(PSYCOPG2 + uv)
    (project / "docker" / "apt-build.txt").write_text("gcc\nlibc6-dev\nlibpq-dev\npython3-dev\n")
    code = next((project / "src").glob("*"))
    (code / "__main__.py").write_text("import psycopg2\nprint(psycopg2.__libpq_version__)\n")
    commit_all(project)
    return project


def test_files_that_requirements_in_includes_are_no_obstacle(clone, small_project, make):
    """Only the lock check compares it, because an image gets no other files."""
    project = clone(small_project)
    with (project / "requirements.in").open("a") as file:
        file.write("-r more.in\n-rmore.in\n  --constraint=more/limits.txt\n")
    make(project, "image")


def test_the_library_is_found_installed_and_used(database, make, docker):
    make(database, "image")
    assert int(docker("run", "--rm", "pinbook-database:runtime").stdout) > 100000
    ask = ["--entrypoint", "dpkg-query", "pinbook-database:runtime", "-W", "-f", "${Package} "]
    installed = docker("run", "--rm", *ask).stdout.split()
    assert "libpq5" in installed
    assert {"gcc", "libpq-dev"}.isdisjoint(installed)


def test_a_build_without_a_cache_gives_the_same_image(database, make, docker):
    ids = []
    for flags in ("", "--no-cache-filter wheels-runtime,system,base,packages,runtime"):
        make(database, "image", flags=flags)
        ids.append(docker("inspect", "--format", "{{.Id}}", "pinbook-database:runtime").stdout)
    assert ids[0] == ids[1]
    look = "find /var/lib/apt/lists /var/cache/apt /var/log /var/cache/debconf -type f -size +0; ls /var/lib/dpkg/*-old"
    command = ["--user", "0", "--entrypoint", "sh", "pinbook-database:runtime", "-c", look]
    assert docker("run", "--rm", *command, check=False).stdout == ""


def test_a_wheel_is_built_once_and_checked_when_it_is_used(database, make, docker):
    make(database, "image")
    online = docker("inspect", "--format", "{{.Id}}", "pinbook-database:runtime").stdout
    collect = "--progress plain --no-cache-filter wheels-runtime,wheels-notebook"
    assert "Building wheel for psycopg2" in make(database, "wheels", flags=collect).stdout
    [wheel] = (database / "wheels").glob("psycopg2*.whl")
    made = wheel.read_bytes()
    assert "Building wheel" not in make(database, "wheels", flags=collect).stdout
    assert wheel.read_bytes() == made
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=database / "wheels", check=True)

    assert "Building wheel" not in make(database, "image", flags="--progress plain").stdout
    assert docker("inspect", "--format", "{{.Id}}", "pinbook-database:runtime").stdout == online

    wheel.write_bytes(made[:-1] + b"x")
    result = make(database, "image", flags="--progress plain", check=False)
    assert result.returncode != 0
    assert "DO NOT MATCH THE HASHES" in result.stdout


def test_from_wheels_the_image_needs_no_network_and_is_the_same(clone, small_project, make, docker):
    project = clone(small_project)
    make(project, "image", "IMAGE=pinbook-offline")
    online = docker("inspect", "--format", "{{.Id}}", "pinbook-offline:runtime").stdout
    make(project, "wheels")
    make(project, "image", "IMAGE=pinbook-offline", flags="--network none")
    assert docker("inspect", "--format", "{{.Id}}", "pinbook-offline:runtime").stdout == online


@pytest.fixture
def odd_project(clone, either_project):
    """A project with a package that has no wheel, and one that is asked for by its address."""
    project = clone(either_project)
    known = (ROOT / "locks/minimal/uv/uv.lock").read_text()
    address = re.search(r'url = "(\S+/cycler-\S+\.whl)"', known)[1]
    asked = ["docopt==0.6.2", f"cycler @ {address}"]
    if (project / "uv.lock").exists():
        (project / "pyproject.toml").write_text(
            '[project]\nname = "odd"\nversion = "1"\nrequires-python = ">=3.11"\n'
            f"dependencies = {asked}\n[dependency-groups]\ndev = ['iniconfig', 'uv']\n"
        )
    else:
        (project / "requirements.in").write_text("\n".join(asked) + "\n")
        (project / "dev-requirements.in").write_text("-c requirements.txt\niniconfig\ncycler\nuv\n")
    run(sys.executable, "tools/packages.py", "lock", cwd=project)
    (code,) = (project / "src").iterdir()
    (code / "__main__.py").write_text("import cycler, docopt\nprint('It runs.')\n")
    commit_all(project, "Ask for odd packages")
    return project


@pytest.mark.parametrize(
    "either_project", some_slow(["requirements", "uv"], "requirements"), indirect=True
)
def test_source_packages_and_addresses_need_no_network_either(odd_project, make, docker):
    def build(stage: str, flags: str) -> str:
        make(odd_project, "image", "IMAGE=pinbook-odd", f"STAGE={stage}", flags=flags)
        return docker("inspect", "--format", "{{.Id}}", f"pinbook-odd:{stage}").stdout

    online = [build("runtime", ""), build("notebook", "")]
    make(odd_project, "wheels")
    assert [build("runtime", "--network none"), build("notebook", "--network none")] == online
    assert docker("run", "--rm", "pinbook-odd:runtime").stdout == "It runs.\n"
    # The folder is enough to collect it again.
    before = (odd_project / "wheels/SHA256SUMS").read_text()
    make(odd_project, "wheels", flags="--network none")
    assert (odd_project / "wheels/SHA256SUMS").read_text() == before

    [wheel] = (odd_project / "wheels").glob("docopt-*")
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    result = make(odd_project, "image", flags="--progress plain", check=False)
    assert result.returncode != 0
    assert re.search("(?s)DO NOT MATCH THE HASHES.*docopt==", result.stdout)


def test_a_missing_library_stops_the_build_with_its_name(clone, small_project, make):
    project = clone(small_project)
    dockerfile = (project / "Dockerfile").read_text()
    # Take away what the base image has, as a leaner base would.
    step = "COPY docker/find-libdeps docker/wait-for-port /usr/local/bin/\n"
    assert dockerfile.count(step) == 1
    (project / "Dockerfile").write_text(
        dockerfile.replace(step, step + "RUN rm /usr/lib/*/libstdc++.so.6* && ldconfig\n")
    )
    result = make(project, "image", check=False)
    assert result.returncode != 0
    assert "libstdc++.so.6, needed by /venv/" in result.stdout


# What each package needs that the slim base lacks, and in which Debian package it is.
REAL_PACKAGES = {
    "lightgbm": {"libgomp.so.1": "libgomp1"},
    "numba": {},  # It only tries to load libtbb and libgomp.
    "opencv-python": {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0t64"},
    "pyodbc": {"libodbc.so.2": "libodbc2"},
}


@pytest.mark.slow
def test_the_advice_for_real_packages_ends_in_a_working_image(create, make, docker):
    project = create("Pinbook real", stack="minimal")
    (project / "requirements.in").write_text("\n".join(REAL_PACKAGES) + "\n")
    (project / "dev-requirements.in").write_text("-c requirements.txt\nuv\n")
    run(sys.executable, "tools/packages.py", "lock", cwd=project)
    (code,) = (project / "src").iterdir()
    (code / "__main__.py").write_text("import cv2, lightgbm, numba, pyodbc\nprint('All there.')\n")
    commit_all(project)

    result = make(project, "image", flags="--progress plain", check=False)
    assert result.returncode != 0
    named = re.findall(r"(\S+), needed by /venv/\S+ \(Debian package (\S+)\)", result.stdout)
    needed = {name: debian for each in REAL_PACKAGES.values() for name, debian in each.items()}
    assert needed.items() <= dict(named).items()
    assert "tbb" not in dict(named)
    (project / "docker/apt-run.txt").write_text("\n".join({debian for _, debian in named}) + "\n")
    make(project, "image")
    ran = docker(
        "run", "--rm", "--user", "4321", "--read-only", "--tmpfs", "/tmp", "pinbook-real:runtime"
    )
    assert ran.stdout == "All there.\n"

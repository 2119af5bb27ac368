"""The images run as any user, with a read-only root, without capabilities and without network."""

import hashlib
import json
import re
import shutil
import subprocess

import pytest
from packaging.requirements import Requirement

from tests.support import BIN, git
from tests.support import run as shell

STRICT = [
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--network", "none"),
]
USERS = {
    "own user": [],
    "any uid of group 0": ["--user", "123456:0"],
    "any uid and gid": ["--user", "123456:654321"],
    "own user, writable root": ["--read-only=false"],
    "any uid of group 0, writable root": ["--user", "123456:0", "--read-only=false"],
}
IMPORT_ALL = """
import importlib, importlib.metadata
packages = [name for name in importlib.metadata.packages_distributions() if name.isidentifier()]
for name in packages:
    importlib.import_module(name)
print(len(packages))
"""
INSTALLED = """
import importlib.metadata, json, packaging.markers, re, sysconfig
found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
names = [(re.sub(r"[-_.]+", "-", one.name).lower(), one.version) for one in found]
print(json.dumps([packaging.markers.default_environment(), ["==".join(name) for name in names]]))
"""
PLACES = """
import getpass, pathlib, os
getpass.getuser()
home = pathlib.Path.home()
(home / "written").write_text("yes")
print(home)
"""
CACHES = """
import json, pathlib, IPython.paths, jupyter_core.paths as jupyter, matplotlib
print(json.dumps([matplotlib.get_cachedir(), matplotlib.get_configdir(), jupyter.jupyter_data_dir(),
    jupyter.jupyter_runtime_dir(), jupyter.jupyter_config_dir(), IPython.paths.get_ipython_dir()]))
"""


@pytest.fixture(params=USERS.values(), ids=USERS.keys())
def user(request) -> list[str]:
    return request.param


@pytest.fixture
def run(docker, user):
    """Run a command in a strict container, and return what it prints."""

    def run(image: str, *command: str, options=()) -> str:
        entry = ["--entrypoint", command[0]] if command else []
        strict = ["run", "--rm", *STRICT, *user, *options, *entry]
        return docker(*strict, image, *command[1:]).stdout

    return run


def test_the_program_runs(run, runtime, uv_runtime):
    for image in (runtime, uv_runtime):
        assert run(image).endswith("°C warmer in summer\n")


def test_every_package_of_the_lock_imports(run, runtime, uv_runtime):
    for image in (runtime, uv_runtime):
        assert int(run(image, "python", "-W", "error::UserWarning", "-c", IMPORT_ALL)) > 10


def test_there_is_a_home_that_can_be_written(run, runtime):
    home = run(runtime, "python", "-c", PLACES).strip()
    assert home == "/tmp"


def test_all_caches_lie_in_the_home(run, notebook):
    places = json.loads(run(notebook, "python", "-c", CACHES))
    assert {place.startswith("/tmp/") for place in places} == {True}, places


def test_the_notebook_runs_on_a_mount_of_somebody_else(run, notebook, project, mount):
    shutil.copytree(project / "notebooks", mount / "notebooks")
    subprocess.run(["chown", "-R", "4242:4242", mount], check=True)
    convert = (
        "jupyter nbconvert --execute --to notebook --stdout /project/notebooks/quickstart.ipynb"
    )
    printed = run(notebook, *convert.split(), options=["--volume", f"{mount}:/project"])
    cells = json.loads(printed)["cells"]
    assert any("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", []))


@pytest.mark.parametrize(
    ("program", "init", "code"),
    [
        ("import time; time.sleep(100)", [], 130),
        # Long in C code, where no Python signal handler gets a turn: only an init of the engine helps.
        (
            "import numpy as np; a = np.ones((9000, 9000)); a @ a @ a @ a @ a @ a @ a @ a",
            ["--init", "--stop-signal", "SIGTERM"],
            143,
        ),
    ],
    ids=["waiting", "computing"],
)
def test_stop_ends_it_within_two_seconds(docker, user, runtime, program, init, code):
    ready = "print('ready', flush=True);"
    options = ["--detach", *STRICT, *user, *init, "--entrypoint", "python"]
    container = docker("run", *options, runtime, "-c", ready + program).stdout.strip()
    try:
        wait_for(docker, container, "ready")
        docker("stop", "--time", 2, container)
        state = json.loads(docker("inspect", "--format", "{{json .State}}", container).stdout)
        assert state["ExitCode"] == code
    finally:
        docker("rm", "--force", container)


def test_jupyter_asks_for_a_token_and_stops_within_two_seconds(docker, user, notebook):
    container = docker("run", "--detach", *STRICT, *user, notebook).stdout.strip()
    ask = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8888/api/contents')"
    try:
        log = wait_for(docker, container, "?token=")
        assert "Running as root" not in log
        refused = docker("exec", container, "python", "-c", ask, check=False)
        assert "HTTP Error 403" in refused.stderr
        docker("stop", "--time", 2, container)
        state = json.loads(docker("inspect", "--format", "{{json .State}}", container).stdout)
        assert state["ExitCode"] == 0
    finally:
        docker("rm", "--force", container)


def wait_for(docker, container: str, text: str) -> str:
    """Return the log of a container once this text is in it."""
    while True:
        result = docker("logs", container)
        log = result.stdout + result.stderr
        if text in log:
            return log
        running = docker("inspect", "--format", "{{.State.Running}}", container).stdout.strip()
        assert running == "true", log


def test_exit_code_arguments_and_orphans_pass_through_process_1(docker, runtime):
    options = ["run", "--rm", "--init", *STRICT, "--entrypoint", "sh", runtime]
    assert docker(*options, "-c", 'exit "$1"', "sh", "7", check=False).returncode == 7
    orphans = "sh -c 'sleep 0.1 &'; sleep 0.5; grep -h ^State /proc/[0-9]*/status"
    assert "zombie" not in docker(*options, "-c", orphans).stdout
    help_text = docker("run", "--rm", *STRICT, runtime, "--help").stdout
    assert help_text.startswith("usage: ")


def test_nothing_in_the_image_helps_an_intruder(docker, runtime, notebook, uv_runtime):
    look = "find / -xdev -perm /6000; find / -xdev -user 1001; ls -l /etc/passwd"
    for image in (runtime, notebook, uv_runtime):
        printed = docker(
            "run", "--rm", "--user", "0", "--entrypoint", "sh", image, "-c", look
        ).stdout
        assert printed.startswith("-rw-r--r--") and printed.count("\n") == 1, printed
    writable = "find / -xdev -writable ! -type l ! -path /cache ! -path '/tmp*' ! -path '/var/tmp*' ! -path '/run/lock*' ! -path '/dev/*' 2>/dev/null; true"
    tools = (
        "command -v pip pip3 uv gcc cc make git curl;"
        " for python in python python3 /usr/local/bin/python3; do $python -m pip; done; true"
    )
    for image in (runtime, uv_runtime):
        shell = ["run", "--rm", "--entrypoint", "sh", image, "-c"]
        assert docker(*shell, writable).stdout == ""
        result = docker(*shell, tools)
        assert result.stdout == ""
        assert result.stderr.count("No module named pip") == 3


def test_nothing_is_left_over_from_the_build(docker, runtime, notebook, uv_runtime):
    look = "find /root /tmp /var/tmp /var/log /var/cache/apt /var/lib/apt/lists /mnt /docker /lock -type f -size +0"
    for image in (runtime, notebook, uv_runtime):
        command = ["--user", "0", "--network", "none", "--entrypoint", "sh", image, "-c", look]
        left = docker("run", "--rm", *command, check=False).stdout.splitlines()
        assert [
            name for name in left if not name.startswith(("/root/.bashrc", "/root/.profile"))
        ] == []


def test_the_image_says_what_it_was_made_of(docker, project, small_projects, runtime, uv_runtime):
    made = {runtime: project / "requirements.txt", uv_runtime: small_projects["uv"] / "uv.lock"}
    for image, lock in made.items():
        config = json.loads(docker("inspect", "--format", "{{json .Config}}", image).stdout)
        assert config["User"] == "1001:0"
        package = image.split(":")[0].replace("-", "_")
        assert config["Entrypoint"] == ["python", "-m", package]
        assert config["Labels"] == {
            "lock.sha256": hashlib.sha256(lock.read_bytes()).hexdigest(),
            "org.opencontainers.image.revision": git(lock.parent, "rev-parse", "HEAD").strip(),
        }


def test_what_is_installed_is_what_the_lock_says(
    docker, project, small_projects, runtime, notebook, uv_runtime
):
    export = [BIN / "uv", "export", "--frozen", "--no-dev", "--no-emit-project", "--quiet"]
    run_lock = (project / "requirements.txt").read_text()
    locks = {
        runtime: run_lock,
        notebook: run_lock + (project / "dev-requirements.txt").read_text(),
        uv_runtime: shell(*export, cwd=small_projects["uv"]).stdout,
    }
    for image, lock in locks.items():
        printed = docker("run", "--rm", "--entrypoint", "python", image, "-c", INSTALLED).stdout
        environment, installed = json.loads(printed)
        pins = map(Requirement, re.findall(r"^\w[^\\\n]+", lock, re.MULTILINE))
        here = {pin for pin in pins if not pin.marker or pin.marker.evaluate(environment)}
        assert sorted(installed) == sorted({f"{pin.name}{pin.specifier}" for pin in here})

"""A cluster of containers: results, keys, locks and faults, with a client in a container of the same image."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

from tests.support import git, run

ANSWERS = {"cluster": "dask", "python_version": "3.11"}
PACKAGE = "pinbook_dask"
BASICS = f"import json, time, sys; from {PACKAGE} import cluster, seasons; c = cluster.connect();"
# Every number as its bits.
RESULTS = """
errors = c.gather(cluster.search(c, seasons.simulate(days=500)))
cluster.write(FOLDER, stations=4, days=5000)
means = cluster.summary(FOLDER).compute()
print(json.dumps([{k: v.hex() for k, v in errors.items()}, [v.hex() for v in means.to_numpy().ravel()]]))
"""
SQUARES = """
work = c.map(lambda n: (time.sleep(3), n * n)[1], range(12), pure=False)
time.sleep(2)
print("works", flush=True)
print(sum(c.gather(work)))
"""
ALL_DONE = (0, str(sum(n * n for n in range(12))))
PLAIN = """
import asyncio, ssl, sys
from distributed.comm import connect
from distributed.security import Security
async def main():
    own = Security.temporary().get_connection_args("client")
    for address, args in (("tcp://scheduler:8786", {}), ("tls://scheduler:8786", own)):
        try:
            comm = await connect(address, timeout=10, **args)
            await comm.write({"op": "identity", "reply": True})
            print("answer:", await comm.read())
        except (OSError, ssl.SSLError) as error:
            print("refused")
asyncio.run(main())
"""


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(create, docker, engine, local_base, mountable):
    """Run make in a project whose cluster has two workers, and Python in a client of it."""
    if docker("compose", "version", check=False).returncode != 0:
        pytest.skip("NOT TESTED: make cluster, because the engine has no compose command")
    folder = shutil.copytree(create("Pinbook dask", **ANSWERS), mountable / "cluster")
    subprocess.run(["chown", "-R", "4321:4321", folder], check=True)
    base = local_base("3.11")
    settings = {
        "ENGINE": engine,
        "IMAGE_FLAGS": f"--build-arg PYTHON_IMAGE={base}" if base else "",
        "COMPOSE_PROJECT_NAME": f"pinbook-cluster-{os.getpid()}",
        "SCHEDULER_PORT": free_port(),
        "DASHBOARD_PORT": free_port(),
    }

    def make(*arguments: str, fails=False) -> subprocess.CompletedProcess:
        result = subprocess.run(
            ["make", *arguments],
            cwd=folder,
            env=os.environ | settings,
            check=False,
            capture_output=True,
            text=True,
        )
        assert (result.returncode != 0) == fails, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    def command(code: str, *options: str, address="tls://scheduler:8786") -> list[str]:
        """Return how to run Python as a client of the cluster, or of none."""
        network = f"{settings['COMPOSE_PROJECT_NAME']}_default"
        strict = ["--rm", "--user", "4321:4321", "--read-only", "--tmpfs", "/tmp"]
        mounts = ["--volume", f"{folder}/data:/project/data"]
        if address:
            mounts += ["--volume", f"{folder}/.cluster:/.cluster:ro", "--network", network]
            mounts += ["--env", f"DASK_SCHEDULER_ADDRESS={address}"]
        entry = ["--entrypoint", "python", *options, "pinbook-dask:runtime", "-W", "ignore"]
        return [engine, "run", *strict, *mounts, *entry, "-c", code]

    def client(code: str, *options: str, limit=500, **where) -> subprocess.CompletedProcess:
        """Run Python there, for a limited time (s), and return its outputs and exit code."""
        words = command(code, *options, **where)
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=limit)

    make.client, make.command = client, command
    make.folder, make.settings = folder, settings
    make.link = make("cluster").stdout.splitlines()[-1]
    yield make
    make("cluster-down")
    label = f"label=com.docker.compose.project={settings['COMPOSE_PROJECT_NAME']}"
    for list_all in (["ps", "--all"], ["network", "ls"]):
        assert docker(*list_all, "--quiet", "--filter", label).stdout == "", list_all
    # What notebooks have fetched outlives the cluster.
    volumes = docker("volume", "ls", "--quiet", "--filter", label).stdout.split()
    assert set(volumes) <= {"pinbook-dask-cache"}
    assert not (folder / ".cluster").exists()


@pytest.fixture
def containers(docker, cluster):
    """Return the containers of the cluster as the engine describes them, the scheduler first."""
    label = f"label=com.docker.compose.project={cluster.settings['COMPOSE_PROJECT_NAME']}"

    def containers() -> list[dict]:
        names = docker("ps", "--quiet", "--filter", label).stdout.split()
        found = json.loads(docker("inspect", *names).stdout)
        return sorted(found, key=lambda one: one["Name"])

    yield containers
    # Whatever a test has broken is whole for the next one.
    cluster("cluster")


@pytest.fixture
def work(cluster):
    """Begin work of about 20 seconds, call a function meanwhile, and return exit code and last words."""

    def work(disturb) -> tuple[int, str]:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(cluster.command(BASICS + SQUARES), **both) as process:
            assert process.stdout.readline() == "works\n"
            disturb()
            printed = process.stdout.read()
        failed = process.returncode != 0
        return process.returncode, printed if failed else printed.splitlines()[-1]

    return work


def test_containers_compute_what_one_process_does(cluster):
    there = cluster.client(BASICS + RESULTS.replace("FOLDER", "'/project/data/equal'"))
    here = cluster.client(BASICS + RESULTS.replace("FOLDER", "'/tmp/equal'"), address=None)
    assert there.returncode == here.returncode == 0, there.stderr + here.stderr
    (errors_there, means_there), (errors_here, means_here) = map(
        json.loads, (there.stdout, here.stdout)
    )
    assert means_there == means_here
    for model, error in errors_here.items():
        # A straight line comes from LAPACK, which promises no bits.
        if model == "LinearRegression()":
            there, here = (float.fromhex(one[model]) for one in (errors_there, errors_here))
            assert there == pytest.approx(here)
        else:
            assert errors_there[model] == error, model


def test_the_dashboard_answers_at_the_link(cluster):
    assert cluster.link == f"http://127.0.0.1:{cluster.settings['DASHBOARD_PORT']}/status"
    with urllib.request.urlopen(cluster.link) as page:
        assert "Dask Diagnostic UI" in page.read().decode()


def test_no_part_has_a_right_that_it_does_not_need(cluster, containers):
    scheduler, *workers = containers()
    assert len(workers) == 2
    for part in (scheduler, *workers):
        host = part["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert part["Config"]["User"] == "4321:4321"
        assert host["Memory"] == 2 * 1024**3
        bound = [one for bindings in host["PortBindings"].values() for one in bindings]
        assert {one["HostIp"] for one in bound} == ({"127.0.0.1"} if part is scheduler else set())


def test_nobody_connects_without_the_keys(cluster, containers):
    network = f"{cluster.settings['COMPOSE_PROJECT_NAME']}_default"
    tried = cluster.client(PLAIN, "--network", network, address=None)
    assert tried.stdout.split() == ["refused", "refused"], tried.stderr


def test_keys_reach_neither_git_nor_the_image(cluster, docker):
    keys = cluster.folder / ".cluster/keys.yaml"
    assert keys.stat().st_mode & 0o777 == 0o600
    safe = ["-c", f"safe.directory={cluster.folder}"]
    assert git(cluster.folder, *safe, "status", "--porcelain") == ""
    look = (
        "grep -rl 'BEGIN.* PRIVATE KEY' /app /etc /root /tmp /cluster 2>/dev/null; ls -d /.cluster"
    )
    found = docker(
        "run", "--rm", "--entrypoint", "sh", "pinbook-dask:runtime", "-c", look, check=False
    )
    assert found.stdout == ""


def test_another_lock_or_code_is_refused(cluster, docker):
    label = '{{index .Config.Labels "lock.sha256"}}'
    of_image = docker("inspect", "--format", label, "pinbook-dask:runtime").stdout.strip()
    ask = f"{BASICS} print(c.run_on_scheduler(cluster.environment)['lock'])"
    lock = cluster.folder / "requirements.txt"
    assert cluster.client(ask).stdout.strip() == of_image
    assert hashlib.sha256(lock.read_bytes()).hexdigest() == of_image

    other = cluster.folder / "data/other.txt"
    other.write_text(lock.read_text() + "iniconfig==2.0.0\n")
    refused = cluster.client(BASICS, "--volume", f"{other}:/app/requirements.txt:ro")
    sentence = refused.stderr.splitlines()[-1]
    assert sentence.startswith(
        "RuntimeError: The cluster is older than this side (the locks differ): run"
    )

    code = f"/app/{PACKAGE}/__init__.py"
    refused = cluster.client(BASICS, "--volume", f"{other}:{code}:ro")
    assert "The cluster has other code than src/ here: run `make cluster`" in refused.stderr


def test_work_survives_a_killed_worker(cluster, containers, docker, work):
    worker = containers()[1]["Id"]
    assert work(lambda: docker("kill", worker)) == ALL_DONE


@pytest.mark.slow
def test_a_scheduler_that_sleeps_ten_seconds_loses_nothing(containers, docker, work):
    scheduler = containers()[0]["Id"]

    def disturb() -> None:
        docker("pause", scheduler)
        time.sleep(10)
        docker("unpause", scheduler)

    assert work(disturb) == ALL_DONE
    # Compose waits for no service whose last check has failed.
    end = time.monotonic() + 90
    while containers()[0]["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < end, "the scheduler does not recover"
        time.sleep(2)


@pytest.mark.slow
def test_a_scheduler_that_starts_again_ends_the_work(containers, docker, work):
    """The work ends with one sentence, because the scheduler has forgotten it."""
    scheduler = containers()[0]["Id"]

    def disturb() -> None:
        docker("stop", scheduler)
        time.sleep(10)
        docker("start", scheduler)

    code, printed = work(disturb)
    assert code == 1
    # What threads of the client print while Python ends may follow the sentence.
    assert "cancelled for reason: scheduler-connection-lost" in printed


@pytest.mark.slow
def test_a_task_that_needs_too_much_memory_fails(cluster, containers):
    """It takes the workers with it three times, and then dask gives it up."""
    eat = "c.submit(lambda: [bytearray(b'1' * 2**27) for _ in range(64)]).result()"
    failed = cluster.client(f"{BASICS} {eat}", limit=600)
    assert failed.returncode == 1
    assert "KilledWorker" in failed.stderr.splitlines()[-1] or "MemoryError" in failed.stderr


@pytest.mark.slow
def test_work_survives_a_cut_network(cluster, containers, docker, work):
    """A worker is cut off from all others until the work is done."""
    worker = containers()[1]["Id"]
    network = f"{cluster.settings['COMPOSE_PROJECT_NAME']}_default"
    assert work(lambda: docker("network", "disconnect", network, worker)) == ALL_DONE
    docker("rm", "--force", worker)


@pytest.mark.slow
def test_a_table_larger_than_all_memory_is_summarised(cluster, containers):
    """Workers of 512 MB, and 2 GB of readings that they keep: what does not fit lies on the disk."""
    cluster("cluster", "WORKER_MEMORY=512m")
    code = """
import dask.dataframe as dd
table = dd.from_map(cluster.station, range(80), days=1_000_000).persist()
count = table["celsius"].count().compute()
spilled = sum(c.run(lambda dask_worker: dask_worker.data.spilled_total.disk).values())
print(count, spilled > 2**28)
"""
    done = cluster.client(BASICS + code, limit=900)
    assert done.stdout.split() == ["80000000", "True"], done.stderr[-2000:]


@pytest.mark.slow
def test_notebooks_find_the_cluster_by_themselves(cluster, containers, engine, monkeypatch):
    """The one in .venv on the host, and the one in the container of `make up`."""
    # The tests may run as root, whom the folder does not belong to.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    settings = os.environ | cluster.settings | {"UID": "4321", "GID": "4321"}
    options = ["nbconvert", "--execute", "--to", "notebook", "--stdout", "many-machines.ipynb"]
    cluster("setup")
    cluster("image", "STAGE=notebook")
    compose = [engine, "compose", "run", "--rm", "--no-TTY", "--workdir", "/project/notebooks"]
    for command in (
        # Where root is the client, the workers need the right to write in its folders.
        ["sh", "-c", 'umask 0 && exec "$@"', "sh", "../.venv/bin/jupyter", *options],
        [*compose, "--entrypoint", "jupyter", "notebook", *options],
    ):
        ran = run(*command, cwd=cluster.folder / "notebooks", env=settings)
        outputs = [
            one for cell in json.loads(ran.stdout)["cells"] for one in cell.get("outputs", [])
        ]
        printed = "".join("".join(one.get("text", "")) for one in outputs)
        assert cluster.link in printed
        assert "100% Completed" in printed

"""The commands of the page about clusters start workers as jobs of a real SLURM, with one node and two CPUs."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support import ROOT, commit_all, git, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]
PAGE = ROOT / "docs/how-to/compute-on-a-cluster.md"
DAEMONS = ["munged", "slurmctld", "slurmd"]
HOST = socket.gethostname().split(".")[0]
SETTINGS = f"""
ClusterName=pinbook
SlurmctldHost={HOST}(127.0.0.1)
SlurmctldPort=%(controller)d
SlurmdPort=%(node)d
SlurmUser=root
AuthInfo=socket=%(folder)s/munge.socket
StateSaveLocation=%(folder)s/state
SlurmdSpoolDir=%(folder)s/spool
SlurmctldPidFile=%(folder)s/slurmctld.pid
SlurmdPidFile=%(folder)s/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0
SlurmdParameters=config_overrides
MailProg=/bin/true
NodeName={HOST} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000
PartitionName=all Nodes=ALL Default=YES
"""
CONNECT = "    client = cluster.connect(queue)\n"
# What tests add to the program after it has connected.
END_ALL_JOBS = """
    import subprocess, time
    work = client.map(lambda n: (time.sleep(1), n * n)[1], range(8), pure=False)
    time.sleep(2)
    subprocess.run(["scancel", "--name=dask-worker"], check=True)
    print(sum(client.gather(work)))
"""
TRY_WITHOUT_KEYS = """
    import asyncio
    from distributed.comm import connect
    from distributed.security import Security
    own = Security.temporary().get_connection_args("client")
    plain = queue.scheduler_address.replace("tls:", "tcp:")
    for address, arguments in ((plain, {}), (queue.scheduler_address, own)):
        try:
            asyncio.run(connect(address, timeout=10, **arguments))
            print("answer")
        except OSError:
            print("refused")
"""
ADD_A_WORKER_WITH_OTHER_CODE = """
    with open("src/bird_songs/seasons.py", "a") as file:
        file.write("# changed\\n")
    queue.adapt(minimum=2, maximum=2)
    queue.wait_for_workers(2)
    cluster.connect(queue)
"""


@pytest.fixture(scope="module")
def slurm():
    """Start a SLURM of this machine alone, and return the environment of its users."""
    if missing := [name for name in DAEMONS if not shutil.which(name, path="/usr/sbin")]:
        pytest.skip(
            f"NOT TESTED: the page about SLURM, because there is no {' and no '.join(missing)}"
        )
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: the page about SLURM, because only root can start one")
    with tempfile.TemporaryDirectory(prefix="pinbook-slurm-") as name:
        folder = Path(name)
        # munged wants a folder that everybody can enter.
        folder.chmod(0o711)
        (folder / "munge.key").touch(0o600)
        (folder / "munge.key").write_bytes(os.urandom(128))
        with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
            ports = {"controller": one.getsockname()[1], "node": other.getsockname()[1]}
        (folder / "slurm.conf").write_text(SETTINGS % (ports | {"folder": folder}))
        files = [f"--{file}-file={folder}/munge.{file}" for file in ("key", "pid", "log", "seed")]
        environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        running = []
        try:
            for command in (
                ["munged", "--foreground", *files, f"--socket={folder}/munge.socket"],
                ["slurmctld", "-D"],
                ["slurmd", "-D", "-N", HOST],
            ):
                with (folder / f"{command[0]}.out").open("w") as log:
                    command[0] = f"/usr/sbin/{command[0]}"
                    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                running.append(process)
                time.sleep(0.5)
            wait_until_idle(folder, environment)
            yield environment
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(timeout=30)


def wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    """Wait for a minute until the node takes jobs."""
    ask, state = ["sinfo", "--noheader", "--format=%t"], {"capture_output": True, "text": True}
    end = time.monotonic() + 60
    while subprocess.run(ask, env=environment, check=False, **state).stdout.strip() != "idle":
        logs = "\n".join(file.read_text()[-1500:] for file in folder.glob("*.out"))
        assert time.monotonic() < end, logs
        time.sleep(0.2)


@pytest.fixture(scope="module")
def page() -> tuple[str, str, str]:
    """Return what the section says to type first, its program, and how to start it."""
    section = PAGE.read_text(encoding="utf-8").partition("## With SLURM")[2].partition("\n## ")[0]
    (program,) = re.findall(r"`search.py`:\n\n```python\n(.*?)```", section, re.DOTALL)
    install, start = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return install, program, start


@pytest.fixture(scope="module")
def project(render, page) -> Path:
    """A project in which somebody has typed what the section says first."""
    project = render(cluster="dask", project_name="Bird songs", package_name="bird_songs")
    commit_all(project)
    run("make", "setup", cwd=project)
    run("sh", "-ec", page[0], cwd=project)
    commit_all(project, "Add dask-jobqueue")
    return project


@pytest.fixture
def search(slurm, project, page):
    """Run the program of the page, with changes, and return what it printed."""

    def search(*changes: tuple[str, str], fails: bool = False) -> str:
        program = page[1]
        for old, new in changes:
            assert old in program
            program = program.replace(old, new)
        (project / "search.py").write_text(program)
        ran = run("sh", "-ec", page[2], cwd=project, env=slurm, fails=fails, timeout=300)
        return ran.stdout + ran.stderr

    return search


def test_the_program_of_the_page_searches_on_slurm(search, project, slurm):
    printed = search((CONNECT, CONNECT + TRY_WITHOUT_KEYS + END_ALL_JOBS))
    assert printed.splitlines()[:3] == ["refused", "refused", str(sum(n * n for n in range(8)))]
    assert printed.splitlines()[3].startswith("LinearRegression()")
    # Two jobs, and two in their place.
    assert len(list((project / "data/logs").glob("dask-worker-*.err"))) >= 4
    # Keys and logs lie where git does not see them.
    assert git(project, "status", "--porcelain").splitlines() == ["?? search.py"]
    for key in Path.home().glob(".dask-jobqueue.*"):
        assert key.stat().st_mode & 0o777 == 0o600
    queued = ["squeue", "--noheader", "--states=pending,running"]
    assert run(*queued, env=slurm).stdout == ""


def test_a_job_that_begins_with_other_code_is_refused(search):
    printed = search(
        ("minimum=2, maximum=2", "minimum=1, maximum=1"),
        ("wait_for_workers(2)", "wait_for_workers(1)"),
        (CONNECT, CONNECT + ADD_A_WORKER_WITH_OTHER_CODE),
        fails=True,
    )
    assert "RuntimeError: The cluster has other code than src/ here" in printed

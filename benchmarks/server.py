"""Time JupyterLab in the container beside plain `jupyter lab` from .venv, until the quickstart has run.

    .venv/bin/python -m benchmarks.server [--runs 3] [--idle 300] [--python-image IMAGE]

Makes a new project, sets it up and builds its notebook image first, which is not counted: `make up` then
finds the image in the cache. Both servers get the same requests: a kernel, and all cells of the quickstart.
Prints a Markdown table in seconds, fastest and median, and the processor time that the idle container takes.

Exit codes: 0 done, 1 a command failed, 2 wrong usage.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from benchmarks.project import ROOT, copy, timed

# Root cannot be the user in the container, so the project belongs to somebody else there.
OWNER = 4321
USAGE = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="starts of each (default: 3)")
    parser.add_argument("--idle", type=int, default=300, help="seconds to watch (default: 300)")
    parser.add_argument("--python-image", help="base of the image (default: that of the project)")
    parser.add_argument("--execute", metavar="LINK", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.execute:
        return execute(args.execute)
    base = f"--build-arg PYTHON_IMAGE={args.python_image}" if args.python_image else ""
    # An engine in a machine of its own sees few folders of this one.
    with tempfile.TemporaryDirectory(dir="/run" if os.access("/run", os.W_OK) else None) as folder:
        os.chmod(folder, 0o755)
        project = Path(folder, "project")
        for command in (copy(["project_name=Pinbook server"], project), ["git", "init", project]):
            timed(*command, cwd=Path.cwd())
        timed("make", "setup", cwd=project)
        with socket.create_server(("127.0.0.1", 0)) as free:
            os.environ |= {"IMAGE_FLAGS": base, "PORT": str(free.getsockname()[1])}
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", project], check=True)
        timed("make", "image", "STAGE=notebook", cwd=project)
        try:
            measure(project, args.runs, args.idle)
        finally:
            timed("make", "down", cwd=project)


def measure(project: Path, runs: int, idle: int) -> None:
    kinds = {"`make up`": in_container, "`.venv/bin/jupyter lab`": plain}
    times: dict[str, list] = {kind: [] for kind in kinds}
    for number in range(runs):
        for kind, start in kinds.items():
            print(f"{kind}, run {number + 1} of {runs}", file=sys.stderr)
            times[kind].append(start(project))
    print(f"{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}; {runs} runs\n")
    print("| | answers, fastest (s) | median | quickstart has run, fastest (s) | median |")
    print("|---|--:|--:|--:|--:|")
    for kind, both in times.items():
        cells = [
            f"{one:.1f}"
            for column in zip(*both, strict=True)
            for one in (min(column), statistics.median(column))
        ]
        print(f"| {kind} | {' | '.join(cells)} |")
    timed("make", "up", cwd=project)
    time.sleep(20)
    before = used(project)
    time.sleep(idle)
    share = (used(project) - before) / idle
    print(f"\nThe idle container takes {100 * share:.2f} % of one core, over {idle} s.")


def in_container(project: Path) -> tuple[float, float]:
    """Return the seconds until the server answers, and until the quickstart has run."""
    begin = time.perf_counter()
    up = subprocess.run(["make", "up"], cwd=project, check=True, capture_output=True, text=True)
    answers = time.perf_counter() - begin
    have_run(up.stdout.splitlines()[-1], project)
    ran = time.perf_counter() - begin
    timed("make", "down", cwd=project)
    return answers, ran


def plain(project: Path) -> tuple[float, float]:
    """The same for JupyterLab from .venv, with its own settings."""
    token, port = uuid.uuid4().hex, os.environ["PORT"]
    command = [project / ".venv/bin/jupyter", "lab", "--no-browser", "--allow-root"]
    begin = time.perf_counter()
    with subprocess.Popen(
        [*command, f"--port={port}", f"--IdentityProvider.token={token}"],
        cwd=project,
        stderr=subprocess.DEVNULL,
    ) as server:
        link = f"http://127.0.0.1:{port}/lab?token={token}"
        while True:
            try:
                urllib.request.urlopen(link).read()
                break
            except OSError:
                time.sleep(0.05)
        answers = time.perf_counter() - begin
        have_run(link, project)
        ran = time.perf_counter() - begin
        server.terminate()
    return answers, ran


def have_run(link: str, project: Path) -> None:
    """Run the cells of the quickstart, with the Python of the project, which can talk to a kernel."""
    command = [project / ".venv/bin/python", "-m", "benchmarks.server", f"--execute={link}"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=project, env=env, check=True)


def execute(link: str) -> None:
    """Start a kernel through the server, and run the cells of the quickstart in it."""
    import websocket

    host, _, token = link.removeprefix("http://").replace("/lab", "").partition("?token=")
    ask = urllib.request.Request(
        f"http://{host}/api/kernels", b"{}", {"Authorization": f"token {token}"}
    )
    kernel = json.load(urllib.request.urlopen(ask))["id"]
    socket = websocket.create_connection(
        f"ws://{host}/api/kernels/{kernel}/channels?token={token}", timeout=300
    )
    notebook = json.loads(Path("notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
    move = "import os; os.chdir(os.path.join(os.getcwd(), 'notebooks'))"
    sources = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    for source in [move, *sources]:
        name = uuid.uuid4().hex
        header = {"msg_id": name, "msg_type": "execute_request", "session": "s", "version": "5.3"}
        content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
        message = {"header": header | {"username": "", "date": ""}, "parent_header": {}}
        socket.send(json.dumps(message | {"metadata": {}, "content": content, "channel": "shell"}))
        while True:
            answer = json.loads(socket.recv())
            if answer["msg_type"] == "execute_reply" and answer["parent_header"]["msg_id"] == name:
                break
        if answer["content"]["status"] != "ok":
            sys.exit(f"a cell failed: {answer['content'].get('evalue')}")
    socket.close()


def used(project: Path) -> float:
    """Return the seconds of processor time that the container has taken, health checks included."""
    command = ["docker", "compose", "exec", "notebook", "sh", "-c", USAGE]
    text = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    words = text.split()
    return int(words[1]) / 1e6 if words[0] == "usage_usec" else int(words[0]) / 1e9


if __name__ == "__main__":
    main()

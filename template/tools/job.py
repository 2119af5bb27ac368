"""Run notebooks in the image, and keep in runs/<time>-<commit>/ what each showed and ran with.

`make job` calls this, and this calls itself in the container, where nbclient and nbconvert are. The
environment says what to run: NOTEBOOK (files, patterns, or a run.json), PARAMS, JOBS (how many at once),
NETWORK (anything: with a network), ENGINE, and STRICT, which are options of its `run`.

Exit codes: 0 done, 1 with a sentence: wrong usage, a cell failed, or outputs differ; 130 interrupted.
Anything else comes from the engine.
"""

import ast
import errno
import glob
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

USAGE = "Name a notebook and its parameters: make job NOTEBOOK=notebooks/x.ipynb PARAMS='days=9'"
# Compilers start what they put into /tmp. Models come from the volume of compose.yaml.
OPTIONS = """--rm --init --tmpfs /tmp:exec --entrypoint python --env PYTHONPATH=/project/src
    --env RUN_FOLDER=/media --env XDG_CACHE_HOME=/cache"""
# `make image` has just built it, so its labels say what is here now.
LABEL = '{{index .Config.Labels "%s"}}'
LABELS = f"{{{{.Id}}}} {LABEL % 'lock.sha256'} {LABEL % 'org.opencontainers.image.revision'}"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: a full disk leaves what it was before."""
    new = path.with_name(f".{path.name}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def value(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def set_parameters(notebook: dict, parameters: dict) -> None:
    """Add a cell that sets them, after the one with their usual values."""
    cells = notebook["cells"]
    tagged = [n for n, one in enumerate(cells) if "parameters" in one["metadata"].get("tags", ())]
    if not tagged:
        sys.exit("No cell has the tag 'parameters': give it to the one that sets them.")
    usual = re.findall(r"^(\w+)\s*=", "".join(cells[tagged[0]]["source"]), re.MULTILINE)
    if unknown := [name for name in parameters if name not in usual]:
        sys.exit(f"There is no parameter {unknown[0]}, only {', '.join(usual)}: correct PARAMS.")
    source = "\n".join(f"{name} = {one!r}" for name, one in parameters.items())
    cell = cells[tagged[0]] | {"metadata": {"tags": ["injected-parameters"]}, "source": source}
    cells.insert(tagged[0] + 1, cell | ({"id": "injected-parameters"} if "id" in cell else {}))


def outputs(notebook: Path) -> str:
    """Return what the cells show, without warnings, progress and addresses, which differ in every run."""
    shown = [
        [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        for cell in read(notebook)["cells"]
    ]
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x", json.dumps(shown, sort_keys=True))


def compare(before: Path, folder: Path) -> int:
    """Say what differs from an earlier run: in what it ran with, and in what it shows."""
    old, new = read(before / "run.json"), read(folder / "run.json")
    changed = [what for what in ("commit", "dirty", "lock", "image") if old[what] != new[what]]
    print(f"Changed since then: {', '.join(changed) or 'nothing'}.")
    name = Path(new["notebook"]).name
    equal = outputs(before / name) == outputs(folder / name)
    print("The outputs are equal." if equal else f"The outputs differ from those in {before}.")
    return 0 if equal else 1


def new_folder(commit: str) -> Path:
    """Make the folder of a run; two that start in the same second get one each."""
    name = time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + commit[:7]
    folder, number = Path("runs", name), 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
            folder = Path("runs", f"{name}-{number}")


def run(image: str, job: dict, stopped: list) -> int:
    """Run a notebook in a container, and return its exit code."""
    if stopped:
        return 130
    engine, path = shlex.split(os.environ["ENGINE"]), job["path"]
    inspect = [*engine, "image", "inspect", "--format", LABELS, image]
    labels = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()
    found = dict(zip(("image", "lock", "commit"), [*labels, "none"], strict=False))
    found["commit"], dirty, _ = found["commit"].partition("-dirty")
    about = {"notebook": str(path), "parameters": job["parameters"], **found, "dirty": bool(dirty)}
    about["network"] = job["network"]
    folder = new_folder(found["commit"])
    write(folder / path.name, json.dumps(job["notebook"]))

    def note(**more) -> None:
        about.update(more)
        write(folder / "run.json", json.dumps(about, indent=2) + "\n")

    note(start=time.strftime("%FT%TZ", time.gmtime()))
    mounts = f"--volume={Path.cwd()}:/project:ro", f"--volume={folder.absolute()}:/media"
    cache = f"--volume={Path(image).name.partition(':')[0]}-cache:/cache"
    user = f"--user={os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "--user=0"
    network = [] if job["network"] else ["--network=none"]
    options = [*shlex.split(os.environ["STRICT"]), *OPTIONS.split(), *network, *mounts, cache, user]
    place = f"--workdir=/project/{path.parent.as_posix()}"
    inside = image, "/project/tools/job.py", "--inside", f"/media/{path.name}"
    code = subprocess.call([*engine, "run", *options, place, *inside])
    note(end=time.strftime("%FT%TZ", time.gmtime()), exit=code)
    print(f"See {folder / path.stem}.html")
    return code or (compare(job["before"], folder) if job["before"] else 0)


def execute(path: Path) -> int:
    """Run the notebook in place, inside the container; what is done is saved after each cell."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbconvert import HTMLExporter

    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    client = NotebookClient(notebook, timeout=None, coalesce_streams=True)
    number = itertools.count(1)

    def say(text: str) -> None:
        print(f"{path.stem}: {text}", flush=True)

    client.on_cell_execute = lambda **_: say(f"cell {next(number)} of {len(cells)}")
    client.on_cell_executed = lambda **_: write(path, nbformat.writes(notebook))
    try:
        client.execute()
        return 0
    except CellExecutionError as error:
        at, trace = client.code_cells_executed, re.sub(r"\x1b\[[\d;]*m", "", error.traceback)
        line = int((re.findall(r"Cell In\[\d+\], line (\d+)", trace) or [1])[-1])
        source = cells[at - 1].source.splitlines()[line - 1].strip()
        say(f"Cell [{at}], line {line}: {source}\n{error.ename}: {error.evalue}")
        return 1
    # nbclient raises these where Ctrl+C or a lack of memory has ended the kernel.
    except (KeyboardInterrupt, RuntimeError, AssertionError):
        say(f"Cell [{client.code_cells_executed}] was interrupted.")
        return 130
    finally:
        write(path, nbformat.writes(notebook))
        page, _ = HTMLExporter().from_notebook_node(notebook)
        write(path.with_suffix(".html"), page)


def asked() -> list[dict]:
    """Return what to run, as the environment says. Raises where that is wrong, or no notebook."""
    given, network = os.environ.get("NOTEBOOK", ""), bool(os.environ.get("NETWORK"))
    words = [given] if Path(given).is_file() else shlex.split(given)
    pairs = [one.split("=", 1) for one in shlex.split(os.environ.get("PARAMS", ""))]
    parameters = {name: value(text) for name, text in pairs}
    files = [[w] if Path(w).is_file() else sorted(glob.glob(w)) or [w] for w in words]
    jobs = []
    for path in map(Path, itertools.chain(*files)):
        job: dict = {"path": path, "parameters": parameters, "network": network, "before": None}
        if path.name == "run.json":
            old = read(path)
            job |= {"path": Path(old["notebook"]), "before": path.parent}
            job |= {"parameters": old["parameters"], "network": old["network"]}
        job["notebook"] = read(job["path"])
        if job["parameters"]:
            set_parameters(job["notebook"], job["parameters"])
        jobs.append(job)
    return jobs


def main() -> int:
    if sys.argv[1] == "--inside":
        return execute(Path(sys.argv[2]))
    at_once = os.environ.get("JOBS") or "1"
    if not re.fullmatch(r"[1-9]\d*", at_once):
        sys.exit(
            f"JOBS says how many run at once: give it a number, like 2, in place of {at_once}."
        )
    try:
        jobs = asked()
    except (OSError, ValueError, KeyError):
        jobs = []
    if not jobs:
        sys.exit(USAGE)
    # The containers get Ctrl+C too, and what they have done by then is kept. No other one starts.
    stopped = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    with ThreadPoolExecutor(int(at_once)) as pool:
        return max(pool.map(lambda job: run(sys.argv[1], job, stopped), jobs))


try:
    sys.exit(main())
except OSError as error:
    if error.errno != errno.ENOSPC:
        raise
    sys.exit("There is no space left on the disk: make room, and run it again.")

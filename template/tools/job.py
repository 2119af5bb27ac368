"""Run notebooks in the image, and keep in runs/<time>-<commit>/ what each showed and ran with.

`make job` calls this, and this calls itself in the container, where nbclient and nbconvert are. The
environment says what to run: NOTEBOOK (files, patterns, or a run.json), PARAMS, JOBS (how many at once),
NETWORK (anything: with a network), ENGINE, and STRICT, which are options of its `run`.

Exit codes: 0 done, 1 wrong usage, a cell failed, or outputs differ; 130 interrupted. Anything else comes
from the engine.
"""

import ast
import glob
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

USAGE = "Usage, with a notebook that is there: make job NOTEBOOK=a.ipynb [PARAMS='days=9'] [JOBS=2]"
# Compilers start what they put into /tmp. Models come from the volume of compose.yaml.
OPTIONS = """--rm --init --tmpfs /tmp:exec --entrypoint python --env PYTHONPATH=/project/src
    --env RUN_FOLDER=/media --env XDG_CACHE_HOME=/cache"""
# `make image` has just built it, so its labels say what is here now.
LABEL = '{{index .Config.Labels "%s"}}'
ENGINE = shlex.split(os.environ.get("ENGINE", "docker"))
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


def labels(image: str) -> dict:
    """Return what an image is and was made of, in the words of run.json."""
    inspect = [*ENGINE, "image", "inspect", "--format", LABELS, image]
    found = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()
    identity, lock, commit = [*found, "none"][:3]
    commit, dirty, _ = commit.partition("-dirty")
    return {"image": identity, "lock": lock, "commit": commit, "dirty": bool(dirty)}


def run(image: str, job: dict, stopped: list) -> int:
    """Run a notebook in a container, and return its exit code."""
    if stopped:
        return 130
    path, start = job["path"], datetime.now(UTC)
    about = {"notebook": str(path), "parameters": job["parameters"], "network": job["network"]}
    about |= labels(image) | {"start": start.isoformat(timespec="seconds")}
    # Two that start in the same second need a folder each.
    folder = Path("runs", f"{start:%Y%m%dT%H%M%S.%fZ}-{about['commit'][:7]}")
    folder.mkdir(parents=True)
    write(folder / path.name, json.dumps(job["notebook"]))
    write(folder / "run.json", json.dumps(about, indent=2) + "\n")
    mounts = f"--volume={Path.cwd()}:/project:ro", f"--volume={folder.absolute()}:/media"
    cache = f"--volume={Path(image).name.partition(':')[0]}-cache:/cache"
    user = f"--user={os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "--user=0"
    network = [] if job["network"] else ["--network=none"]
    options = [*shlex.split(os.environ["STRICT"]), *OPTIONS.split(), *network, *mounts, cache, user]
    place = f"--workdir=/project/{path.parent.as_posix()}"
    inside = image, "/project/tools/job.py", "--inside", f"/media/{path.name}"
    code = subprocess.call([*ENGINE, "run", *options, place, *inside])
    about |= {"end": datetime.now(UTC).isoformat(timespec="seconds"), "exit": code}
    write(folder / "run.json", json.dumps(about, indent=2) + "\n")
    print(f"See {folder}")
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
        # IPython names the cell and the line, and shows both.
        trace = re.sub(r"\x1b\[[\d;]*m", "", error.traceback)
        say(f"a cell has failed:\n{trace}")
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
    """Return what to run, as the environment says. Raises OSError, ValueError and KeyError."""
    given = os.environ["NOTEBOOK"]
    parameters = dict(word.split("=", 1) for word in shlex.split(os.environ.get("PARAMS", "")))
    words = [given] if Path(given).is_file() else shlex.split(given)
    jobs: list[dict] = []
    for name in itertools.chain(*(sorted(glob.glob(word)) or [word] for word in words)):
        path = Path(name)
        job: dict = {"path": path, "before": None, "network": bool(os.environ.get("NETWORK"))}
        job["parameters"] = {name: value(text) for name, text in parameters.items()}
        if path.name == "run.json":
            old = read(path)
            job = old | {"path": Path(old["notebook"]), "before": path.parent}
        job["notebook"] = read(job["path"])
        if job["parameters"]:
            set_parameters(job["notebook"], job["parameters"])
        jobs.append(job)
    return jobs


def main() -> int:
    if sys.argv[1] == "--inside":
        return execute(Path(sys.argv[2]))
    try:
        at_once = int(os.environ.get("JOBS") or 1)
        jobs = asked()
        if not jobs or at_once < 1:
            raise ValueError
    except (OSError, ValueError, KeyError):
        sys.exit(USAGE)
    # The containers get Ctrl+C too, and what they have done by then is kept. No other one starts.
    stopped: list[bool] = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    with ThreadPoolExecutor(at_once) as pool:
        return max(pool.map(lambda job: run(sys.argv[1], job, stopped), jobs))


try:
    sys.exit(main())
except OSError as error:
    sys.exit(str(error))

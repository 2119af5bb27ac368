"""Run a notebook in the image, and keep in runs/<time>-<commit>/ what it showed and ran with: `make job`.

NOTEBOOK=notebooks/x.ipynb PARAMS="days=365" runs it read-only and without a network; it may write to the
folder in $RUN_FOLDER. NOTEBOOK=runs/.../run.json does it again and compares the outputs.

Exit codes: 0 done, 1 with a sentence: wrong usage, a cell failed, or outputs differ; 130 interrupted.
"""

import ast
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

STRICT = """--rm --init --read-only --tmpfs /tmp:exec --network none --cap-drop ALL
    --security-opt no-new-privileges --entrypoint python --env PYTHONPATH=/project/src
    --env RUN_FOLDER=/media"""
# `make image` has just built it, so its labels say what is here now.
LABEL = '{{index .Config.Labels "%s"}}'
LABELS = f"{{{{.Id}}}} {LABEL % 'lock.sha256'} {LABEL % 'org.opencontainers.image.revision'}"
TIME = "%Y-%m-%dT%H:%M:%SZ"


def value(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def with_parameters(path: Path, parameters: dict) -> str:
    """Return the notebook with a cell that sets the parameters, after the one with their usual values."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if parameters:
        tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        if not tagged:
            sys.exit(f"{path} has no cell with the tag 'parameters': give it to the one that sets them.")
        usual = re.findall(r"^(\w+)\s*=", "".join(tagged[0]["source"]), re.MULTILINE)
        if unknown := [name for name in parameters if name not in usual]:
            sys.exit(f"{path} has no parameter {unknown[0]}, only {', '.join(usual)}: correct PARAMS.")
        source = "\n".join(f"{name} = {one!r}" for name, one in parameters.items())
        cell = tagged[0] | {"metadata": {"tags": ["injected-parameters"]}, "source": source}
        cell |= {"id": "injected-parameters"} if "id" in cell else {}
        notebook["cells"].insert(notebook["cells"].index(tagged[0]) + 1, cell)
    return json.dumps(notebook)


def outputs(path: Path) -> list[str]:
    """Return what the code cells show, without the addresses of objects, which differ in every run."""
    shown = [cell.get("outputs", "") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return [re.sub(r"\b0x[0-9a-f]{6,}", "0x", json.dumps(one, sort_keys=True)) for one in shown]


def compare(before: Path, folder: Path, run: dict) -> int:
    """Say what differs from an earlier run: in what it ran with, and in what it shows."""
    earlier = json.loads((before / "run.json").read_text(encoding="utf-8"))
    if changed := [what for what in ("commit", "dirty", "lock", "image") if earlier[what] != run[what]]:
        print(f"Changed since then: {', '.join(changed)}.")
    old, new = [outputs(one / Path(run["notebook"]).name) for one in (before, folder)]
    print("The outputs are equal." if old == new else f"The outputs differ from those in {before}.")
    return 0 if old == new else 1


def start(name: str) -> int:
    given, before, engine = Path(os.environ.get("NOTEBOOK", "")), None, shlex.split(os.environ["ENGINE"])
    try:
        pairs = [one.split("=", 1) for one in shlex.split(os.environ.get("PARAMS", ""))]
        parameters = {name: value(text) for name, text in pairs}
        if given.name == "run.json":
            before, earlier = given.parent, json.loads(given.read_text(encoding="utf-8"))
            given, parameters = Path(earlier["notebook"]), earlier["parameters"]
        notebook = with_parameters(given, parameters)
    except (OSError, ValueError, KeyError):
        sys.exit('Name a notebook and its parameters: make job NOTEBOOK=notebooks/x.ipynb PARAMS="days=365"')
    inspect = [*engine, "image", "inspect", "--format", LABELS, name]
    labels = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()
    image, lock, revision = [*labels, "none"][:3]
    run = {"notebook": given.as_posix(), "parameters": parameters, "image": image, "lock": lock}
    run |= {"commit": revision.removesuffix("-dirty"), "dirty": revision.endswith("-dirty")}
    run["start"] = time.strftime(TIME, time.gmtime())
    folder = Path("runs", re.sub("[-:]", "", run["start"]) + "-" + revision[:7])
    while folder.exists():
        folder = folder.with_name(folder.name + "-2")
    folder.mkdir(parents=True)
    (folder / given.name).write_text(notebook, encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    # The container gets Ctrl+C too, and what it has done by then is kept.
    signal.signal(signal.SIGINT, lambda *_: None)
    mounts = f"--volume={Path.cwd()}:/project:ro", f"--volume={folder.absolute()}:/media"
    user = f"--user={os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "--user=0"
    options = [*STRICT.split(), *mounts, user, f"--workdir=/project/{given.parent.as_posix()}"]
    program = name, "/project/tools/job.py", "--inside", f"/media/{given.name}"
    run["exit"] = subprocess.call([*engine, "run", *options, *program])
    run["end"] = time.strftime(TIME, time.gmtime())
    (folder / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    print(f"See {folder}/{given.stem}.html")
    return run["exit"] or (compare(before, folder, run) if before else 0)


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
    client.on_cell_execute = lambda **_: print(f"cell {next(number)} of {len(cells)}", flush=True)
    client.on_cell_executed = lambda **_: nbformat.write(notebook, path)
    try:
        client.execute()
        return 0
    except CellExecutionError as error:
        at, trace = client.code_cells_executed, re.sub(r"\x1b\[[\d;]*m", "", error.traceback)
        line = int((re.findall(r"Cell In\[\d+\], line (\d+)", trace) or [1])[-1])
        print(f"Cell [{at}], line {line}: {cells[at - 1].source.splitlines()[line - 1].strip()}", file=sys.stderr)
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    # nbclient raises these where Ctrl+C or a lack of memory has ended the kernel.
    except (KeyboardInterrupt, RuntimeError, AssertionError):
        print(f"Cell [{client.code_cells_executed}] was interrupted.", file=sys.stderr)
        return 130
    finally:
        nbformat.write(notebook, path)
        page, _ = HTMLExporter().from_notebook_node(notebook)
        path.with_suffix(".html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(execute(Path(sys.argv[2])) if sys.argv[1] == "--inside" else start(sys.argv[1]))

"""Run a notebook in the image, and keep in runs/<time>-<commit>/ what it showed and ran with.

`make job` calls this, and this calls itself in the container, where nbclient and nbconvert are.

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

USAGE = "Name a notebook and its parameters: make job NOTEBOOK=notebooks/x.ipynb PARAMS='days=9'"
STRICT = """--rm --init --read-only --tmpfs /tmp:exec --network none --cap-drop ALL
    --security-opt no-new-privileges --entrypoint python --env PYTHONPATH=/project/src
    --env RUN_FOLDER=/media"""
# `make image` has just built it, so its labels say what is here now.
LABEL = '{{index .Config.Labels "%s"}}'
LABELS = f"{{{{.Id}}}} {LABEL % 'lock.sha256'} {LABEL % 'org.opencontainers.image.revision'}"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


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
    """Return what the cells show, without the addresses of objects, which differ in every run."""
    shown = [cell.get("outputs") for cell in read(notebook)["cells"]]
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


def run(image: str, path: Path, notebook: dict, parameters: dict) -> tuple[int, Path]:
    """Run a notebook in a container, and return its exit code and the folder that it leaves."""
    engine = shlex.split(os.environ["ENGINE"])
    inspect = [*engine, "image", "inspect", "--format", LABELS, image]
    labels = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()
    found = dict(zip(("image", "lock", "commit"), [*labels, "none"], strict=False))
    found["commit"], dirty, _ = found["commit"].partition("-dirty")
    about = {"notebook": str(path), "parameters": parameters, **found, "dirty": bool(dirty)}
    folder = Path("runs", time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + found["commit"][:7])
    while folder.exists():
        folder = folder.with_name(folder.name + "-2")
    folder.mkdir(parents=True)
    (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")

    def note(**more) -> None:
        about.update(more)
        (folder / "run.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    note(start=time.strftime("%FT%TZ", time.gmtime()))
    # The container gets Ctrl+C too, and what it has done by then is kept.
    signal.signal(signal.SIGINT, lambda *_: None)
    mounts = f"--volume={Path.cwd()}:/project:ro", f"--volume={folder.absolute()}:/media"
    user = f"--user={os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "--user=0"
    options = [*STRICT.split(), *mounts, user, f"--workdir=/project/{path.parent.as_posix()}"]
    inside = image, "/project/tools/job.py", "--inside", f"/media/{path.name}"
    code = subprocess.call([*engine, "run", *options, *inside])
    note(end=time.strftime("%FT%TZ", time.gmtime()), exit=code)
    print(f"See {folder / path.stem}.html")
    return code, folder


def execute(path: Path) -> int:
    """Run the notebook in place, inside the container; what is done is saved after each cell."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbconvert import HTMLExporter

    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    client, number = (
        NotebookClient(notebook, timeout=None, coalesce_streams=True),
        itertools.count(1),
    )
    client.on_cell_execute = lambda **_: print(f"cell {next(number)} of {len(cells)}", flush=True)
    client.on_cell_executed = lambda **_: nbformat.write(notebook, path)
    try:
        client.execute()
        return 0
    except CellExecutionError as error:
        at, trace = client.code_cells_executed, re.sub(r"\x1b\[[\d;]*m", "", error.traceback)
        line = int((re.findall(r"Cell In\[\d+\], line (\d+)", trace) or [1])[-1])
        source = cells[at - 1].source.splitlines()[line - 1].strip()
        print(f"Cell [{at}], line {line}: {source}\n{error.ename}: {error.evalue}")
        return 1
    # nbclient raises these where Ctrl+C or a lack of memory has ended the kernel.
    except (KeyboardInterrupt, RuntimeError, AssertionError):
        print(f"Cell [{client.code_cells_executed}] was interrupted.")
        return 130
    finally:
        nbformat.write(notebook, path)
        page, _ = HTMLExporter().from_notebook_node(notebook)
        path.with_suffix(".html").write_text(page, encoding="utf-8")


def main() -> int:
    if sys.argv[1] == "--inside":
        return execute(Path(sys.argv[2]))
    path, before = Path(os.environ.get("NOTEBOOK", "")), None
    try:
        pairs = [one.split("=", 1) for one in shlex.split(os.environ.get("PARAMS", ""))]
        parameters = {name: value(text) for name, text in pairs}
        if path.name == "run.json":
            before, old = path.parent, read(path)
            path, parameters = Path(old["notebook"]), old["parameters"]
        notebook = read(path)
        if parameters:
            set_parameters(notebook, parameters)
    except (OSError, ValueError, KeyError):
        sys.exit(USAGE)
    code, folder = run(sys.argv[1], path, notebook, parameters)
    return code or (compare(before, folder) if before else 0)


sys.exit(main())

"""Clean notebooks before they are committed: no outputs, no execution counts, no noise, no damaged cells.

    python tools/nbclean.py [--check | --restore] [FILE ...]

nbstripout decides what is removed; [tool.nbclean] in pyproject.toml adds to that. Ids, tags, attachments, and
cells with the tag `keep_output` stay. A copy of the executed notebook is kept for --restore, in the git folder.
Without FILE, all notebooks that git tracks.

Exit codes: 0 all is clean, or back; 1 one was cleaned, or is not clean (--check); 2 one was left as it is
"""

import argparse
import ast
import functools
import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

COPIES = 3
NOTEBOOKS = ":(top,icase)*.ipynb", ":(top,exclude)*.ipynb_checkpoints/*"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def parse(raw: bytes) -> dict:
    """Return the notebook of nbformat 4 in these bytes. Raises ValueError with a sentence."""
    try:
        notebook = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be read as JSON: {error}") from None
    match notebook:
        case {"nbformat": 4, "nbformat_minor": int(), "cells": [*cells]}:
            parts = {"notebook": notebook, **{f"cell {n}": cell for n, cell in enumerate(cells, 1)}}
        case _:
            raise ValueError("it is no notebook of nbformat 4: open it in Jupyter and save it")
    for name, part in parts.items():
        kinds = {"metadata": dict, "outputs": list}
        if not isinstance(part, dict) or any(
            not isinstance(part.get(key, kind()), kind) for key, kind in kinds.items()
        ):
            raise ValueError(f"{name}: not in the form that nbformat describes")
    return notebook


def repair(notebook: dict) -> dict:
    """Return a notebook without the damage that programs do which edit notebooks. Raises ValueError."""
    seen: Counter[str] = Counter()
    cells = [{"metadata": {}} | cell for cell in notebook["cells"]]
    for number, cell in enumerate(cells, 1):
        lines = cell.get("source")
        if isinstance(lines, list) and any(line.splitlines() == [line] for line in lines[:-1]):
            if any(len(line) > 1 for line in lines):
                raise ValueError(
                    f"the lines of cell {number} run together: end each but the last in \\n"
                )
            cell["source"] = "".join(lines).splitlines(keepends=True)
        if cell.get("cell_type") == "code" and "outputs" not in cell:
            cell |= {"outputs": [], "execution_count": None}
        name = cell["id"] if isinstance(cell.get("id"), str) else ""
        damaged = seen[name] or not re.fullmatch("[a-zA-Z0-9_-]{1,64}", name)
        if damaged and notebook["nbformat_minor"] >= 5:
            # The same damage gets the same id each time, so that an output finds its cell again.
            text = json.dumps([name, seen[name], cell.get("source")])
            cell["id"] = hashlib.sha256(text.encode()).hexdigest()[:8]
        seen[name] += 1
    return {"metadata": {}} | notebook | {"cells": cells}


@functools.cache
def removed_keys() -> list[str]:
    """Return the keys that [tool.nbclean] removes in addition to outputs and counts. Raises ValueError."""
    import tomllib

    try:
        tools = tomllib.loads(PYPROJECT.read_text(encoding="utf-8")).get("tool", {})
        return list(tools.get("nbclean", {}).get("remove", []))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{PYPROJECT}: [tool.nbclean] cannot be read: {error}") from None


def executed(cell: dict) -> bool:
    """Return whether a cell has outputs or an execution count."""
    return bool(cell.get("outputs")) or cell.get("execution_count") is not None


def has(value: object, key: str) -> bool:
    """Return whether nbstripout would find a dotted key; a name may itself have dots."""
    head, _, tail = key.partition(".")
    return isinstance(value, dict) and (key in value or has(value.get(head), tail))


def clean(notebook: dict) -> dict:
    """Return a notebook repaired, and without what a commit must not hold. Raises what nbstripout raises."""
    notebook, keys = repair(notebook), removed_keys()
    parts = [notebook, *({"cell": cell} for cell in notebook["cells"])]
    noisy = any(has(part, key) for part in parts for key in keys)
    # Importing nbstripout takes ten times as long as everything else, so a clean notebook avoids it.
    if not noisy and not any(map(executed, notebook["cells"])):
        return notebook
    from nbformat import from_dict
    from nbstripout import strip_output

    new = from_dict(notebook)
    strip_output(new, None, keep_count=False, keep_id=True, extra_keys=keys)
    outputs = [output for cell in new["cells"] for output in cell.get("outputs", [])]
    # A widget that stays on show needs its state, which the notebook's metadata holds.
    state = notebook["metadata"].get("widgets")
    if state and any(WIDGET_VIEW in (output.get("data") or {}) for output in outputs):
        new["metadata"]["widgets"] = state
    return new


def write(path: str, notebook: dict, before: os.stat_result) -> None:
    """Replace a file, whole or not at all, by what Jupyter would save. Raises OSError, ValueError."""
    import shutil
    import tempfile

    for cell in notebook["cells"]:
        if isinstance(cell.get("source"), str):
            cell["source"] = cell["source"].splitlines(keepends=True)
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path = os.path.realpath(path)
    handle, new = tempfile.mkstemp(prefix=".nbclean-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            # Half of a surrogate pair has no form in UTF-8, but its escape is good JSON.
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, new)
        # jupytext --sync takes the newer of a pair for the edited one, so the time stays as it was.
        os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
        now = os.stat(path)
        if (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            raise ValueError("another program has just written it, try again")
        os.replace(new, path)
    finally:
        Path(new).unlink(missing_ok=True)


def git(*arguments: str) -> str:
    """Return what a git command prints. Raises ValueError with git's sentence if it fails."""
    import subprocess

    done = subprocess.run(["git", *arguments], check=False, capture_output=True)
    if done.returncode:
        raise ValueError(os.fsdecode(done.stderr).strip())
    return os.fsdecode(done.stdout)


@functools.cache
def repository() -> tuple[Path, Path]:
    """Return the top folder and the folder of copies, which each worktree and submodule has."""
    top, copies = git("rev-parse", "--show-toplevel", "--git-path", "nbclean").splitlines()
    return Path(top).resolve(), Path(copies)


def folder_of(path: str) -> Path:
    """Return the folder with a notebook's copies. Raises ValueError outside of the repository."""
    top, copies = repository()
    return copies / Path(path).resolve().relative_to(top)


def copies_in(folder: Path) -> list[Path]:
    """Return the executed copies of one notebook, oldest first."""
    return sorted(folder.glob("*.ipynb"), key=lambda copy: int(copy.stem))


def keep(path: str, raw: bytes, notebook: dict) -> Path:
    """Keep the executed notebook, and drop old copies without an output of their own. Raises OSError."""
    folder = folder_of(path)
    copies = copies_in(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not copies or copies[-1].read_bytes() != raw:
        copies.append(folder / f"{int(copies[-1].stem) + 1 if copies else 1}.ipynb")
        copies[-1].write_bytes(raw)
    if len(copies) > COPIES:
        needed = {copy for copy, _ in newest_outputs(notebook, copies).values()}
        for old in set(copies[:-COPIES]) - needed:
            old.unlink()
    return copies[-1]


def code_of(cell: dict) -> tuple[str, set[str]]:
    """Return what a cell does, whatever its format, and what it imports."""
    text = "".join(cell.get("source", ""))
    # A line of IPython such as %time becomes a string, which ast can read.
    python = re.sub(r"(?m)^([ \t]*)([%!].*)$", lambda line: line[1] + repr(line[2].strip()), text)
    try:
        lines = ast.parse(python).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return " ".join(text.split()), set()
    imports = [line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]
    names = {
        f"{getattr(line, 'module', '')} {ast.dump(name)}" for line in imports for name in line.names
    }
    return "\n".join(ast.dump(line) for line in lines if line not in imports), names


def cells_by_code(notebook: dict) -> Iterator[tuple[tuple, set[str], dict]]:
    """Yield for each code cell its id with what it does; what it imports; and the cell."""
    seen: Counter[tuple] = Counter()
    for cell in [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]:
        code, imports = code_of(cell)
        key = cell.get("id"), code
        seen[key] += 1  # Before nbformat 4.5, cells have no ids.
        yield (*key, seen[key]), imports, cell


def newest_outputs(notebook: dict, copies: list[Path]) -> dict[tuple, tuple[Path, dict]]:
    """Return for each cell the newest copy that has its output, with the cell; it may have lost imports."""
    cells = {key: imports for key, imports, _ in cells_by_code(notebook)}
    found: dict[tuple, tuple[Path, dict]] = {}
    for copy in reversed(copies):
        # A copy that was cut short, by a kill or a full disk, has nothing to give.
        with suppress(ValueError):
            for key, imports, old in cells_by_code(repair(parse(copy.read_bytes()))):
                if executed(old) and key not in found and key in cells and cells[key] <= imports:
                    found[key] = copy, old
    return found


def restore(path: str) -> int:
    """Bring outputs back into a notebook; return how many. Raises OSError, ValueError."""
    before, raw = os.stat(path), Path(path).read_bytes()
    notebook = repair(parse(raw))
    top, all_copies = repository()
    found: dict[tuple, tuple[Path, dict]] = {}
    for folder in filter(Path.is_dir, all_copies.rglob("*.ipynb")):
        # A notebook that is gone may have been renamed, and its cells have kept their ids.
        if not (top / folder.relative_to(all_copies)).exists():
            lost = newest_outputs(notebook, copies_in(folder))
            found |= {key: old for key, old in lost.items() if key[0]}
    found |= newest_outputs(notebook, copies_in(folder_of(path)))
    back = 0
    for key, _, cell in cells_by_code(notebook):
        if key in found and not executed(cell):
            copy, old = found[key]
            cell |= {key: old.get(key) for key in ("outputs", "execution_count")}
            if widgets := parse(copy.read_bytes()).get("metadata", {}).get("widgets"):
                notebook["metadata"].setdefault("widgets", widgets)
            back += 1
    if back:
        write(path, notebook, before)
        print(f"{path}: outputs are back (cells: {back})")
    return back


def clean_file(path: str, check: bool) -> bool:
    """Clean or check one notebook; return whether it was not clean. Raises OSError, ValueError."""
    before, raw = os.stat(path), Path(path).read_bytes()
    notebook = parse(raw)
    new = clean(notebook)
    if new == notebook:
        return False
    if check:
        print(f"{path}: not clean")
    else:
        copy = keep(path, raw, new)
        write(path, new, before)
        print(f"{path}: cleaned; the executed notebook is {copy}")
    return True


def tracked() -> list[str]:
    """Return the notebooks that git tracks and that are there, without links. Raises ValueError."""
    paths = git("ls-files", "-z", "--deduplicate", "--", *NOTEBOOKS).split("\0")
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing, name what is not clean")
    mode.add_argument("--restore", action="store_true", help="bring the outputs back on screen")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # for any file name
    count, failed = 0, False
    for path in options.files or tracked():
        try:
            count += restore(path) if options.restore else clean_file(path, options.check)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one, the others are handled)
            reason = getattr(error, "strerror", None) or error
            print(f"{path}: left as it is: {reason}", file=sys.stderr)
            failed = True
    if options.restore and not count and not failed:
        print("No outputs were brought back: no copy has one that is missing.")
    elif count and options.check:
        print("These notebooks are not clean. `make lint` cleans them; then commit the result.")
    elif count and not options.restore:
        print("Stage what was cleaned, then repeat your commit.")
        print("`make outputs` brings the outputs back on screen.")
    return 2 if failed else int(bool(count) and not options.restore)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        print(f"nbclean: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("nbclean: interrupted; every notebook is whole, cleaned or not", file=sys.stderr)
    sys.exit(2)

"""Clean notebooks before they are committed: no outputs, no execution counts, no noise, no damaged cells.

nbstripout decides what is removed; [tool.nbclean] in pyproject.toml adds to that. Ids, tags, attachments, and
cells with the tag `keep_output` stay. A copy of the executed notebook is kept for --restore, in the git folder.
exit codes: 0 all is clean, or back; 1 one was cleaned, or is not clean (--check); 2 one was left as it is
"""

import argparse
import ast
import functools
import hashlib
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

COPIES = 3
NOTEBOOKS = ":(top,icase)*.ipynb", ":(top,exclude)*.ipynb_checkpoints/*"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


class Problem(Exception):
    """The reason, in one sentence, why a notebook is left as it is or nothing is done."""


def parse(raw: bytes) -> dict:
    """Return the notebook of nbformat 4 in these bytes. Raises Problem with the place of an error."""
    try:
        text = raw.decode("utf-8-sig")
        if not text.strip():
            raise Problem("the file is empty")
        notebook = json.loads(text)
    except UnicodeDecodeError as error:
        raise Problem(f"byte {error.start + 1} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 40].split("\n")[0].strip()
        where = f"line {error.lineno} column {error.colno}: {error.msg}"
        raise Problem(f"not JSON at {where}, found {found!r}") from None
    except (RecursionError, ValueError) as error:
        raise Problem(f"not JSON that can be read: {error}") from None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4:
        raise Problem("it is no notebook of nbformat 4: open it in Jupyter and save it")
    for part, kind in {"cells": list, "metadata": dict}.items():
        if not isinstance(notebook.get(part, {}), kind):
            raise Problem(f"the notebook's {part} cannot be read: open it in Jupyter and save it")
    for number, cell in enumerate(notebook["cells"], 1):
        outputs = cell.get("outputs", []) if isinstance(cell, dict) else None
        dicts = [*outputs, cell.get("metadata", {})] if isinstance(outputs, list) else [None]
        if not all(isinstance(part, dict) for part in dicts):
            raise Problem(f"cell {number} is not what nbformat calls a cell")
    return notebook


def repair(notebook: dict) -> dict:
    """Repair in place what programs damage that edit notebooks; return the notebook. Raises Problem."""
    seen: Counter[str] = Counter()
    has_ids = notebook.get("nbformat_minor") in range(5, 1000)
    for number, cell in enumerate(notebook["cells"], 1):
        lines = cell.get("source")
        if isinstance(lines, list) and any(
            str(line).splitlines() == [str(line)] for line in lines[:-1]
        ):
            if any(len(str(line)) > 1 for line in lines):
                raise Problem(
                    f"the lines of cell {number} run together: end each but the last in \\n"
                )
            cell["source"] = "".join(map(str, lines)).splitlines(keepends=True)
        if cell.get("cell_type") == "code" and "outputs" not in cell:
            cell |= {"outputs": [], "execution_count": None}
        name = cell["id"] if isinstance(cell.get("id"), str) else ""
        if has_ids and (seen[name] or not re.fullmatch("[a-zA-Z0-9_-]{1,64}", name)):
            # The same damage gets the same id each time, so that an output finds its cell again.
            text = json.dumps([name, seen[name], cell.get("source")])
            cell["id"] = hashlib.sha256(text.encode()).hexdigest()[:8]
        seen[name] += 1
    return notebook


@functools.cache
def removed_keys() -> tuple[str, ...]:
    """Return the keys that [tool.nbclean] removes in addition to outputs and counts. Raises Problem."""
    import tomllib

    try:
        tools = tomllib.loads(PYPROJECT.read_text(encoding="utf-8")).get("tool", {})
        keys = tuple(tools.get("nbclean", {}).get("remove", []))
        if wrong := [key for key in keys if not key.startswith(("metadata.", "cell."))]:
            raise ValueError(f"in `remove`, {wrong[0]!r} must start with 'metadata.' or 'cell.'")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Problem(f"{PYPROJECT}: [tool.nbclean] cannot be read: {error}") from None
    return keys


def executed(cell: dict) -> bool:
    """Return whether a cell has outputs or an execution count."""
    return bool(cell.get("outputs")) or cell.get("execution_count") is not None


def has(value: object, key: str) -> bool:
    """Return whether nbstripout would find a dotted key; a name may itself have dots."""
    head, _, tail = key.partition(".")
    return isinstance(value, dict) and (key in value or has(value.get(head), tail))


def stripped(metadata: dict, cell: dict, keys: tuple[str, ...]) -> tuple[dict, dict]:
    """Return the clean form of a notebook's metadata and of one cell."""
    part = {"metadata": metadata, "cell": cell}
    # Importing nbstripout takes ten times as long as everything else, so a clean cell avoids it.
    if not executed(cell) and not any(has(part, key) for key in keys):
        return metadata, cell
    from nbformat import from_dict
    from nbstripout import strip_output

    notebook = from_dict({"nbformat": 4, "metadata": metadata, "cells": [cell]})
    strip_output(notebook, None, keep_count=False, keep_id=True, extra_keys=list(keys))
    return notebook["metadata"], notebook["cells"][0]


def clean(notebook: dict) -> list[str]:
    """Clean and repair a notebook in place; return what changed, one phrase per cell. Raises Problem."""
    keys, changes, shows_widget = removed_keys(), [], False
    cell_keys = tuple(key for key in keys if key.startswith("cell."))
    before = [dict(cell) for cell in notebook["cells"]]
    for number, (old, cell) in enumerate(zip(before, repair(notebook)["cells"], strict=True), 1):
        try:
            _, new = stripped(notebook.get("metadata", {}), cell, cell_keys)
        except Exception as error:  # noqa: BLE001 (whatever stops nbstripout, nothing is changed)
            raise Problem(f"cell {number}: {error or type(error).__name__}") from None
        shows_widget |= any(
            WIDGET_VIEW in (output.get("data") or {}) for output in new.get("outputs", [])
        )
        if new != old:
            parts = sorted(key for key in old | new if old.get(key, ...) != new.get(key, ...))
            changes.append(f"cell {number}: {', '.join(parts)}")
            notebook["cells"][number - 1] = new
    # A widget that stays on show needs its state, which the notebook's metadata holds.
    keys = tuple(key for key in keys if not (shows_widget and key == "metadata.widgets"))
    metadata, _ = stripped(notebook.get("metadata", {}), {"cell_type": "raw", "metadata": {}}, keys)
    if metadata != notebook.get("metadata", {}):
        notebook["metadata"] = metadata
        changes.append("notebook: metadata")
    return changes


def write(path: str, notebook: dict, before: os.stat_result) -> None:
    """Replace a file, whole or not at all, by what Jupyter would save. Raises OSError, Problem."""
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
            raise Problem("another program has just written it, try again")
        os.replace(new, path)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise


def git(*arguments: str) -> str:
    """Return what a git command prints. Raises Problem with git's sentence if it fails."""
    import subprocess

    try:
        done = subprocess.run(["git", *arguments], check=False, capture_output=True)
    except OSError as error:
        raise Problem(f"git cannot be started: {error.strerror}") from None
    if done.returncode:
        raise Problem(os.fsdecode(done.stderr).strip())
    return os.fsdecode(done.stdout)


@functools.cache
def repository() -> tuple[str, Path]:
    """Return the top folder and the folder of copies, which each worktree and submodule has."""
    top, copies = git("rev-parse", "--show-toplevel", "--git-path", "nbclean").splitlines()
    return os.path.realpath(top), Path(copies)


def copies_in(folder: Path, pattern: str) -> list[Path]:
    """Return executed copies, oldest first."""
    found = [copy for copy in folder.glob(pattern) if copy.stem.isdecimal() and copy.is_file()]
    return sorted(found, key=lambda copy: int(copy.stem))


def folder_of(path: str) -> Path:
    """Return the folder with a notebook's copies. Raises Problem."""
    top, copies = repository()
    relative = os.path.relpath(os.path.realpath(path), top)
    if relative.split(os.sep)[0] == os.pardir:
        raise Problem(f"it is outside {top}, so its executed copy would have no place")
    return copies / relative


def keep(path: str, raw: bytes, notebook: dict) -> Path:
    """Keep the executed notebook, and drop old copies without an output of their own. Raises OSError."""
    folder = folder_of(path)
    copies = copies_in(folder, "*.ipynb")
    folder.mkdir(parents=True, exist_ok=True)
    if not copies or copies[-1].read_bytes() != raw:
        copies.append(folder / f"{int(copies[-1].stem) + 1 if copies else 1}.ipynb")
        copies[-1].write_bytes(raw)
    if len(copies) > COPIES:
        needed = {copy for copy, _ in newest_outputs(notebook, copies).values()}
        for old in set(copies[:-COPIES]) - needed:
            old.unlink()
    return copies[-1]


def cells_by_code(notebook: dict) -> Iterator[tuple[tuple, set[str], dict]]:
    """Yield for each code cell its id with its code, without format and imports; its imports; the cell."""
    seen: Counter[tuple] = Counter()
    for cell in [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]:
        source, imports = cell.get("source", ""), set()
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        # A line of IPython such as %time becomes a string, which ast can read.
        python = re.sub(
            r"(?m)^([ \t]*)([%!].*)$", lambda line: line[1] + repr(line[2].strip()), text
        )
        try:
            lines = ast.parse(python).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            lines = [ast.Expr(ast.Constant(re.sub(r"\s+", " ", text).strip()))]
        for line in [line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]:
            imports |= {f"{getattr(line, 'module', '')} {ast.dump(name)}" for name in line.names}
            lines.remove(line)
        key = cell.get("id"), "\n".join(map(ast.dump, lines))
        seen[key] += 1  # Before nbformat 4.5, cells have no ids.
        yield (*key, seen[key]), imports, cell


def newest_outputs(notebook: dict, copies: list[Path]) -> dict[tuple, tuple[Path, dict]]:
    """Return for each cell the newest copy that has its output, with the cell; it may have lost imports."""
    cells = {key: imports for key, imports, _ in cells_by_code(notebook)}
    found: dict[tuple, tuple[Path, dict]] = {}
    for copy in reversed(copies):
        for key, imports, old in cells_by_code(repair(parse(copy.read_bytes()))):
            if executed(old) and key not in found and key in cells and cells[key] <= imports:
                found[key] = copy, old
    return found


def restore(path: str) -> int:
    """Bring outputs back into a notebook; return how many. Raises OSError, Problem."""
    before, raw = os.stat(path), Path(path).read_bytes()
    notebook = repair(parse(raw))
    top, all_copies = repository()
    copies = copies_in(all_copies, "**/*.ipynb")
    lost = [copy for copy in copies if not Path(top, copy.parent.relative_to(all_copies)).exists()]
    found = {key: old for key, old in newest_outputs(notebook, lost).items() if key[0]}
    found |= newest_outputs(notebook, copies_in(folder_of(path), "*.ipynb"))
    back = 0
    for key, _, cell in cells_by_code(notebook):
        if key in found and not executed(cell):
            copy, old = found[key]
            cell |= {field: old[field] for field in ("outputs", "execution_count") if field in old}
            if widgets := parse(copy.read_bytes()).get("metadata", {}).get("widgets"):
                notebook.setdefault("metadata", {}).setdefault("widgets", widgets)
            back += 1
    if back:
        write(path, notebook, before)
        print(f"{path}: outputs are back (cells: {back})")
    return back


def clean_file(path: str, check: bool) -> int:
    """Clean or check one notebook; return whether it was not clean. Raises OSError, Problem."""
    before, raw = os.stat(path), Path(path).read_bytes()
    notebook = parse(raw)
    changes = clean(notebook)
    if check:
        print(*(f"{path}: {change}\n" for change in changes), sep="", end="")
    elif changes:
        copy = keep(path, raw, notebook)
        write(path, notebook, before)
        print(f"{path}: cleaned; the executed notebook is {copy}")
    return bool(changes)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: all tracked notebooks")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing, name what is not clean")
    mode.add_argument("--restore", action="store_true", help="bring the outputs back on screen")
    options = parser.parse_args()
    for stream in sys.stdout, sys.stderr:
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(errors="backslashreplace")  # a file name may be any bytes
    tracked = (
        []
        if options.files
        else git("ls-files", "-z", "--deduplicate", "--", *NOTEBOOKS).split("\0")
    )
    there = [path for path in tracked if os.path.isfile(path) and not os.path.islink(path)]
    count, failed = 0, False
    for path in options.files or there:
        try:
            count += restore(path) if options.restore else clean_file(path, options.check)
        except (Problem, OSError, RecursionError) as error:
            print(
                f"{path}: left as it is: {getattr(error, 'strerror', None) or error}",
                file=sys.stderr,
            )
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
    except Problem as problem:
        print(f"nbclean: {problem}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("nbclean: interrupted; every notebook is whole, cleaned or not", file=sys.stderr)
    sys.exit(2)

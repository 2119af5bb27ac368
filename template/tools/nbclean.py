"""Clean notebooks before they are committed: no outputs, no execution counts, no noise.

nbstripout decides what is removed, and keeps what it always keeps: a cell with the tag
`keep_output`, ids, tags, attachments. [tool.nbclean] in pyproject.toml adds to what is removed.
A copy of the executed notebook is kept in the git folder first, and --restore reads it.
"""

import argparse
import io
import ast
import functools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

EXIT_CODES = """exit codes:
  0  every notebook is clean, or what could be brought back is back
  1  a notebook was cleaned; --check: one is not clean
  2  a notebook was left as it is, with one sentence why; or the command line is wrong
"""
COPIES = 3
NOTEBOOKS = ":(top,icase)*.ipynb", ":(top,exclude)*.ipynb_checkpoints/*"
OUTPUT_FIELDS = "outputs", "execution_count"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


class Problem(Exception):
    """The reason, in one sentence, why a notebook is left as it is or nothing is done."""


def parse(raw: bytes) -> dict:
    """Return the notebook of nbformat 4 in these bytes. Raises Problem with the place of an error."""
    try:
        text = raw.decode("utf-8-sig")
        notebook = json.loads(text) if text.strip() else None
    except UnicodeDecodeError as error:
        raise Problem(f"byte {error.start + 1} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 40].split("\n")[0].strip()
        where = f"line {error.lineno} column {error.colno}"
        raise Problem(f"not JSON at {where}: {error.msg}, found {found!r}") from None
    except (RecursionError, ValueError) as error:
        raise Problem(f"not JSON that can be read: {error}") from None
    if not text.strip():
        raise Problem("the file is empty")
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4:
        raise Problem("it is no notebook of nbformat 4: open it in Jupyter and save it")
    for part, kind in {"metadata": dict, "cells": list}.items():
        if not isinstance(notebook.get(part, {} if kind is dict else None), kind):
            raise Problem(f"the notebook's {part} cannot be read: open it in Jupyter and save it")
    for number, cell in enumerate(notebook["cells"], 1):
        if not is_cell(cell):
            raise Problem(f"cell {number} is not what nbformat calls a cell")
    return notebook


def is_cell(cell: object) -> bool:
    """Return whether a cell, its metadata and its outputs are of the types that nbformat wants."""
    if not isinstance(cell, dict) or not isinstance(cell.get("metadata", {}), dict):
        return False
    outputs = cell.get("outputs", [])
    return isinstance(outputs, list) and all(isinstance(output, dict) for output in outputs)


def executed(cell: dict) -> bool:
    """Return whether a cell has outputs or an execution count."""
    return bool(cell.get("outputs")) or cell.get("execution_count") is not None


def dump(notebook: dict, raw: bytes) -> bytes:
    """Return a notebook's bytes with the indent, escapes and line ends of its bytes until now."""
    indent = re.match(rb"\W*?\{\r?\n([ \t]+)\"", raw)
    space = indent[1].decode() if indent else None
    text = json.dumps(notebook, indent=space, ensure_ascii=raw.isascii())
    text += "\n" * raw.endswith(b"\n")
    if b"{\r\n" in raw:
        text = text.replace("\n", "\r\n")
    # Half of a surrogate pair has no form in UTF-8, but its escape is good JSON.
    return text.encode("utf-8", "backslashreplace")


@functools.cache
def removed_keys() -> tuple[str, ...]:
    """Return the keys that [tool.nbclean] removes besides outputs and counts. Raises Problem."""
    import tomllib

    try:
        tools = tomllib.loads(PYPROJECT.read_text(encoding="utf-8")).get("tool", {})
        keys = tuple(tools.get("nbclean", {}).get("remove", []))
        wrong = [key for key in keys if not key.startswith(("metadata.", "cell."))]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Problem(f"{PYPROJECT}: [tool.nbclean] cannot be read: {error}") from None
    if wrong:
        start = "must start with 'metadata.' or 'cell.'"
        raise Problem(f"{PYPROJECT}: in `remove`, {wrong[0]!r} {start}")
    return keys


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


def has(value: object, key: str) -> bool:
    """Return whether nbstripout would find a dotted key; a name may itself have dots."""
    head, _, tail = key.partition(".")
    return isinstance(value, dict) and (key in value or has(value.get(head), tail))


def clean(notebook: dict) -> list[str]:
    """Clean a notebook in place; return what changed, one phrase per cell. Raises Problem."""
    keys, changes, shows_widget = removed_keys(), [], False
    cell_keys = tuple(key for key in keys if key.startswith("cell."))
    for number, cell in enumerate(notebook["cells"], 1):
        try:
            _, after = stripped(notebook.get("metadata", {}), cell, cell_keys)
        except Exception as error:  # noqa: BLE001 (whatever stops nbstripout, nothing is changed)
            raise Problem(f"cell {number}: {error or type(error).__name__}") from None
        views = [output.get("data") or {} for output in after.get("outputs", [])]
        shows_widget |= any(WIDGET_VIEW in data for data in views)
        if after != cell:
            parts = [key for key in cell if key not in after or after[key] != cell[key]]
            changes.append(f"cell {number}: {', '.join(sorted(parts))}")
            cell.clear()
            cell.update(after)
    # A widget that stays on show needs its state, which the notebook's metadata holds.
    keys = tuple(key for key in keys if not (shows_widget and key == "metadata.widgets"))
    before = notebook.get("metadata", {})
    metadata, _ = stripped(before, {"cell_type": "raw", "metadata": {}}, keys)
    if metadata != before:
        notebook["metadata"] = metadata
        changes.append("notebook: metadata")
    return changes


def state(path: str) -> tuple[int, int]:
    """Return what differs after another program has written the file. Raises OSError."""
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns


def read(path: str) -> tuple[bytes, tuple[int, int]]:
    """Return the bytes of a file, and its state before they were read. Raises OSError."""
    before = state(path)
    return Path(path).read_bytes(), before


def write(path: str, data: bytes, before: tuple[int, int]) -> None:
    """Replace a file, whole or not at all: a crash leaves the old or the new one.

    Raises OSError, and Problem if its state is not as `before`.
    """
    import shutil
    import tempfile

    path = os.path.realpath(path)
    handle, new = tempfile.mkstemp(prefix=".nbclean-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, new)
        # jupytext --sync takes the newer of a pair for the edited one, so the time stays as it was.
        os.utime(new, ns=(before[1], before[1]))
        if state(path) != before:
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


def tracked() -> list[str]:
    """Return the notebooks that git tracks and that are there, without links and checkpoints."""
    found = git("ls-files", "-z", "--deduplicate", "--", *NOTEBOOKS).split("\0")
    return [path for path in found if os.path.isfile(path) and not os.path.islink(path)]


@functools.cache
def repository() -> tuple[str, Path]:
    """Return the top folder and the folder of copies, which each worktree and submodule has."""
    top, copies = git("rev-parse", "--show-toplevel", "--git-path", "nbclean").splitlines()
    return os.path.realpath(top), Path(copies)


def copies_of(path: str) -> tuple[Path, list[Path]]:
    """Return the folder with a notebook's copies, and the copies, oldest first. Raises Problem."""
    top, copies = repository()
    relative = Path(os.path.relpath(os.path.realpath(path), top))
    if relative.parts[0] == os.pardir:
        raise Problem(f"it is outside {top}, so its executed copy would have no place")
    found = [copy for copy in (copies / relative).glob("*.ipynb") if copy.stem.isdecimal()]
    return copies / relative, sorted(found, key=lambda copy: int(copy.stem))


def copies_of_lost_notebooks() -> list[Path]:
    """Return the copies of notebooks that are no longer there, such as renamed ones."""
    top, copies = repository()
    found = [copy for copy in copies.rglob("*.ipynb") if copy.is_file() and copy.stem.isdecimal()]
    lost = [copy for copy in found if not Path(top, copy.parent.relative_to(copies)).exists()]
    return sorted(lost, key=lambda copy: int(copy.stem))


def keep(path: str, raw: bytes, notebook: dict) -> Path:
    """Keep the executed notebook, and drop old copies that hold no output of their own.

    Raises OSError, Problem.
    """
    folder, copies = copies_of(path)
    folder.mkdir(parents=True, exist_ok=True)
    if not copies or copies[-1].read_bytes() != raw:
        copies.append(folder / f"{int(copies[-1].stem) + 1 if copies else 1}.ipynb")
        copies[-1].write_bytes(raw)
    if len(copies) > COPIES:
        needed = {copy for copy, _ in newest_outputs(notebook, copies).values()}
        for old in copies[:-COPIES]:
            if old not in needed:
                old.unlink()
    return copies[-1]


def code(source: object) -> tuple[str, frozenset[str]]:
    """Return a cell's code without its format, and the names that it imports."""
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    # A line of IPython such as %time becomes a string, which ast can read.
    python = re.sub(r"(?m)^([ \t]*)([%!].*)$", lambda line: line[1] + repr(line[2].strip()), text)
    try:
        tree = ast.parse(python)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.sub(r"\s+", " ", text).strip(), frozenset()
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = frozenset(
        f"{getattr(node, 'module', '')} {ast.dump(name)}" for node in imports for name in node.names
    )
    rest = [ast.dump(node) for node in tree.body if node not in imports]
    return "\n".join(rest), names


def cells_by_code(notebook: dict) -> Iterator[tuple[tuple, frozenset[str], dict]]:
    """Yield the key of each code cell, what it imports, and the cell."""
    seen: Counter[tuple] = Counter()
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code":
            text, imports = code(cell.get("source", ""))
            key = (cell.get("id"), text)
            seen[key] += 1  # Before nbformat 4.5, cells have no ids.
            yield (*key, seen[key]), imports, cell


def newest_outputs(notebook: dict, copies: list[Path]) -> dict[tuple, tuple[Path, dict]]:
    """Return for each cell of a notebook the newest copy that has its output, with the old cell.

    The code must be the same but for its format and for imports that were taken away since.
    """
    cells = {key: imports for key, imports, _ in cells_by_code(notebook)}
    found: dict[tuple, tuple[Path, dict]] = {}
    for copy in reversed(copies):
        for key, imports, old in cells_by_code(parse(copy.read_bytes())):
            if executed(old) and key not in found and key in cells and cells[key] <= imports:
                found[key] = copy, old
    return found


def restore(path: str) -> int:
    """Bring outputs back into a notebook; return how many. Raises OSError, Problem."""
    raw, before = read(path)
    notebook = parse(raw)
    found = newest_outputs(notebook, copies_of(path)[1])
    renamed = newest_outputs(notebook, copies_of_lost_notebooks())
    found = {key: old for key, old in renamed.items() if key[0]} | found
    back = 0
    for key, _, cell in cells_by_code(notebook):
        if key in found and not executed(cell):
            copy, old = found[key]
            cell.update((field, old[field]) for field in OUTPUT_FIELDS if field in old)
            widgets = parse(copy.read_bytes()).get("metadata", {}).get("widgets")
            if widgets:
                notebook.setdefault("metadata", {}).setdefault("widgets", widgets)
            back += 1
    if back:
        write(path, dump(notebook, raw), before)
        print(f"{path}: outputs are back (cells: {back})")
    return back


def clean_file(path: str, check: bool) -> int:
    """Clean or check one notebook; return whether it was not clean. Raises OSError, Problem."""
    raw, before = read(path)
    notebook = parse(raw)
    changes = clean(notebook)
    if changes and check:
        print("\n".join(f"{path}: {change}" for change in changes))
    elif changes:
        copy = keep(path, raw, notebook)
        write(path, dump(notebook, raw), before)
        print(f"{path}: cleaned; the executed notebook is {copy}")
    return bool(changes)


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit code. Raises Problem."""
    files, count, failed = options.files or tracked(), 0, False
    for path in files:
        try:
            count += restore(path) if options.restore else clean_file(path, options.check)
        except (Problem, OSError, RecursionError) as error:
            sentence = getattr(error, "strerror", None) or error
            print(f"{path}: left as it is: {sentence}", file=sys.stderr)
            failed = True
    if options.restore:
        if not count and not failed:
            print("No outputs were brought back: no copy has one that is missing.")
    elif count and options.check:
        print("These notebooks are not clean. `make lint` cleans them; then commit the result.")
    elif count:
        print("Stage what was cleaned, then repeat your commit.")
        print("`make outputs` brings the outputs back on screen.")
    return 2 if failed else int(bool(count) and not options.restore)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: all tracked notebooks")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing, name what is not clean")
    mode.add_argument("--restore", action="store_true", help="bring the outputs back on screen")
    options = parser.parse_args()
    for stream in sys.stdout, sys.stderr:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be any bytes
    try:
        return run(options)
    except Problem as problem:
        print(f"nbclean: {problem}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("nbclean: interrupted; every notebook is whole, cleaned or not", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

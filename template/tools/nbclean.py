"""Clean notebooks before they are committed: no outputs, no execution counts, no noise.

nbstripout decides what is removed, and keeps what it always keeps: a cell with the tag
`keep_output`, ids, tags, attachments. [tool.nbclean] in pyproject.toml adds to what is removed.
The executed notebook is kept in the git folder first: the newest three of each notebook.
"""

import argparse
import functools
import json
import os
import re
import shlex
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import NoReturn

EXIT_CODES = """exit codes:
  0  every notebook is clean, or its outputs are back
  1  a notebook was cleaned; --check: one is not clean; --staged: only outputs were staged
  2  a notebook was left as it is, with one sentence why; or the command line is wrong
"""
COPIES = 3
SYMLINK = "120000"
NOTEBOOKS = ":(top,icase)*.ipynb", ":(top,exclude)*.ipynb_checkpoints/*"
OUTPUT_FIELDS = "outputs", "execution_count", "prompt_number"
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


class Refused(Exception):
    """A notebook that is left as it is; the text says why."""


def fail(sentence: str) -> NoReturn:
    """Say what is wrong and stop."""
    print(f"nbclean: {sentence}", file=sys.stderr)
    sys.exit(2)


# --- what a notebook is ------------------------------------------------------------------------


def parse(raw: bytes) -> dict:
    """Read a notebook of nbformat 3 or 4. Raises Refused with the position of what is wrong."""
    cells = 0

    def unique(pairs: list[tuple[str, object]]) -> dict:
        nonlocal cells
        found = dict(pairs)
        if len(found) < len(pairs):  # a JSON reader would drop one of them in silence
            key = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise Refused(f"an object after cell {cells} has the key {key!r} twice")
        cells += "cell_type" in found
        return found

    try:
        text = raw.decode("utf-8-sig")
        if not text.strip():
            raise Refused("the file is empty")
        notebook = json.loads(text, object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        raise Refused(f"byte {error.start + 1} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 40].split("\n")[0].strip()
        where = f"line {error.lineno} column {error.colno}"
        raise Refused(f"not JSON at {where}: {error.msg}, found {found!r}") from None
    except (RecursionError, ValueError) as error:
        raise Refused(f"not JSON that can be read: {error}") from None

    expect(notebook, dict, "the notebook")
    version = notebook.get("nbformat")
    if version not in (3, 4):
        raise Refused(f"nbformat is {json.dumps(version)[:40]}, only 3 and 4 can be cleaned")
    expect(notebook.get("metadata", {}), dict, "the notebook's metadata")
    for number, cell in enumerate(cells_of(notebook), 1):
        expect(cell, dict, f"cell {number}")
        expect(cell.get("metadata", {}), dict, f"cell {number}: metadata")
        for output in expect(cell.get("outputs", []), list, f"cell {number}: outputs"):
            expect(output, dict, f"cell {number}: an output")
    return notebook


def expect(value: object, kind: type, what: str) -> object:
    """Return the value if it is of the kind, dict or list. Raises Refused."""
    if not isinstance(value, kind):
        names = {dict: "an object", list: "a list", type(None): "null or missing"}
        found = names.get(type(value)) or json.dumps(value)[:40]
        raise Refused(f"{what} is {found}, not {names[kind]}")
    return value


def cells_of(notebook: dict) -> list:
    """All cells; nbformat 3 has them in worksheets. Raises Refused."""
    if notebook["nbformat"] == 4:
        return expect(notebook.get("cells"), list, "cells")
    sheets = expect(notebook.get("worksheets"), list, "worksheets")
    found = [expect(sheet, dict, "a worksheet").get("cells") for sheet in sheets]
    return [cell for cells in found for cell in expect(cells, list, "cells")]


def executed(cell: dict) -> bool:
    """Whether a cell has outputs or a count."""
    counts = cell.get("execution_count"), cell.get("prompt_number")
    return bool(cell.get("outputs")) or counts != (None, None)


def dump(notebook: dict, raw: bytes) -> bytes:
    """Write a notebook with the indent, the escapes and the line ends of its bytes until now."""
    indent = re.match(rb"\W*?\{\r?\n([ \t]+)\"", raw)
    text = json.dumps(
        notebook, indent=indent and indent[1].decode(), ensure_ascii=raw.isascii()
    ) + "\n" * raw.endswith(b"\n")
    if b"{\r\n" in raw:
        text = text.replace("\n", "\r\n")
    # Half of a surrogate pair has no form in UTF-8, but its escape is good JSON.
    return text.encode("utf-8", "backslashreplace")


# --- what is removed ---------------------------------------------------------------------------


class Rules:
    """What is removed, besides outputs and counts: the table [tool.nbclean]."""

    def __init__(self) -> None:
        """Read pyproject.toml; without the table nothing is added. Raises SystemExit."""
        try:
            tools = tomllib.loads(PYPROJECT.read_text(encoding="utf-8")).get("tool", {})
            table = tools.get("nbclean", {"remove": [], "home-parents": []})
            self.keys = list(table["remove"])
            parents = "|".join(map(re.escape, table["home-parents"])) or "(?!)"
            wrong = [key for key in self.keys if not key.startswith(("metadata.", "cell."))]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            fail(f"{PYPROJECT}: [tool.nbclean] needs `remove` and `home-parents`: {error!r}")
        if wrong:
            fail(f"{PYPROJECT}: in `remove`, {wrong[0]!r} must start with 'metadata.' or 'cell.'")
        # Not in the middle of a path or an address: https://example.org/home/page stays.
        self.home = re.compile(rf"(?<![\w.~-])(?:{parents})[\\/][^\\/\s\"'~][^\\/\s\"']*")

    def without_homes(self, value: object) -> object:
        """The same metadata, with ~ for /home/NAME."""
        if isinstance(value, str):
            return self.home.sub("~", value)
        if isinstance(value, list):
            return [self.without_homes(item) for item in value]
        if isinstance(value, dict):
            return {key: self.without_homes(item) for key, item in value.items()}
        return value

    def apply(self, metadata: dict, cell: dict) -> tuple[dict, dict]:
        """The clean form of a notebook's metadata and of one cell."""
        part = {"metadata": metadata, "cell": cell}
        # To import nbstripout takes ten times as long as all the rest.
        if executed(cell) or any(has(part, key) for key in self.keys):
            from nbformat import from_dict
            from nbstripout import strip_output

            notebook = from_dict({"nbformat": 4, "metadata": metadata, "cells": [cell]})
            strip_output(notebook, None, keep_count=False, keep_id=True, extra_keys=self.keys)
            metadata, cell = notebook["metadata"], notebook["cells"][0]
        if "metadata" in cell:
            cell = {**cell, "metadata": self.without_homes(cell["metadata"])}
        return self.without_homes(metadata), cell


def has(value: object, key: str) -> bool:
    """Whether nbstripout would find a dotted key; a name may itself have dots."""
    head, _, tail = key.partition(".")
    return isinstance(value, dict) and (key in value or has(value.get(head), tail))


def clean(notebook: dict, rules: Rules) -> list[str]:
    """Clean a notebook in place; return what changed, one phrase per cell. Raises Refused."""
    changes = []
    before = notebook.get("metadata", {})
    metadata, _ = rules.apply(before, {})
    if metadata != before:
        notebook["metadata"] = metadata
        changes.append("notebook: metadata")
    for number, cell in enumerate(cells_of(notebook), 1):
        try:
            _, after = rules.apply(metadata, cell)
        except Exception as error:  # noqa: BLE001 (whatever stops nbstripout, nothing is changed)
            raise Refused(f"cell {number}: {error or type(error).__name__}") from None
        if after != cell:
            parts = [key for key in cell if key not in after or after[key] != cell[key]]
            changes.append(f"cell {number}: {', '.join(sorted(parts))}")
            cell.clear()
            cell.update(after)
    return changes


# --- files and git -----------------------------------------------------------------------------


def read(path: str) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a file, and its state before they were read. Raises OSError."""
    before = state(path)
    with open(path, "rb") as file:
        return file.read(), before


def state(path: str) -> tuple[int, int]:
    """What differs after another program has written the file. Raises OSError."""
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns


def write(path: str, data: bytes, before: tuple[int, int]) -> None:
    """Replace a file, whole or not at all: a crash leaves the old or the new one.

    Raises OSError, and Refused if its state is not as `before`.
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
        if state(path) != before:
            raise Refused("another program has just written it, try again")
        os.replace(new, path)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise


def git(*arguments: str, stdin: bytes = b"", fatal: bool = True) -> bytes:
    """What a git command prints. If it fails: nothing, or (fatal) exit with git's sentence."""
    import subprocess

    try:
        done = subprocess.run(["git", *arguments], input=stdin, check=False, capture_output=True)
    except OSError as error:
        fail(f"git cannot be started: {error.strerror}")
    if done.returncode and fatal:
        fail(os.fsdecode(done.stderr).strip())
    return done.stdout


def tracked() -> list[str]:
    """The notebooks that git tracks and that are there, without Jupyter's checkpoints."""
    found = os.fsdecode(git("ls-files", "-z", "--deduplicate", "--", *NOTEBOOKS))
    return [path for path in found.split("\0") if os.path.isfile(path)]


def staged() -> dict[str, tuple[str, str]]:
    """The notebooks that a commit would add or change, with mode and blob of the staged version."""
    options = "--cached", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=AM", "-z"
    fields = os.fsdecode(git("diff", *options, "--", *NOTEBOOKS)).split("\0")
    found = {path: info.split() for info, path in zip(fields[::2], fields[1::2], strict=False)}
    return {path: (info[1], info[3]) for path, info in found.items() if info[1] != SYMLINK}


def nothing_staged() -> bool:
    """Whether a commit would be empty."""
    merge = git("rev-parse", "--verify", "--quiet", "MERGE_HEAD", fatal=False)
    return not merge and not git("diff", "--cached", "--name-only")


def same_as_head() -> bool:
    """Whether all tracked files are as in the last commit."""
    head = git("rev-parse", "--verify", "--quiet", "HEAD", fatal=False)
    return bool(head) and not git("diff", "--name-only", "HEAD")


def only_on_screen(path: str, rules: Rules) -> bool:
    """Whether the staged version of a notebook is clean, so that no output gets into a commit."""
    staged = git("cat-file", "blob", f":./{Path(os.path.relpath(path)).as_posix()}", fatal=False)
    try:
        return not clean(parse(staged), rules)
    except Refused:
        return False


# --- the executed copies -----------------------------------------------------------------------


@functools.cache
def repository() -> tuple[str, Path]:
    """The top folder and the folder of copies. Each worktree and each submodule has its own."""
    found = git("rev-parse", "--show-toplevel", "--git-path", "nbclean")
    top, copies = os.fsdecode(found).splitlines()
    return top, Path(copies)


def copies_of(path: str) -> tuple[Path, list[Path]]:
    """The folder with the copies of a notebook, and the copies, oldest first. Raises Refused."""
    top, copies = repository()
    relative = os.path.relpath(path, top)
    if Path(relative).parts[0] == os.pardir:
        raise Refused(f"it is outside {top}, so its executed copy would have no place")
    folder = copies / relative
    found = [copy for copy in folder.glob("*.ipynb") if copy.stem.isdecimal()]
    return folder, sorted(found, key=lambda copy: int(copy.stem))


def keep(path: str, raw: bytes) -> Path:
    """Keep the executed notebook, drop its oldest copies. Raises OSError, Refused."""
    folder, copies = copies_of(path)
    folder.mkdir(parents=True, exist_ok=True)
    if not copies or copies[-1].read_bytes() != raw:
        copies.append(folder / f"{int(copies[-1].stem) + 1 if copies else 1}.ipynb")
        try:
            os.link(os.path.realpath(path), copies[-1])
        except OSError:  # a file system without hard links
            copies[-1].write_bytes(raw)
    for old in copies[:-COPIES]:
        old.unlink()
    return copies[-1]


def by_content(notebook: dict) -> dict[str, dict]:
    """The cells by id and source: outputs never come back under other code."""
    found, seen = {}, Counter()
    for cell in cells_of(notebook):
        key = json.dumps([cell.get("id"), cell.get("source", cell.get("input"))])
        seen[key] += 1  # before nbformat 4.5 there are no ids
        found[f"{key} {seen[key]}"] = cell
    return found


def restore(path: str) -> int:
    """Put the outputs of the newest copy back into a notebook. Raises OSError, Refused."""
    copies = copies_of(path)[1]
    if not copies:
        raise Refused("there is no executed copy of it")
    raw, before = read(path)
    notebook, copy = parse(raw), parse(copies[-1].read_bytes())
    cells, back, lost = by_content(notebook), 0, 0
    for key, old in by_content(copy).items():
        if executed(old) and key not in cells:
            lost += 1
        elif executed(old) and not executed(cells[key]):
            back += 1
            cells[key].update((field, old[field]) for field in OUTPUT_FIELDS if field in old)
    if back:
        if "widgets" in copy.get("metadata", {}):
            notebook.setdefault("metadata", {}).setdefault("widgets", copy["metadata"]["widgets"])
        write(path, dump(notebook, raw), before)
        print(f"{path}: outputs are back (cells: {back})")
    if lost:
        print(f"{path}: {copies[-1]} has outputs of cells that have changed since ({lost})")
    return 0


# --- the command -------------------------------------------------------------------------------


def clean_file(path: str, rules: Rules, options: argparse.Namespace) -> int:
    """Clean or check one notebook; return its exit code. Raises OSError, Refused."""
    raw, before = read(path)
    notebook = parse(raw)
    changes = clean(notebook, rules)
    if not changes or (options.keep_local and only_on_screen(path, rules)):
        return 0
    if options.check:
        print("\n".join(f"{path}: {change}" for change in changes))
        return 1
    data = dump(notebook, raw)
    copy = keep(path, raw)
    write(path, data, before)
    print(f"{path}: cleaned; the executed notebook is {copy}")
    return 1


def clean_staged(path: str, rules: Rules, staged: dict[str, tuple[str, str]]) -> int:
    """Clean the staged version of a notebook; its file keeps the outputs. Raises Refused."""
    mode, blob = staged[path]
    raw = git("cat-file", "blob", blob)
    notebook = parse(raw)
    if clean(notebook, rules):
        blob = os.fsdecode(git("hash-object", "-w", "--stdin", stdin=dump(notebook, raw))).strip()
        git("update-index", "--cacheinfo", f"{mode},{blob},{path}")
        print(f"{path}: the commit has no outputs, the file keeps them")
    return 0


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: all tracked notebooks")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing, name what is not clean")
    mode.add_argument("--restore", action="store_true", help="bring the outputs back on screen")
    mode.add_argument(
        "--staged", action="store_true", help="clean what is staged; the files keep their outputs"
    )
    parser.add_argument(
        "--keep-local",
        action="store_true",
        help="leave a file alone if its staged version is clean",
    )
    options = parser.parse_args()
    if options.staged and options.files:
        parser.error("--staged takes no FILE: it cleans every staged notebook")
    for stream in sys.stdout, sys.stderr:
        stream.reconfigure(errors="backslashreplace")  # a file name may be any bytes

    if options.restore:
        files, work = options.files or [path for path in tracked() if copies_of(path)[1]], restore
    elif options.staged:
        files = staged()
        work = functools.partial(clean_staged, rules=Rules(), staged=files)
    else:
        files = options.files or tracked()
        work = functools.partial(clean_file, rules=Rules(), options=options)
    codes, cleaned = {0}, []
    for path in files:
        try:
            code = work(path)
            codes.add(code)
            # git tells a hook in which folder `git commit` was typed.
            here = os.path.relpath(path, os.environ.get("GIT_PREFIX") or ".")
            cleaned += [shlex.quote(here)] * code
        except (Refused, OSError, RecursionError) as error:
            sentence = getattr(error, "strerror", None) or error
            print(f"{path}: left as it is: {sentence}", file=sys.stderr)
            codes.add(2)
    if options.staged and files and nothing_staged():
        print("Only outputs have changed: there is nothing to commit.")
        codes.add(1)
    elif options.check and 1 in codes:
        print("`python tools/nbclean.py` cleans them.")
    elif cleaned:
        add = f"git add -u {' '.join(cleaned)}"
        if same_as_head():
            print(f"Only outputs had changed: after `{add}` there is nothing to commit.")
        else:
            print(f"`{add} && git commit` finishes the commit.")
        print("`make outputs` brings the outputs back on screen.")
    return max(codes)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        fail("interrupted; every notebook is whole, cleaned or not")

"""Every kind of notebook that people have: cleaned, left alone, or refused in one sentence."""

import json
import os
import stat

import nbformat
import pytest

from tests.hooks.notebook_project import as_jupyter, code, notebook

DIRTY = as_jupyter(notebook())
CLEAN = as_jupyter(notebook(code(outputs=[], execution_count=None)))

NOT_4 = "it is no notebook of nbformat 4: open it in Jupyter and save it"
NOT_JSON = "it cannot be read as JSON: "
OTHER_FORM = "not in the form that nbformat describes"


def deep(levels: int) -> bytes:
    return as_jupyter(notebook()).replace(
        b'"kernelspec"', b'"x": ' + b"[" * levels + b"]" * levels + b', "kernelspec"'
    )


REFUSED = {
    "an empty file": (b"", f"{NOT_JSON}Expecting value"),
    "white space": (b" \n\t\n", f"{NOT_JSON}Expecting value"),
    "a truncated notebook": (
        DIRTY[: len(DIRTY) // 2],
        f"{NOT_JSON}Unterminated string starting at: line 13 column 7",
    ),
    "an empty object": (b"{}", NOT_4),
    "a list": (b"[]", NOT_4),
    "null": (b"null", NOT_4),
    "a number": (b"42", NOT_4),
    "other JSON": (b'{"name": "x", "cells": 3}', NOT_4),
    "conflict markers": (
        DIRTY.replace(b'   "id"', b'<<<<<<< HEAD\n   "id"'),
        "Expecting property name enclosed in double quotes: line 6 column 1",
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        f"{NOT_JSON}Expecting value: line 1 column 1",
    ),
    "UTF-16": (
        DIRTY.decode().encode("utf-16"),
        "'utf-8' codec can't decode byte 0xff in position 0",
    ),
    "Latin-1": (
        DIRTY.replace(b"42", "é".encode("latin-1")),
        "'utf-8' codec can't decode byte 0xe9",
    ),
    "a control character": (DIRTY.replace(b"print", b"pr\x01nt"), "Invalid control character"),
    "an integer of 5000 digits": (
        as_jupyter(notebook()).replace(b'"Python 3"', b"1" * 5000),
        f"{NOT_JSON}Exceeds the limit",
    ),
    "100 000 nested lists": (deep(100_000), "recursion"),
    "nbformat 2": (as_jupyter(notebook(nbformat=2)), NOT_4),
    "nbformat 5": (as_jupyter(notebook(nbformat=5)), NOT_4),
    "nbformat as text": (as_jupyter(notebook(nbformat="4")), NOT_4),
    "no cells": (as_jupyter(notebook(cells=None)), NOT_4),
    "nbformat 3": (as_jupyter(notebook(nbformat=3)), NOT_4),
    "a cell that is text": (
        as_jupyter(notebook(code(), "x")),
        f"cell 2: {OTHER_FORM}",
    ),
    "metadata that is a list": (
        as_jupyter(notebook(metadata=[])),
        f"notebook: {OTHER_FORM}",
    ),
    "a cell's metadata that is text": (
        as_jupyter(notebook(code(metadata="x"))),
        f"cell 1: {OTHER_FORM}",
    ),
    "outputs that are null": (
        as_jupyter(notebook(code() | {"outputs": None})),
        f"cell 1: {OTHER_FORM}",
    ),
    "outputs that are an object": (
        as_jupyter(notebook(code() | {"outputs": {"": None}})),
        f"cell 1: {OTHER_FORM}",
    ),
    "tags that are null": (
        as_jupyter(notebook(code(), code(metadata={"tags": None}))),
        "argument of type 'NoneType'",
    ),
    "a cell that asks for both": (
        as_jupyter(notebook(code(metadata={"keep_output": False, "tags": ["keep_output"]}))),
        "cell metadata contradicts tags",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("mode", [[], ["--check"]], ids=["clean", "check"])
def test_refuses_in_one_sentence_and_leaves_the_file_as_it_is(project, mode, content, sentence):
    path = project.write("bad.ipynb", content)
    done = project.nbclean(*mode, "bad.ipynb")
    assert path.read_bytes() == content
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bad.ipynb: left as it is: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(path.parent).count("bad.ipynb") == len(list(path.parent.glob("*ipynb*")))


UNTOUCHED = {
    "a clean notebook": CLEAN,
    "CRLF line ends": CLEAN.replace(b"\n", b"\r\n"),
    "no final newline": CLEAN.rstrip(),
    "one line": json.dumps(json.loads(CLEAN)).encode(),
    "an indent of two": json.dumps(json.loads(CLEAN), indent=2).encode(),
    "escapes": CLEAN.replace(b"42", b"\\u00e9"),
    "half of a surrogate pair": CLEAN.replace(b"42", b"\\ud83d"),
    "a byte order mark": b"\xef\xbb\xbf" + CLEAN,
    "NaN": CLEAN.replace(b'"Python 3"', b"NaN"),
    "no cells": as_jupyter(notebook() | {"cells": []}),
    "kept by tag": as_jupyter(
        notebook(code(metadata={"tags": ["keep_output"]}, execution_count=None))
    ),
    "kept by metadata": as_jupyter(
        notebook(code(metadata={"keep_output": True}, execution_count=None))
    ),
    "kept as an init cell": as_jupyter(
        notebook(code(metadata={"init_cell": True}, execution_count=None))
    ),
    "kept by the notebook": as_jupyter(
        notebook(code(execution_count=None), metadata={"keep_output": True})
    ),
}


@pytest.mark.parametrize("content", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_never_rewrites_what_is_clean(project, content):
    path = project.write("clean.ipynb", content)
    os.utime(path, ns=(1, 1))
    done = project.nbclean("clean.ipynb")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == 1


NOISE = {
    "ExecuteTime": {"end_time": "2020"},
    "collapsed": True,
    "colab": {"height": 1},
    "execution": {"iopub.status.busy": "2020"},
    "executionInfo": {"user": {"displayName": "Ada"}},
    "outputId": "x",
    "papermill": {"duration": 1},
    "scrolled": True,
    "trusted": True,
    "user_expressions": [{"expression": "revenue"}],
    "vscode": {"start_execution_time": "2020"},
    "gather": {"logged": 1},
}
KEPT = {
    "id": "colab-id",
    "jupyter": {"source_hidden": True},
    "slideshow": {"slide_type": "slide"},
    "tags": ["parameters"],
}
NB_NOISE = {
    "colab": {"gpuType": "T4", "provenance": []},
    "language_info": {"name": "python", "version": "3.11.2"},
    "interpreter": {"hash": "31f2"},
    "orig_nbformat": 4,
    "papermill": {"duration": 1, "input_path": "/home/ada/x.ipynb", "parameters": {"a": 1}},
    "signature": "sha256:",
    "vscode": {"interpreter": {"hash": "x"}},
    "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}},
}
NB_KEPT = {
    "colab": {"gpuType": "T4"},
    "language_info": {"name": "python"},
    "papermill": {"input_path": "/home/ada/x.ipynb", "parameters": {"a": 1}},
}
MARKDOWN = {
    "attachments": {"a.png": {"image/png": "iVBORw0K"}},
    "cell_type": "markdown",
    "id": "text",
    "metadata": {},
    "source": "as one string",
}
RAW = {"cell_type": "raw", "id": "raw", "metadata": {}}
BARE = {"outputs": [], "execution_count": None}
BIG = {"big": 12345678901234567890123, "float": 110000.0}

CLEANED = {
    "a stream": (notebook(), notebook(code() | BARE)),
    "a count of 0": (notebook(code(execution_count=0, outputs=[])), notebook(code() | BARE)),
    "nbformat 4.4 without ids": (
        notebook(code(id=None), nbformat_minor=4),
        notebook(code(id=None) | BARE, nbformat_minor=4),
    ),
    "nbformat 4.9": (notebook(nbformat_minor=9), notebook(code() | BARE, nbformat_minor=9)),
    "no metadata": (notebook(metadata=None), notebook(code() | BARE, metadata={})),
    "a cell without metadata": (notebook(code(metadata=None)), notebook(code() | BARE)),
    "an output that is text": (notebook(code(outputs=["x"])), notebook(code() | BARE)),
    "a count without outputs": (
        notebook(code(outputs=None)),
        notebook(code() | BARE),
    ),
    "outputs without a count": (
        notebook(code(execution_count=None)),
        notebook(code(execution_count=None) | {"outputs": []}),
    ),
    "markdown with outputs": (
        notebook(MARKDOWN | {"outputs": [{}, {"output_type": "stream"}]}),
        notebook(MARKDOWN | {"outputs": [{}], "source": ["as one string"]}),
    ),
    "attachments and a raw cell": (
        notebook(MARKDOWN, RAW | {"source": ""}, code()),
        notebook(MARKDOWN | {"source": ["as one string"]}, RAW | {"source": []}, code() | BARE),
    ),
    "a kept output, its count": (
        notebook(
            code(
                metadata={"tags": ["keep_output"]},
                outputs=[{"output_type": "execute_result", "execution_count": 7, "data": {}}],
            )
        ),
        notebook(
            code(
                metadata={"tags": ["keep_output"]},
                outputs=[{"output_type": "execute_result", "execution_count": None, "data": {}}],
            )
            | {"execution_count": None}
        ),
    ),
    "a cell that does not keep in a notebook that does": (
        notebook(code(), code(metadata={"keep_output": False}), metadata={"keep_output": True}),
        notebook(
            code() | {"execution_count": None},
            code(metadata={"keep_output": False}) | BARE,
            metadata={"keep_output": True},
        ),
    ),
    "noise in a cell": (
        notebook(code(metadata=NOISE | KEPT) | BARE),
        notebook(code(metadata=KEPT) | BARE),
    ),
    "noise in the notebook": (
        notebook(code() | BARE, metadata=NB_NOISE),
        notebook(code() | BARE, metadata=NB_KEPT),
    ),
    "big numbers": (notebook(metadata=BIG), notebook(code() | BARE, metadata=BIG)),
}


@pytest.mark.parametrize(("before", "after"), CLEANED.values(), ids=CLEANED.keys())
def test_removes_what_is_noise_and_nothing_else(project, before, after):
    path = project.write("dirty.ipynb", before)
    check = project.nbclean("--check", "dirty.ipynb")
    assert check.returncode == 1
    assert path.read_bytes() == as_jupyter(before)
    done = project.nbclean("dirty.ipynb")
    assert (done.returncode, done.stderr) == (1, "")
    assert path.read_bytes() == as_jupyter(after)
    assert project.copies("dirty.ipynb") == [as_jupyter(before)]
    assert project.nbclean("dirty.ipynb").returncode == 0
    assert path.read_bytes() == as_jupyter(after)


NARROW = notebook(code(source=["é"]))
NARROW_CLEAN = notebook(code(source=["é"]) | BARE)
LAYOUTS = {
    "CRLF": lambda content: as_jupyter(content).replace(b"\n", b"\r\n"),
    "no final newline": lambda content: as_jupyter(content).rstrip(),
    "an indent of two": lambda content: json.dumps(content, indent=2, ensure_ascii=False).encode(),
    "tabs": lambda content: json.dumps(content, indent="\t", ensure_ascii=False).encode(),
    "one line": lambda content: json.dumps(content, ensure_ascii=False).encode(),
    "escapes": lambda content: json.dumps(content, indent=1).encode(),
    "keys in another order": lambda content: as_jupyter(dict(reversed(content.items()))),
    "half of a surrogate pair": lambda content: as_jupyter(content).replace(
        "é".encode(), b"\\ud83d"
    ),
    "half of a surrogate pair, and letters": lambda content: as_jupyter(content).replace(
        "é".encode(), "é\\ud83d".encode()
    ),
    "NaN": lambda content: as_jupyter(content).replace(b'"Python 3"', b"NaN"),
    "deep": lambda content: as_jupyter(content).replace(
        b'"Python 3"', b"{" + b'"x":{' * 50 + b"}" * 51
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_writes_the_layout_of_jupyter_whatever_it_was(project, layout):
    path = project.write("dirty.ipynb", layout(NARROW))
    assert project.nbclean("dirty.ipynb").returncode == 1
    after = path.read_bytes()
    assert json.dumps(json.loads(after)) == json.dumps(
        json.loads(layout(NARROW_CLEAN)), sort_keys=True
    )
    assert after.startswith(b'{\n "cells": [\n  {\n   "cell_type": "code",\n')
    assert after.endswith(b'"nbformat_minor": 5\n}\n')
    assert b"\\u00e9" not in after


def test_a_way_through_colab_and_back_makes_no_diff(project):
    """Colab indents by two, orders keys in its own way, writes no final newline, and adds metadata."""
    cells = code(source=["import math\n", "math.pi"]) | BARE, code(source=["2"]) | BARE
    path = project.write("n.ipynb", notebook(*cells))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start")
    colab = json.loads(path.read_bytes())
    colab["metadata"] |= {"colab": {"provenance": []}}
    for cell in colab["cells"]:
        cell["metadata"] |= {"id": "x", "outputId": "y"}
        cell["execution_count"] = 3
    keys = "nbformat", "nbformat_minor", "metadata", "cells"
    path.write_text(json.dumps({key: colab[key] for key in keys}, indent=2), encoding="utf-8")
    assert project.nbclean("n.ipynb").returncode == 1
    diff = project.git("diff", "--numstat", "--", "n.ipynb").split()
    assert int(diff[0]) <= 7, "more than the ids of two cells and an empty entry of Colab"


@pytest.mark.parametrize(
    "cells",
    [
        [code(id="a") | BARE, code(id="a", source=["2"]) | BARE],
        [code(id=None) | BARE, code(id="b") | BARE],
        [code(id="no good!") | BARE, code(id="b") | BARE],
        [code(id=7) | BARE, code(id="b") | BARE],
        [code(id="a", outputs=None, execution_count=None)],
        [code(id="a", source=list("a\nbc")) | BARE],
    ],
    ids=["id twice", "no id", "malformed id", "number as id", "no outputs", "one letter a line"],
)
def test_repairs_what_programs_damage_that_edit_notebooks(project, cells):
    original = notebook(*cells)
    path = project.write("n.ipynb", original)
    assert project.nbclean("n.ipynb").returncode == 1
    once = path.read_bytes()
    nbformat.validate(json.loads(once))
    for before, after in zip(original["cells"], json.loads(once)["cells"], strict=True):
        assert "".join(after["source"]) == "".join(before["source"])
    path.write_bytes(as_jupyter(original))
    assert project.nbclean("--check", "n.ipynb").stdout.startswith("n.ipynb: not clean\n")
    project.nbclean("n.ipynb")
    assert path.read_bytes() == once, "the same damage is repaired in the same way"
    assert project.nbclean("n.ipynb").returncode == 0


def test_outputs_come_back_to_cells_whose_ids_were_repaired(project):
    cells = [code(id=None), code(id="a", source=["2"]), code(id="a", source=["3"])]
    path = project.write("n.ipynb", notebook(*cells))
    assert project.nbclean("n.ipynb").returncode == 1
    assert "(cells: 3)" in project.nbclean("--restore", "n.ipynb").stdout
    for cell in json.loads(path.read_bytes())["cells"]:
        assert cell["outputs"] == code()["outputs"]


def test_refuses_lines_that_run_together(project):
    path = project.write("n.ipynb", notebook(code(source=["import os", "print(1)"])))
    before = path.read_bytes()
    done = project.nbclean("n.ipynb")
    sentence = "the lines of cell 1 run together: end each but the last in \\n\n"
    assert done.stderr == f"n.ipynb: left as it is: {sentence}"
    assert (done.returncode, path.read_bytes()) == (2, before)


def test_drops_the_byte_order_mark_that_jupyter_cannot_read(project):
    path = project.write("bom.ipynb", b"\xef\xbb\xbf" + DIRTY)
    assert project.nbclean("bom.ipynb").returncode == 1
    assert path.read_bytes() == as_jupyter(notebook(code() | BARE))


def test_handles_the_other_files_after_a_bad_one(project):
    names = ["a-bad.ipynb", "b.ipynb", "c-missing.ipynb", "d-folder.ipynb", "e.ipynb"]
    project.write(names[0], b"{")
    (project.folder / names[3]).mkdir()
    good = [project.write(names[1], DIRTY), project.write(names[4], DIRTY)]
    done = project.nbclean(*names)
    assert done.returncode == 2
    assert [path.read_bytes() for path in good] == [as_jupyter(notebook(code() | BARE))] * 2
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [names[0], *names[2:4]]
    assert "c-missing.ipynb: left as it is: No such file or directory" in done.stderr
    assert "d-folder.ipynb: left as it is: Is a directory" in done.stderr


def test_check_names_each_file_and_changes_none(project):
    path = project.write("n.ipynb", DIRTY)
    project.write("clean.ipynb", CLEAN)
    before = path.read_bytes()
    done = project.nbclean("--check", "clean.ipynb", "n.ipynb")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:-1] == ["n.ipynb: not clean"]
    assert path.read_bytes() == before
    assert project.copies("n.ipynb") == []


def test_without_files_takes_all_tracked_notebooks(project):
    tracked = ["a.ipynb", "deep/er/b.IPYNB", "-dash.ipynb", "with space.ipynb", "naïve☃.ipynb"]
    for name in [*tracked, "deep/.ipynb_checkpoints/b.ipynb", "deleted.ipynb"]:
        project.write(name, DIRTY)
    project.git("add", "--all")
    (project.folder / "deleted.ipynb").unlink()
    untracked = project.write("untracked.ipynb", DIRTY)
    done = project.nbclean("--check", cwd=project.folder / "deep")
    assert (done.returncode, done.stderr) == (1, "")
    found = {line.split(": ")[0] for line in done.stdout.splitlines()[:-1]}
    assert found == {os.path.relpath(name, "deep") for name in tracked}
    assert project.nbclean(cwd=project.folder / "deep").returncode == 1
    assert project.nbclean("--check").returncode == 0
    assert untracked.read_bytes() == DIRTY


@pytest.mark.parametrize(
    "name", ["-x.ipynb", "a b.ipynb", "é☃.ipynb", b"\xff.ipynb", "X.IPYNB", "q'\".ipynb"]
)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_takes_any_file_name_in_any_locale(project, name, locale):
    path = project.write(os.fsdecode(name), DIRTY)
    environment = os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = project.nbclean("--", os.fsdecode(name), env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert path.read_bytes() == as_jupyter(notebook(code() | BARE))


def test_keeps_the_mode_and_follows_links(project):
    path = project.write("data/real.ipynb", DIRTY)
    path.chmod(0o640)
    link = project.folder / "link.ipynb"
    link.symlink_to("data/real.ipynb")
    assert project.nbclean("link.ipynb").returncode == 1
    assert link.is_symlink()
    assert path.read_bytes() == as_jupyter(notebook(code() | BARE))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_cleans_where_nbstripout_cannot_be_imported(project, tmp_path):
    """A clean notebook needs the standard library only; a dirty one needs nbstripout."""
    project.write("clean.ipynb", CLEAN)
    dirty = project.write("dirty.ipynb", DIRTY)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "nbformat.py").write_text("raise ImportError('no nbformat here')")
    environment = os.environ | {"PYTHONPATH": str(broken)}
    assert project.nbclean("clean.ipynb", env=environment).returncode == 0
    done = project.nbclean("dirty.ipynb", env=environment)
    assert done.returncode == 2
    assert "no nbformat here" in done.stderr
    assert dirty.read_bytes() == DIRTY


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("[tool.nbclean]\nremove = 1", "[tool.nbclean] cannot be read: "),
        ("[tool", "[tool.nbclean] cannot be read: "),
    ],
    ids=["no list", "not TOML"],
)
def test_says_what_is_missing_in_pyproject(project, settings, sentence):
    (project.folder / "pyproject.toml").write_text(settings)
    path = project.write("n.ipynb", DIRTY)
    done = project.nbclean("n.ipynb")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == DIRTY


def test_without_the_table_only_outputs_and_counts_are_removed(project):
    (project.folder / "pyproject.toml").write_text("")
    path = project.write("n.ipynb", notebook(code(metadata={"collapsed": True})))
    assert project.nbclean("n.ipynb").returncode == 1
    assert path.read_bytes() == as_jupyter(notebook(code(metadata={"collapsed": True}) | BARE))


def test_what_is_removed_is_the_projects_choice(project):
    (project.folder / "pyproject.toml").write_text(
        '[tool.nbclean]\nremove = ["cell.metadata.mine"]\n'
    )
    metadata = {"collapsed": True, "path": "/home/ada/x"}
    path = project.write("n.ipynb", notebook(code(metadata=metadata | {"mine": 1})))
    assert project.nbclean("n.ipynb").returncode == 1
    assert path.read_bytes() == as_jupyter(notebook(code(metadata=metadata) | BARE))


def test_refuses_outside_a_repository(project, tmp_path):
    outside = tmp_path / "outside.ipynb"
    outside.write_bytes(DIRTY)
    done = project.nbclean(str(outside))
    assert done.returncode == 2
    assert "is not in the subpath of" in done.stderr
    done = project.nbclean(str(outside), cwd=tmp_path)
    assert done.returncode == 2
    assert "not a git repository" in done.stderr
    assert outside.read_bytes() == DIRTY


def test_help_tells_the_exit_codes(project):
    done = project.nbclean("--help")
    assert done.returncode == 0
    assert "Exit codes:" in done.stdout

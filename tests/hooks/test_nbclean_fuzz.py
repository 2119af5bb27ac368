"""Random notebooks and random damage: never less than the notebook without its outputs."""

import contextlib
import copy
import importlib.util
import io
import json
import os
import sys
import tomllib

import nbformat
import nbstripout
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from tests.hooks.notebook_project import SCRIPT, as_jupyter, create, settings

KEYS = tomllib.loads(settings())["tool"]["nbclean"]["remove"]
often = how(
    max_examples=300,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

text = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.just("/home/ada/x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def metadata(prefix: str) -> st.SearchStrategy[dict]:
    """Metadata with some of the keys that are removed, and some that must stay."""
    names = [key.removeprefix(prefix).split(".") for key in KEYS if key.startswith(prefix)]
    known = {name: st.just({rest[0]: 1, "kept": 2} if rest else 1) for name, *rest in names}
    kept = {
        "tags": st.lists(st.sampled_from(["parameters", "keep_output", "x"]), max_size=2),
        "keep_output": st.booleans(),
        "init_cell": st.booleans(),
        "slideshow": st.just({"slide_type": "slide"}),
    }
    return st.fixed_dictionaries({}, optional=known | kept | {"other": values})


output = st.one_of(
    st.fixed_dictionaries(
        {"output_type": st.just("stream"), "name": st.just("stdout"), "text": st.lists(text)}
    ),
    st.fixed_dictionaries(
        {
            "output_type": st.just("execute_result"),
            "execution_count": st.none() | st.integers(0, 99),
            "data": st.fixed_dictionaries({"text/plain": text}),
            "metadata": st.dictionaries(text, values, max_size=1),
        }
    ),
)
identifier = st.from_regex("[a-zA-Z0-9_-]{1,64}", fullmatch=True)
source = text | text.map(lambda whole: whole.splitlines(keepends=True))
code_cell = st.fixed_dictionaries(
    {
        "cell_type": st.just("code"),
        "id": identifier,
        "metadata": metadata("cell.metadata."),
        "source": source,
        "execution_count": st.none() | st.integers(0, 99),
        "outputs": st.lists(output, max_size=2),
    }
)
text_cell = st.fixed_dictionaries(
    {
        "cell_type": st.sampled_from(["markdown", "raw"]),
        "id": identifier,
        "metadata": metadata("cell.metadata."),
        "source": source,
    },
    optional={"attachments": st.just({"a.png": {"image/png": "iVBORw0K"}})},
)


@st.composite
def valid_notebooks(draw) -> dict:
    """Valid notebooks of nbformat 4.0 to 4.5, which is the first with ids."""
    minor = draw(st.integers(0, 5))
    unique_ids = {"unique_by": lambda cell: cell["id"]}
    cells = draw(st.lists(code_cell | text_cell, max_size=4, **unique_ids))
    if minor < 5:
        cells = [{key: cell[key] for key in cell if key != "id"} for cell in cells]
    return {
        "cells": cells,
        "metadata": draw(metadata("metadata.")),
        "nbformat": 4,
        "nbformat_minor": minor,
    }


notebooks = valid_notebooks()


def silence() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO())


@pytest.fixture(scope="module")
def hook(tmp_path_factory):
    """The script in this process, with a repository around: a run costs milliseconds."""
    project = create(tmp_path_factory.mktemp("fuzz") / "project")
    spec = importlib.util.spec_from_file_location("nbclean", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PYPROJECT = project.folder / "pyproject.toml"
    path = project.folder / "n.ipynb"
    before, argv, stdin = os.getcwd(), sys.argv, sys.stdin
    sys.stdin = None  # nbstripout would close it
    os.chdir(project.folder)

    def run(raw: bytes) -> tuple[int, bytes]:
        path.write_bytes(raw)
        sys.argv = ["nbclean", str(path)]
        with contextlib.redirect_stdout(silence()), contextlib.redirect_stderr(silence()):
            code = module.main()
        assert [name for name in os.listdir(project.folder) if "nbclean-" in name] == []
        return code, path.read_bytes()

    yield run
    os.chdir(before)
    sys.argv, sys.stdin = argv, stdin


def same(one: object, other: object) -> bool:
    """Equal as JSON text, so that NaN equals NaN and 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def without_outputs(notebook: dict) -> dict:
    """What no cleaning may touch: all but outputs, counts and metadata."""
    bare = copy.deepcopy(notebook)
    for part in [bare, *bare["cells"]]:
        for key in "outputs", "execution_count", "metadata":
            part.pop(key, None)
    for cell in bare["cells"]:
        if bare.get("nbformat_minor") in range(5, 100):
            cell.pop("id", None)  # damaged ones are repaired
        if isinstance(cell.get("source"), list):
            lines = [
                x if isinstance(x, str) else json.dumps(x, sort_keys=True) for x in cell["source"]
            ]
            cell["source"] = "".join(lines)
    return bare


def is_part(after: object, before: object) -> bool:
    """Whether metadata has lost keys at most."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(key in before and is_part(after[key], before[key]) for key in after)
    if isinstance(before, list) and isinstance(after, list):
        return len(after) == len(before) and all(map(is_part, after, before))
    return same(after, before)


def assert_only_cleaned(hook, raw: bytes) -> None:
    code, after = hook(raw)
    if code != 1:
        assert after == raw
        return
    old, new = json.loads(raw.decode("utf-8-sig")), json.loads(after)
    assert same(without_outputs(new), without_outputs(old))
    assert is_part(new.get("metadata", {}), old.get("metadata", {}))
    for before, now in zip(old.get("cells", []), new.get("cells", []), strict=True):
        assert is_part(now.get("metadata", {}), before.get("metadata", {}))
        assert "outputs" in now or now.get("cell_type") != "code"
        before = {"outputs": []} | before
        assert now.get("execution_count") is None
        if now.get("outputs"):
            kept = [
                {**o, "execution_count": 0} if "execution_count" in o else o for o in now["outputs"]
            ]
            were = [
                {**o, "execution_count": 0} if "execution_count" in o else o
                for o in before["outputs"]
            ]
            assert all(any(same(k, w) for w in were) for k in kept)
    assert hook(after) == (0, after), "cleaning again changes nothing"


@often
@given(notebook=notebooks, indent=st.sampled_from([None, 1, 2]), ascii_only=st.booleans())
def test_a_notebook_only_loses_its_noise(hook, notebook, indent, ascii_only):
    raw = json.dumps(notebook, indent=indent, ensure_ascii=ascii_only)
    assert_only_cleaned(hook, raw.encode("utf-8", "backslashreplace"))


@often
@given(notebook=notebooks)
def test_keeps_what_nbstripout_keeps(hook, tmp_path, notebook):
    """Compared with the real command line of nbstripout, which rewrites the file itself."""
    notebook = copy.deepcopy(notebook)
    for part in [notebook, *notebook["cells"]]:
        part["metadata"].pop("other", None)  # home folders, which nbstripout does not know
    raw = as_jupyter(json.loads(json.dumps(notebook)))
    theirs = tmp_path / "theirs.ipynb"
    theirs.write_bytes(raw)
    sys.argv = ["nbstripout", "--keep-id", "--extra-keys", " ".join(KEYS), str(theirs)]
    try:
        with contextlib.redirect_stdout(silence()):  # it closes stdout
            nbstripout.main()
    except nbstripout.MetadataError:
        assert hook(raw) == (2, raw)
        return
    _, ours = hook(raw)
    assert nbformat.reads(ours.decode(), nbformat.NO_CONVERT) == nbformat.reads(
        theirs.read_text(encoding="utf-8"), nbformat.NO_CONVERT
    )


def paths(value: object, here: tuple = ()) -> list[tuple]:
    """The path to every part of a JSON value."""
    found = [here]
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else []
    )
    for key, part in parts:
        found += paths(part, (*here, key))
    return found


@often
@given(notebook=notebooks, data=st.data())
def test_survives_a_part_replaced_by_anything(hook, notebook, data):
    notebook = copy.deepcopy(notebook)
    *where, last = data.draw(st.sampled_from(paths(notebook)[1:]))
    part = notebook
    for key in where:
        part = part[key]
    change = data.draw(values | st.just(...))
    if change is ... and isinstance(part, dict):
        del part[last]
    else:
        part[last] = None if change is ... else change
    assert_only_cleaned(hook, json.dumps(notebook).encode())


@often
@given(notebook=notebooks, data=st.data())
def test_survives_damaged_bytes(hook, notebook, data):
    raw = json.dumps(notebook, indent=1).encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 20)))
    junk = data.draw(
        st.binary(max_size=8) | st.sampled_from([b"\n", b'"', b"}", b"]", b"\\ud800", raw[:200]])
    )
    assert_only_cleaned(hook, raw[:start] + junk + raw[end:])

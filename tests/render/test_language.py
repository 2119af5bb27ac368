"""A project that speaks French does so where people read, and is the same project everywhere else."""

import json
import re

import pytest

from tests.support import NOTEBOOK, run

KINDS = [
    {"dependency_manager": "uv"},
    {"stack": "minimal"},
    {"stack": "deep-learning", "accelerator": "cuda"},
    {"cluster": "dask"},
]


@pytest.fixture(params=KINDS, ids=str)
def both(request, render):
    """Return an English project and its French twin."""
    return render(**request.param), render(**request.param, language="fr")


def commands(project) -> dict[str, str]:
    printed = run("make", cwd=project).stdout
    return dict(re.findall(r"^  make ([\w-]+) +(.+)$", printed, re.MULTILINE))


def test_make_describes_every_command_in_french(both):
    english, french = map(commands, both)
    assert english.keys() == french.keys()
    assert not english.items() & french.items(), "not in FRENCH of includes/language.jinja"


def test_the_languages_differ_in_few_files_only(both):
    english, french = both
    names = [path.relative_to(english) for path in english.rglob("*") if path.is_file()]
    differ = {
        name.as_posix()
        for name in names
        if (english / name).read_bytes() != (french / name).read_bytes()
    }
    notebooks = {path for path in differ if path.endswith(".ipynb")}
    assert differ == {".copier-answers.yml", "Makefile", "README.md", *notebooks}
    assert notebooks == {path.as_posix() for path in names if path.suffix == ".ipynb"}


def test_the_pages_of_both_languages_have_the_same_parts(both):
    parts = [
        re.findall(r"^(#+|\|)|`(.*?)`", (p / "README.md").read_text(), re.MULTILINE) for p in both
    ]
    assert sorted(parts[0]) == sorted(parts[1])


def test_only_text_and_labels_of_the_notebook_are_french(both):
    english, french = (json.loads((p / NOTEBOOK).read_text(encoding="utf-8")) for p in both)
    assert [c["id"] for c in english["cells"]] == [c["id"] for c in french["cells"]]
    for ours, theirs in zip(english["cells"], french["cells"], strict=True):
        source = "".join(ours["source"]), "".join(theirs["source"])
        if ours["cell_type"] == "markdown":
            assert source[0] != source[1], source[0]
            assert re.findall(r"`.*?`", source[0]) == re.findall(r"`.*?`", source[1])
        else:
            code = [re.sub(r'".*?"', '""', text) for text in source]
            assert code[0] == code[1]

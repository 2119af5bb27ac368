"""The executed copies: bounded, found again, and brought back without touching anything else."""

import copy
import json
import os
import subprocess
import sys

from tests.hooks.notebook_project import Project, as_jupyter, code, create, notebook

BARE = {"outputs": [], "execution_count": None}
WIDGETS = {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}}}

NOTHING = "No outputs were brought back: no copy has one that is missing.\n"


def output(text: str) -> dict:
    return {"outputs": [{"name": "stdout", "output_type": "stream", "text": [text]}]}


def cell(name: str, **changes) -> dict:
    return code(id=name, source=[f"print('{name}')"], **output(name)) | changes


def read(path) -> dict:
    return json.loads(path.read_bytes())


def start(project: Project, *cells: dict, **changes):
    """A tracked and cleaned notebook whose copy has the outputs."""
    path = project.write("n.ipynb", notebook(*cells, **changes))
    project.git("add", "--all")
    assert project.nbclean("n.ipynb").returncode == 1
    return path


def test_outputs_counts_and_widgets_come_back_exactly(project):
    executed = notebook(cell("a"), cell("b"), metadata=WIDGETS)
    path = start(project, *executed["cells"], metadata=WIDGETS)
    assert read(path) == notebook(cell("a") | BARE, cell("b") | BARE, metadata={})
    done = project.nbclean("--restore")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "n.ipynb: outputs are back (cells: 2)\n"
    assert path.read_bytes() == as_jupyter(executed)
    assert project.nbclean("--restore").stdout == NOTHING
    assert path.read_bytes() == as_jupyter(executed)


def test_outputs_follow_their_cells_and_no_other_code(project):
    path = start(project, cell("a"), cell("b"), cell("c"), cell("d"))
    rerun = cell("b", **output("newer"))
    edited = notebook(
        cell("new") | BARE,
        cell("d") | BARE,
        cell("a", source=["other code"]) | BARE,
        rerun,
    )
    path.write_bytes(as_jupyter(edited))
    done = project.nbclean("--restore", "n.ipynb")
    expected = copy.deepcopy(edited)
    expected["cells"][1] = cell("d")
    assert read(path) == expected
    assert done.stdout == "n.ipynb: outputs are back (cells: 1)\n"


def test_cells_without_ids_are_found_by_their_source(project):
    cells = [code(id=None, **output(text)) for text in ("first", "second")]
    path = start(project, *cells, nbformat_minor=4)
    new = code(id=None, source=["1"]) | BARE
    path.write_bytes(as_jupyter(notebook(new, *(c | BARE for c in cells), nbformat_minor=4)))
    assert project.nbclean("--restore").returncode == 0
    assert read(path) == notebook(new, *cells, nbformat_minor=4)


def test_the_last_three_copies_of_each_notebook_stay(project):
    other = project.write("other/n.ipynb", notebook(cell("x")))
    assert project.nbclean("other/n.ipynb").returncode == 1
    for number in range(12):
        path = project.write("n.ipynb", notebook(cell("a", **output(str(number)))))
        done = project.nbclean("n.ipynb")
        assert f"nbclean/n.ipynb/{number + 1}.ipynb" in done.stdout
    kept = {
        json.loads(raw)["cells"][0]["outputs"][0]["text"][0] for raw in project.copies("n.ipynb")
    }
    assert kept == {"9", "10", "11"}
    assert len(project.copies("other/n.ipynb")) == 1
    project.git("add", "--all")
    assert project.nbclean("--restore", "n.ipynb").returncode == 0
    assert read(path)["cells"][0]["outputs"] == output("11")["outputs"]
    assert read(other)["cells"][0]["outputs"] == []


def test_the_same_notebook_is_kept_once(project):
    for _ in range(3):
        project.write("n.ipynb", notebook(cell("a")))
        assert project.nbclean("n.ipynb").returncode == 1
    assert len(project.copies("n.ipynb")) == 1


def test_a_later_change_of_the_notebook_does_not_reach_the_copy(project):
    path = start(project, cell("a"))
    path.write_bytes(b"gone")
    assert project.copies("n.ipynb") == [as_jupyter(notebook(cell("a")))]


def test_a_file_system_without_hard_links_is_fine(project):
    project.write("n.ipynb", notebook(cell("a")))
    forbid = (
        "import runpy, sys\ndef no(event, _):\n  if event == 'os.link': raise OSError('no links')\n"
    )
    run = "sys.addaudithook(no)\nsys.argv = ['tools/nbclean.py', 'n.ipynb']\n"
    run += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", forbid + run],
        cwd=project.folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert project.copies("n.ipynb") == [as_jupyter(notebook(cell("a")))]


def test_nothing_to_restore_is_said_and_no_error(project):
    project.write("n.ipynb", notebook(cell("a") | BARE))
    project.git("add", "--all")
    for files in [], ["n.ipynb"]:
        done = project.nbclean("--restore", *files)
        assert (done.returncode, done.stdout, done.stderr) == (0, NOTHING, "")


def test_an_output_comes_back_under_reformatted_code(project):
    source = ["import os\n", "import math\n", "%time x=1\n", "print( 'a',math.pi )"]
    path = start(project, cell("a", source=source))
    formatted = ["import math\n", "\n", "%time x=1\n", 'print("a", math.pi)']
    path.write_bytes(as_jupyter(notebook(cell("a", source=formatted) | BARE)))
    assert project.nbclean("--restore").stdout == "n.ipynb: outputs are back (cells: 1)\n"
    assert read(path) == notebook(cell("a", source=formatted))


def test_an_output_stays_away_where_an_import_is_new(project):
    path = start(project, cell("a", source=["import math\n", "print(math.pi)"]))
    other = cell("a", source=["import fake as math\n", "print(math.pi)"]) | BARE
    path.write_bytes(as_jupyter(notebook(other)))
    assert project.nbclean("--restore").stdout == NOTHING


def test_each_output_comes_from_the_newest_copy_that_has_it(project):
    path = start(project, cell("slow"), cell("quick"))
    for number in range(5):
        rerun = cell("quick", **output(str(number)))
        path.write_bytes(as_jupyter(notebook(cell("slow") | BARE, rerun)))
        assert project.nbclean("n.ipynb").returncode == 1
    assert len(project.copies("n.ipynb")) == 4, "the only copy of an output was dropped"
    assert project.nbclean("--restore").returncode == 0
    assert read(path) == notebook(cell("slow"), cell("quick", **output("4")))


def test_outputs_follow_a_renamed_notebook(project):
    start(project, cell("a"))
    project.git("mv", "n.ipynb", "renamed.ipynb")
    done = project.nbclean("--restore")
    assert done.stdout == "renamed.ipynb: outputs are back (cells: 1)\n"
    assert read(project.folder / "renamed.ipynb") == notebook(cell("a"))


def test_a_widget_that_is_kept_keeps_its_state(project):
    view = {"output_type": "display_data", "metadata": {}}
    view["data"] = {"application/vnd.jupyter.widget-view+json": {"model_id": "abc"}}
    kept = cell("a", outputs=[view], metadata={"tags": ["keep_output"]})
    path = project.write("n.ipynb", notebook(kept, metadata=WIDGETS))
    assert project.nbclean("n.ipynb").returncode == 1
    assert read(path)["metadata"] == WIDGETS


def test_cleaning_does_not_make_a_file_newer(project):
    """jupytext --sync takes the newer of a pair for the one that was edited."""
    path = project.write("n.ipynb", notebook(cell("a")))
    os.utime(path, ns=(10**18, 10**18))
    assert project.nbclean("n.ipynb").returncode == 1
    assert path.stat().st_mtime_ns == 10**18


def test_a_link_out_of_the_repository_is_not_followed(project, tmp_path):
    outside = tmp_path / "private.ipynb"
    outside.write_bytes(as_jupyter(notebook()))
    (project.folder / "link.ipynb").symlink_to(outside)
    project.git("add", "--all")
    assert project.nbclean().returncode == 0
    assert "is not in the subpath of" in project.nbclean("link.ipynb").stderr
    assert outside.read_bytes() == as_jupyter(notebook())


def test_a_damaged_notebook_is_one_sentence(project):
    path = start(project, cell("a"))
    path.write_bytes(b"{")
    done = project.nbclean("--restore", "n.ipynb")
    assert (done.returncode, path.read_bytes(), done.stderr.count("\n")) == (2, b"{", 1)


def test_a_copy_that_was_cut_short_stops_nothing(project):
    """A kill or a full disk can leave half of a copy."""
    path = start(project, cell("a"))
    folder = project.folder / project.git("rev-parse", "--git-path", "nbclean").strip()
    (folder / "n.ipynb" / "1.ipynb").write_bytes(b"{")
    assert project.nbclean("--restore", "n.ipynb").stdout == NOTHING
    for number in range(3):
        path.write_bytes(as_jupyter(notebook(cell("a", **output(str(number))))))
        assert project.nbclean("n.ipynb").returncode == 1
    assert b"{" not in project.copies("n.ipynb")


def test_each_worktree_has_its_own_copies(project, tmp_path):
    start(project, cell("a"))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start")
    project.git("worktree", "add", "--quiet", "../other", "-b", "other")
    other = Project(tmp_path / "other")
    assert other.copies("n.ipynb") == []
    path = other.write("n.ipynb", notebook(cell("a", **output("elsewhere"))))
    assert other.nbclean().returncode == 1
    assert len(project.copies("n.ipynb")) == len(other.copies("n.ipynb")) == 1
    assert other.nbclean("--restore").returncode == 0
    assert read(path)["cells"][0]["outputs"] == output("elsewhere")["outputs"]
    assert project.nbclean("--restore").returncode == 0
    assert read(project.folder / "n.ipynb")["cells"][0]["outputs"] == output("a")["outputs"]


def test_a_submodule_has_its_own_copies(project, tmp_path):
    inner = create(tmp_path / "inner")
    inner.git("add", "--all")
    inner.git("commit", "--quiet", "--message", "Start")
    project.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.folder), "sub"
    )
    sub = Project(project.folder / "sub")
    path = start(sub, cell("a"))
    assert len(sub.copies("n.ipynb")) == 1
    assert (project.folder / ".git" / "modules" / "sub" / "nbclean" / "n.ipynb").is_dir()
    assert project.nbclean("--check").returncode == 0, "the notebooks of a submodule are its own"
    assert sub.nbclean("--restore").returncode == 0
    assert read(path) == notebook(cell("a"))


def test_works_from_a_folder_below(project):
    path = project.write("deep/er/n.ipynb", notebook(cell("a")))
    project.git("add", "--all")
    below = path.parent
    assert project.nbclean("n.ipynb", cwd=below).returncode == 1
    assert len(project.copies("deep/er/n.ipynb")) == 1
    assert project.nbclean("--restore", cwd=below).returncode == 0
    assert read(path) == notebook(cell("a"))

"""What `make lock` and `make upgrade` do with all that a person may ask for, in projects of both kinds."""

import re
import signal
import subprocess

import pytest

from tests.render.lock_projects import requirements_only, sentences
from tests.render.private_index import YANKED, holding
from tests.support import BIN, PROGRAMS, commit_all, run

FAILURES = {
    "a conflict": (["old-friend", "tiny-a==2.0"], "old-friend depend on tiny-a<2"),
    "a version that is not there": (["tiny-a==7.0"], "there is no version of tiny-a==7.0"),
    "a typo": (["tinny-a"], "tinny-a was not found"),
    "a release of yesterday": (["fresh==2.0"], "was filtered by `exclude-newer`"),
}


def test_a_lock_that_still_fits_keeps_every_byte(locked):
    before = locked.contents()
    printed = locked.run("lock").stdout
    assert locked.contents() == before
    assert printed.splitlines()[-1] == "All versions stay."


def test_an_added_package_moves_nothing_else(locked):
    locked.ask("tiny-a", "fresh", dev=("tiny-b",))
    locked.run("lock")
    assert locked.pins() == {"tiny-a==1.0", "tiny-b==1.0", "fresh==1.0"}
    locked.run("install")
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0", "fresh": "1.0"}


def test_a_removed_package_leaves_with_what_it_needed(locked):
    locked.run("install")
    locked.ask("fresh")
    locked.run("lock")
    assert locked.pins() == {"fresh==1.0"}
    locked.run("install")
    assert locked.installed() == {"fresh": "1.0"}


@pytest.mark.parametrize("command", ["lock", "upgrade"])
@pytest.mark.parametrize(("needs", "why"), FAILURES.values(), ids=FAILURES)
def test_a_lock_that_fails_says_why_and_leaves_the_old_one(command, needs, why, locked):
    before = locked.contents()
    locked.ask("tiny-a", *needs, dev=("tiny-b",))
    result = locked.run(command, fails=True)
    assert why in result.stderr
    assert "Traceback" not in result.stderr
    assert locked.contents() == before


def test_a_development_package_that_conflicts_changes_nothing(locked):
    before = locked.contents()
    locked.ask("tiny-a", dev=("tiny-b", "tiny-b==9.0"))
    result = locked.run("upgrade", fails=True)
    assert "tiny-b==9.0" in result.stderr
    assert locked.contents() == before


def test_a_first_lock_that_fails_leaves_no_half_of_it(project):
    project.ask("tiny-a", dev=("tiny-b==9.0",))
    project.run("lock", fails=True)
    assert set(project.contents()) == {None}


@pytest.fixture
def heeding_ctrl_c():
    """A shell lets all that it starts in the background ignore Ctrl-C; not so here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminated"])
def test_a_lock_that_is_stopped_leaves_the_old_one(stop, locked):
    before = locked.contents()
    locked.ask("tiny-a==2.0", dev=("tiny-b", "slow"))
    program = PROGRAMS[locked.kind] / "packages.py"
    command = [BIN / "python", program, "--root", locked.folder, "lock"]
    with holding("slow") as asked:
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert asked.wait(60)
        if locked.kind == "requirements":
            assert locked.contents() != before  # The first half is there already.
        started.send_signal(stop)
        _, errors = started.communicate(timeout=60)
    assert started.returncode not in (0, 1)
    assert "Traceback" not in errors
    assert locked.contents() == before


def test_a_yanked_version_is_not_chosen(locked):
    locked.ask("withdrawn")
    locked.run("upgrade")
    assert locked.pins() == {"withdrawn==1.0"}


def test_a_yanked_version_is_taken_where_asked_for_and_uv_warns(locked):
    (reason,) = YANKED.values()
    locked.ask("withdrawn==2.0")
    assert reason in locked.run("lock").stderr
    assert locked.pins() == {"withdrawn==2.0"}
    locked.run("install")
    assert locked.installed() == {"withdrawn": "2.0"}


def test_a_pin_that_was_yanked_later_stays_until_an_upgrade(locked):
    locked.ask("withdrawn==2.0")
    locked.run("lock")
    locked.ask("withdrawn")
    assert YANKED["withdrawn-2.0-py3-none-any.whl"] in locked.run("lock").stderr
    assert locked.pins() == {"withdrawn==2.0"}
    locked.run("upgrade")
    assert locked.pins() == {"withdrawn==1.0"}


def test_a_source_distribution_is_built_from_the_locked_one(locked):
    locked.ask("raw")
    locked.run("lock")
    locked.run("install")
    assert locked.installed() == {"raw": "1.0"}

    locked.tamper("raw")
    locked.empty_environment()
    assert "raw" in locked.run("install", fails=True).stderr
    assert locked.installed() == {}


@pytest.mark.parametrize("file", ["fresh-2.0-py3-none-any.whl", "raw-1.0.tar.gz"])
def test_an_address_is_pinned_by_its_hash(file, locked, index):
    name, version = re.match(r"(\w+)-(\d\.\d)", file).groups()
    locked.ask(f"{name} @ http://{index}/files/{file}")
    locked.run("lock")
    locked.run("install")
    assert locked.installed() == {name: version}
    locked.run("install")

    locked.tamper(name)
    locked.empty_environment()
    result = locked.run("install", fails=True)
    assert file in result.stderr and "ash" in result.stderr
    assert locked.installed() == {}


@pytest.fixture
def repository(tmp_path) -> str:
    """The address of a git repository with a package."""
    folder = tmp_path / "gitty"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "gitty"\nversion = "1.0"\n[build-system]\nrequires = []\n'
    )
    commit_all(folder)
    return f"git+{folder.as_uri()}"


def test_a_package_from_git_is_refused_because_it_has_no_hash(locked, repository):
    before = locked.contents()
    locked.ask("tiny-a", f"gitty @ {repository}", dev=("tiny-b",))
    last = sentences(locked.run("lock", fails=True))[-1]
    assert "takes a package from version control" in last or "uv.lock takes gitty from" in last
    assert "name an archive, which gets a hash" in last
    assert locked.contents() == before


@requirements_only
@pytest.mark.parametrize("need", ["-e ./here", "./here", "here @ file://{folder}/here"])
def test_a_package_from_a_folder_is_refused(need, locked):
    before = locked.contents()
    (locked.folder / "here").mkdir()
    (locked.folder / "here/pyproject.toml").write_text(
        '[project]\nname = "here"\nversion = "1.0"\n[build-system]\nrequires = []\n'
    )
    locked.ask("tiny-a", need.format(folder=locked.folder), dev=("tiny-b",))
    last = sentences(locked.run("lock", fails=True))[-1]
    assert last.startswith("requirements.in, line 2, ")
    assert re.search(
        "takes a local package: name an archive|names a file of one machine: keep", last
    )
    assert locked.contents() == before


def test_install_refuses_a_package_from_git_in_the_lock(locked, repository):
    locked.ask(f"gitty @ {repository}")
    if locked.kind == "uv":
        run(BIN / "uv", "lock", cwd=locked.folder)
    else:
        options = ["--generate-hashes", "--output-file=requirements.txt"]
        run(BIN / "uv", "pip", "compile", "requirements.in", *options, cwd=locked.folder)
    last = sentences(locked.run("install", fails=True))[-1]
    assert "takes a package from version control" in last or "uv.lock takes gitty from" in last
    assert locked.installed() == {}


def test_an_extra_brings_what_it_needs(locked):
    locked.ask("choosy")
    locked.run("lock")
    assert locked.pins() == {"choosy==1.0"}
    locked.ask("choosy[more]")
    locked.run("lock")
    assert locked.pins() == {"choosy==1.0", "tiny-a==2.0"}
    locked.run("install")
    assert locked.installed() == {"choosy": "1.0", "tiny-a": "2.0"}


def test_a_marker_keeps_a_package_out_of_other_systems(locked):
    # picky needs withdrawn on a Python that is not there yet.
    locked.ask("picky", "fresh; sys_platform == 'win32'")
    locked.run("upgrade")
    assert locked.pins() == {"picky==1.0", "withdrawn==1.0", "fresh==1.0"}
    locked.run("install")
    assert locked.installed() == {"picky": "1.0"}


AGES = {
    "the default": ('exclude-newer = "7 days"', "fresh==1.0"),
    "no limit": ("", "fresh==2.0"),
    "no limit for this package": (
        'exclude-newer = "7 days"\nexclude-newer-package = { fresh = false }',
        "fresh==2.0",
    ),
    "no limit for another": (
        'exclude-newer = "7 days"\nexclude-newer-package = { tiny-a = false }',
        "fresh==1.0",
    ),
}


@pytest.mark.parametrize(("settings", "pin"), AGES.values(), ids=AGES)
def test_a_release_of_yesterday_has_to_wait_unless_it_may_come(settings, pin, locked):
    locked.ask("fresh", settings=settings)
    locked.run("upgrade")
    assert locked.pins() == {pin}


def test_upgrade_moves_all_pins(locked):
    result = locked.run("upgrade")
    assert moves(result) == [("tiny-a", "1.0", "2.0"), ("tiny-b", "1.0", "2.0")]
    assert locked.pins() == {"tiny-a==2.0", "tiny-b==2.0"}
    assert result.stdout.splitlines()[-1] == "Now `make setup` installs it."


def test_lock_lists_what_moves_comes_and_goes_in_columns(locked):
    locked.ask("tiny-a==2.0", "withdrawn", "raw")
    assert moves(locked.run("lock")) == [
        ("raw", "new", "1.0"),
        ("tiny-a", "1.0", "2.0"),
        ("tiny-b", "1.0", "removed"),
        ("withdrawn", "new", "1.0"),
    ]


@pytest.mark.parametrize("name", ["tiny-b", "Tiny.B", "tiny_b==2.0"])
def test_upgrade_of_one_package_moves_only_that(name, locked):
    assert moves(locked.run("upgrade", name)) == [("tiny-b", "1.0", "2.0")]
    assert locked.pins() == {"tiny-a==1.0", "tiny-b==2.0"}


def test_upgrade_can_go_back_to_a_version(locked):
    locked.run("upgrade")
    assert moves(locked.run("upgrade", "tiny-b==1.0")) == [("tiny-b", "2.0", "1.0")]


def test_upgrade_of_an_unlocked_package_says_where_to_add_it(locked):
    before = locked.contents()
    (sentence,) = sentences(locked.run("upgrade", "tiny-a", "tinny-b", fails=True))
    source = "requirements.in" if locked.kind == "requirements" else "pyproject.toml"
    assert sentence == f"tinny-b is in no lock: add it to {source}, then run `make lock`."
    assert locked.contents() == before


def test_the_development_lock_follows_the_other(locked):
    locked.run("upgrade", "tiny-a")
    for lock in locked.locks:
        assert re.search(r'tiny-a(==|"\nversion = ")2\.0', lock.read_text())


def moves(result: subprocess.CompletedProcess) -> list[tuple[str, str, str]]:
    """The rows of the table of versions, which stand below each other."""
    rows = re.findall(r"^  (\S+ *)  (\S+ *)  ->  (\S+)$", result.stdout, re.MULTILINE)
    assert len({(len(name), len(old)) for name, old, _ in rows}) <= 1
    return [(name.strip(), old.strip(), new) for name, old, new in rows]


def test_compare_finds_nothing_in_a_lock_that_nobody_has_touched(locked):
    locked.ask("picky", "raw", "choosy[more]", dev=("tiny-b",))
    locked.run("lock")
    before = locked.contents()
    assert locked.run("compare").stdout.endswith("The index gives the same lock.\n")
    assert locked.contents() == before


def test_compare_names_a_hash_that_the_index_does_not_know(locked):
    locked.tamper("tiny-a")
    said = sentences(locked.run("compare", fails=True))
    (lock, *_) = locked.locks
    assert said[-1] == (
        f"{lock.name} has other packages or hashes than the index gives, tiny-a==1.0: run"
        " `make lock`, and look at what changes."
    )


@requirements_only
def test_compare_names_a_package_with_a_forged_comment(locked):
    lock = locked.locks[0]
    forged = f"fresh==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via tiny-a\n"
    lock.write_text(lock.read_text() + forged)
    assert sentences(locked.run("compare", fails=True))[-1] == (
        "requirements.txt has other packages or hashes than the index gives, fresh==1.0: run"
        " `make lock`, and look at what changes."
    )


@requirements_only
def test_lock_brings_back_the_hashes_of_the_index(locked):
    before = locked.contents()
    locked.tamper("tiny-a")
    locked.run("lock")
    assert locked.contents() == before


@requirements_only
@pytest.mark.parametrize("line", ["seaborn", "plotly==6.1", "streamlit>=1.30"])
def test_lock_does_not_overwrite_a_line_that_a_person_wrote(line, locked):
    lock = locked.locks[0]
    lock.write_text(f"{lock.read_text()}{line}\n")
    before = locked.contents()
    (sentence,) = sentences(locked.run("lock", fails=True))
    assert sentence == (
        f"requirements.txt has {line}, which requirements.in has not: add it to requirements.in, or,"
        " to keep your own list, run `rm requirements.in && git mv requirements.txt requirements.in`;"
        " then run `make lock`."
    )
    assert locked.contents() == before

"""A build that cannot be right stops, with the cause in its last lines."""

import re
import subprocess

import pytest


def change(file, pattern: str, replacement: str) -> None:
    changed = re.sub(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert changed != file.read_text()
    file.write_text(changed)


NO_FIT = "requirements.txt does not fit requirements.in: run `make lock`."


def change_lock(project, pattern: str, replacement: str) -> None:
    change(project / "requirements.txt", pattern, replacement)


def break_a_hash(project):
    change_lock(project, r"^(cycler==.*\n)(?: .*\n)*", rf"\1    --hash=sha256:{'0' * 64}\n")


def break_a_hash_of_uv(project):
    change(project / "uv.lock", r"(/cycler-.*sha256:)\w+", rf"\g<1>{'0' * 64}")


def lose_a_package(project):
    change_lock(project, r"^packaging==.*\n(?: .*\n)*", "")


def lose_a_hash(project):
    change_lock(project, r"^(packaging==\S+) .*\n(?: .*\n)*", r"\1\n")


def ask_for_more(project):
    with (project / "requirements.in").open("a") as file:
        file.write("tomlkit\n")


def ask_for_more_of_uv(project):
    change(project / "pyproject.toml", r'^    "numpy",\n', r'\g<0>    "tomlkit",\n')


def lose_uv(project):
    change(project / "pyproject.toml", r'^    "uv",\n', "")
    change(project / "uv.lock", r'^\[\[package]]\nname = "uv"\n(?:.+\n)*\n', "")


def ask_for_an_extra(project):
    with (project / "requirements.in").open("a") as file:
        file.write("fonttools[woff]\n")


def ask_for_another_version(project):
    wanted = project / "requirements.in"
    wanted.write_text(wanted.read_text().replace("numpy", "numpy<1"))


def ask_for_an_unknown_debian_package(project):
    (project / "docker" / "apt-run.txt").write_text("libnowhere99\n")


def write_a_bad_package_list(project):
    (project / "docker" / "apt-build.txt").write_text("gcc make\n")


def break_the_code(project):
    (project / "src" / "pinbook_small" / "seasons.py").write_text("def broken(:\n")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (break_a_hash, r"(?s)DO NOT MATCH THE HASHES.*cycler=="),
        (lose_a_package, NO_FIT),
        (lose_a_hash, "Hashes are required in --require-hashes mode"),
        (ask_for_an_extra, NO_FIT),
        (ask_for_more, NO_FIT),
        (ask_for_another_version, NO_FIT),
        (ask_for_an_unknown_debian_package, "Unable to locate package libnowhere99"),
        (write_a_bad_package_list, "not the name of a Debian package: gcc make"),
        (break_the_code, "SyntaxError"),
        (break_a_hash_of_uv, r"(?s)DO NOT MATCH THE HASHES.*cycler=="),
        (ask_for_more_of_uv, "uv.lock does not fit pyproject.toml: run `make lock`."),
        (lose_uv, "The lock has no uv: add it to pyproject.toml."),
    ],
)
def test_the_build_stops_and_says_why(clone, small_projects, make, spoil, cause):
    project = clone(small_projects["uv" if "uv" in spoil.__name__ else "requirements"])
    spoil(project)
    result = make(project, "image", flags="--progress plain", check=False)
    assert result.returncode != 0
    # After the log, BuildKit repeats what the failed step said.
    assert re.search(cause, "\n".join(result.stdout.splitlines()[-60:]))


def test_locking_in_an_image_says_so_where_the_lock_has_no_uv(clone, small_project, make):
    project = clone(small_project)
    change(project / "dev-requirements.txt", r"^uv==.*\n(?: .*\n)*", "")
    result = make(project, "lock", check=False)
    assert result.returncode != 0
    assert "The lock has no uv: add it to dev-requirements.in." in result.stdout


def test_without_a_network_the_build_stops_and_says_so(
    clone, small_project, make, monkeypatch, tmp_path
):
    (tmp_path / "pip.conf").write_text("[global]\nretries = 0\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    project = clone(small_project)
    lock = project / "requirements.txt"
    lock.write_text(lock.read_text() + "# changed, so that no cached step will do\n")
    result = make(project, "image", flags="--network none --progress plain", check=False)
    assert result.returncode != 0
    assert re.search("name resolution|No matching distribution", result.stdout[-4000:])


@pytest.mark.parametrize("target", ["image", "run", "wheels", "sizes", "reproduce", "lock"])
def test_without_an_engine_one_sentence_says_what_is_missing(small_project, target):
    command = ["make", "--no-print-directory", target, "ENGINE=no-such-engine"]
    result = subprocess.run(command, cwd=small_project, check=False, capture_output=True, text=True)
    assert result.returncode != 0
    [sentence, *rest] = [
        line
        for line in result.stderr.splitlines()
        if "warning:" not in line and "old recipe" not in line
    ]
    assert sentence.startswith("No container engine answers")
    assert ("run 'make setup' first" in sentence) == (target == "lock")
    assert all(line.startswith("make: ***") for line in rest)

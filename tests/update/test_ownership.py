"""copier.yml says twice, and tools/README.md in words, which files are the user's."""

import re
import shutil

import pathspec
import pytest

from tests.support import git
from tests.update.template_versions import (
    NEWEST,
    SETTINGS,
    USERS,
    check,
    commit,
    contents,
    copy,
    release_later_versions,
    run,
)

UPDATE_ONLY = re.compile(
    r"\{% if _copier_operation == 'update' %\}\n(.*)\{% endif %\}\n", re.DOTALL
)


def test_both_lists_of_the_users_files_are_equal():
    (entry,) = SETTINGS["_exclude"]
    excluded = UPDATE_ONLY.fullmatch(entry)[1].splitlines()
    assert excluded == SETTINGS["_skip_if_exists"]
    assert len(set(excluded)) == len(excluded)


def test_tools_readme_names_all_files_of_the_user(render):
    named = set()
    others = {"dependency_manager": "uv"}, {"base_image": "alpine"}, {"cluster": "dask"}
    for answers in ({}, *others):
        page = (render(**answers) / "tools/README.md").read_text()
        section = page.partition("## Template updates")[2]
        named |= set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", section))
    mine = [entry.removeprefix("/") for entry in SETTINGS["_skip_if_exists"]]
    assert {entry.replace("[kt]", letter) for entry in mine for letter in "kt"} <= named


def test_the_templates_files_can_be_merged_and_are_not_ignored(fresh, tmp_path):
    for answers in ("default", "others"):
        project = fresh("v1.0.0", answers)
        for path, (is_link, _, content) in contents(project).items():
            if not USERS.match_file(path):
                assert not is_link
                assert content.decode("utf-8").endswith("\n"), path
        project = shutil.copytree(project, tmp_path / answers)
        git(project, "init", "--quiet")
        assert git(project, "ls-files", "--others", "--ignored", "--exclude-standard") == ""


# A file, a pattern and a folder.
@pytest.mark.parametrize("entry", ["/README.md", "/requirements*.txt", "/notebooks/"])
def test_without_an_entry_of_the_list_the_update_test_fails(entry, template, tmp_path):
    broken = tmp_path / "template"
    shutil.copytree(template, broken)
    settings = (broken / "copier.yml").read_text()
    line = f"\n    {entry}\n"
    assert settings.count(line) == 1
    (broken / "copier.yml").write_text(settings.replace(line, "\n"))
    git(broken, "add", ".")
    git(broken, "commit", "--quiet", "--amend", "--message", "Release")
    git(broken, "tag", "--force", "v1.0.0")
    release_later_versions(broken)

    project = copy(broken, tmp_path / "project", "v1.0.0")
    was = contents(project)
    commit(project)
    run(*NEWEST, "update", "--defaults", cwd=project)
    old = copy(broken, tmp_path / "old", "v1.0.0")
    new = copy(broken, tmp_path / "new", "v2.0.0")
    with pytest.raises(AssertionError) as failure:
        check(project, was, old, new)
    lost = pathspec.GitIgnoreSpec.from_lines([entry])
    assert any(lost.match_file(path) for path in re.findall(r"'([^']+)'", str(failure.value)))

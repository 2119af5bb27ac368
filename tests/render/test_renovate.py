"""Renovate finds every pin that only a person could renew otherwise."""

import json
import re

from tests.support import ROOT, choices

IMAGES, ACTIONS = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))["customManagers"]


def found(manager: dict, text: str) -> list[dict]:
    pattern = manager["matchStrings"][0].replace("(?<", "(?P<")
    return [match.groupdict() for match in re.finditer(pattern, text)]


def matching_files(manager: dict) -> list:
    pattern = manager["managerFilePatterns"][0].strip("/")
    paths = [path for path in ROOT.glob("*/**/*") if ".venv" not in path.parts]
    return [path for path in paths if re.search(pattern, path.relative_to(ROOT).as_posix())]


def test_renovate_finds_the_image_of_every_python():
    (file,) = matching_files(IMAGES)
    images = found(IMAGES, file.read_text(encoding="utf-8"))
    versions = {re.match(r"\d+\.\d+", image["currentValue"])[0] for image in images}
    assert versions == set(choices("python_version"))


def test_renovate_finds_every_action_of_the_workflows():
    texts = [path.read_text(encoding="utf-8") for path in matching_files(ACTIONS)]
    actions = [action for text in texts for action in found(ACTIONS, text)]
    assert actions
    assert len(actions) == sum(len(re.findall(r"uses: ", text)) for text in texts)

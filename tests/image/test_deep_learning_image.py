"""The image of a deep-learning project for the CPU."""

import re
import tomllib

import pytest

from tests.image.test_matrix import STRICT, USERS
from tests.support import ROOT, TORCH_IS_HERE, fill_wheels

pytestmark = pytest.mark.slow
IMAGE = "pinbook-deep:runtime"
SEES = """
import torch
print(torch.__version__, torch.version.cuda, torch.ones(2).sum().item())
"""


@pytest.fixture(scope="module")
def image(create, make):
    """Built from the lock, with the files of torch from this machine where it has them."""
    python = {"python_version": "3.11"} if TORCH_IS_HERE else {}
    project = create("Pinbook deep", stack="deep-learning", **python)
    if TORCH_IS_HERE:
        fill_wheels(project)
    make(project, "image")
    return IMAGE


@pytest.fixture
def cache(docker):
    """The volume that compose.yaml has for what a hub sends."""
    yield "pinbook-deep-cache"
    docker("volume", "rm", "pinbook-deep-cache")


@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
def test_it_trains_as_any_user_without_a_network(image, docker, user):
    printed = docker("run", "--rm", *STRICT, *user, image, "--epochs", 1).stdout
    assert re.fullmatch(
        r"Training on: cpu\n\d+\.\d % of the test digits are read correctly\n", printed
    )


def test_its_torch_is_that_of_the_lock_and_knows_no_cuda(image, docker):
    strict = ["run", "--rm", *STRICT, "--entrypoint", "python", image]
    assert re.fullmatch(r"2\.\d+\.\d+\+cpu None 2\.0\n", docker(*strict, "-c", SEES).stdout)
    names = docker(*strict, "-c", "import os; print(*os.listdir(os.path.dirname(os.__file__)))")
    assert "nvidia" not in names.stdout


def test_any_user_can_keep_models_in_the_cache(image, docker, cache):
    shell = ["--entrypoint", "sh", "--volume", f"{cache}:/cache"]
    for user in ("123456:654321", "4242:0"):
        options = [*STRICT, *shell, "--user", user]
        docker("run", "--rm", *options, image, "-c", f"mkdir /cache/{user[:4]}")
    listed = docker("run", "--rm", *STRICT, *shell, image, "-c", "ls /cache").stdout
    assert listed.split() == ["1234", "4242"]


def test_it_is_smaller_than_what_pypi_would_download(image, docker):
    """Printed with `pytest -s`: the image beside the files of CUDA that PyPI's torch needs on Linux."""
    lock = tomllib.loads((ROOT / "locks/deep-learning-cuda/uv/uv.lock").read_text())
    family = [p for p in lock["package"] if re.match("torch$|triton$|nvidia-|cuda-", p["name"])]
    for_linux = re.compile(r"-(py3-none|cp313-cp313|py2\.py3-none)-(any|manylinux\w*x86_64.*)\.whl")
    sizes = [
        max((w["size"] for w in package["wheels"] if for_linux.search(w["url"])), default=0)
        for package in family
    ]
    whole = int(docker("inspect", "--format", "{{.Size}}", image).stdout) / 1e9
    print(f"image: {whole:.2f} GB; PyPI's torch and CUDA, compressed: {sum(sizes) / 1e9:.2f} GB")
    assert len(family) > 15 and whole < 1.6 and sum(sizes) > 2.5e9


def test_one_small_package_leaves_the_layer_of_torch_alone(image, docker):
    history = docker("history", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image)
    large, small = re.findall(r"(?m)^(\d+)MB .*install-wheels /mnt(.*)", history.stdout)[::-1]
    print(f"layers: {large[0]} MB of large packages, {small[0]} MB of small ones")
    assert "--check" in small[1] and int(small[0]) < int(large[0]) / 2

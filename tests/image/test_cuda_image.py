"""The image of a deep-learning project for CUDA, which needs no GPU to be built and to run."""

import re

import pytest

from tests.image.test_matrix import STRICT

pytestmark = pytest.mark.cuda
IMAGE = "pinbook-cuda:runtime"


@pytest.fixture(scope="module")
def image(create, make):
    make(create("Pinbook cuda", stack="deep-learning", accelerator="cuda"), "image")
    return IMAGE


def test_it_trains_without_a_gpu_and_says_so(image, docker):
    printed = docker("run", "--rm", *STRICT, "--user", "123456:654321", image, "--epochs", 1).stdout
    assert "Training on: cpu\n" in printed
    code = "import torch; print(torch.version.cuda, torch.cuda.is_available())"
    known = docker("run", "--rm", *STRICT, "--entrypoint", "python", image, "-c", code).stdout
    assert re.fullmatch(r"1\d\.\d+ False\n", known)


def test_make_gpu_says_why_it_sees_none(image, docker, create):
    gpu = create("Pinbook cuda", stack="deep-learning", accelerator="cuda") / "tools/gpu.py"
    run = ["run", "--rm", "--interactive", *STRICT, "--entrypoint", "python", image, "-c"]
    result = docker(*run, gpu.read_text(), check=False)
    assert result.returncode == 1
    assert len((result.stdout + result.stderr).splitlines()) <= 3
    assert "driver" in result.stdout + result.stderr


def test_one_small_package_leaves_gigabytes_alone(image, docker):
    """Printed with `pytest -s`: the layers of the large and of the small packages."""
    history = docker("history", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image).stdout
    (small, large) = re.findall(r"(?m)^([\d.]+[MG]B) .*install-wheels /mnt", history)
    print(f"layers: {large} of large packages, {small} of small ones")
    assert large.endswith("GB") and small.endswith("MB")
    assert float(small.removesuffix("MB")) < 500

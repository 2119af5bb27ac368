"""What a project for CUDA says of the GPU, here with a stand-in for torch that needs none."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import run

# What torch raises, and what `make gpu` makes of it.
NONE = {
    "Torch not compiled with CUDA enabled": "this is the torch for CPUs, so run `make setup`",
    "Found no NVIDIA driver on your system. Please check that": "install one of version 580 or newer.",
    "The NVIDIA driver on your system is too old (found version 11040)": "update it to version 580",
    "No CUDA GPUs are available\nCompile with": "torch sees no GPU: No CUDA GPUs are available\n",
}
TORCH = """
from types import SimpleNamespace
__version__ = "2.15.0"
version = SimpleNamespace(cuda="{cuda}")
card = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30)
def init():
    if {error!r}:
        raise RuntimeError({error!r})
cuda = SimpleNamespace(
    init=init, device_count=lambda: 1, get_device_properties=lambda number: card
)
"""


@pytest.fixture(scope="module")
def project(render) -> Path:
    return render(stack="deep-learning", accelerator="cuda")


@pytest.fixture
def make_gpu(project, tmp_path):
    """Run `make gpu` with a torch that was made for some CUDA, and fails with some error."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/pyvenv.cfg").touch()
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    for name in ("Makefile", "tools"):
        (tmp_path / name).symlink_to(project / name)

    def make_gpu(error: str = "", cuda: str = "13.2"):
        (tmp_path / "torch.py").write_text(TORCH.format(error=error, cuda=cuda))
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        return run("make", "gpu", cwd=tmp_path, env=env, fails=bool(error))

    return make_gpu


def test_make_gpu_prints_what_torch_sees(make_gpu):
    assert make_gpu().stdout == "torch 2.15.0, made for CUDA 13.2\nNVIDIA H100, 80 GiB\n"


@pytest.mark.parametrize(("error", "sentence"), NONE.items())
def test_make_gpu_fails_with_one_sentence_where_torch_sees_none(error, sentence, make_gpu):
    said = make_gpu(error).stderr
    assert said.startswith("torch sees no GPU: ") and sentence in said
    assert "Traceback" not in said


def test_an_older_cuda_needs_an_older_driver(make_gpu):
    error = "The NVIDIA driver on your system is too old (found version 11040)"
    assert "update it to version 525 or newer." in make_gpu(error, cuda="12.8").stderr


@pytest.mark.parametrize(
    ("engine", "option"), [("docker", "--gpus all"), ("podman", "--device nvidia.com/gpu=all")]
)
def test_one_variable_of_make_gives_the_container_the_gpu(engine, option, project):
    strict = "--read-only --cap-drop ALL --security-opt no-new-privileges"
    for words, given in [(["GPU=1"], f"{strict} {option} "), ([], f"{strict}  ")]:
        shown = run("make", "--dry-run", "run", f"ENGINE={engine}", *words, cwd=project).stdout
        assert given in shown


@pytest.mark.parametrize("overlay", ["compose.gpu.yaml", "compose.gpu-podman.yaml"])
def test_an_overlay_of_compose_adds_the_gpu_alone(overlay, project):
    """So the container stays read-only and without capabilities, as compose.yaml has it."""
    services = yaml.safe_load((project / overlay).read_text())["services"]
    known = yaml.safe_load((project / "compose.yaml").read_text())["services"]
    assert services and services.keys() <= known.keys()
    assert {key for service in services.values() for key in service} <= {"gpus", "devices"}

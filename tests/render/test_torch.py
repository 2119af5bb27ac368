"""`make torch` asks for the torch of the accelerator, here from an index that behaves as PyTorch's does."""

import json
import os
import re
import shutil
import tomllib
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.render.private_index import LONG_AGO, serve
from tests.render.test_locks import in_order
from tests.support import BIN, ROOT, commit_all, git, run

PYTORCH = "https://download.pytorch.org/whl/cpu"
TOLD = tomllib.loads((ROOT / "includes/torch.toml").read_text())["tool"]["uv"]
TOOL = ROOT / "template/tools/{% if stack == 'deep-learning' %}pintorch.py{% endif %}"
WHEELS = dict(
    re.findall(
        rf"{PYTORCH}/(torch-\S+\.whl)#sha256=(\S+)",
        (ROOT / "locks/deep-learning/requirements.in").read_text(),
    )
)
# A version that is there for one Python and one processor.
NEW = "torch-2.99.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl"


@contextmanager
def pytorch(files: dict[str, str], dates: dict[str, str]):
    """Serve these files of torch, by hash, and a numpy that is newer than any; say what was asked for."""
    asked = []
    metadata = Message()
    for name, text in [("Metadata-Version", "2.2"), ("Name", "torch"), ("Version", "2.13.0+cpu")]:
        metadata[name] = text
    for need in TOLD["dependency-metadata"][0]["requires-dist"]:
        metadata["Requires-Dist"] = need

    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            kind = "text/html"
            if self.path.endswith(".metadata"):
                version = self.path.split("-")[1].replace("%2B", "+")
                text = str(metadata).replace("2.13.0+cpu", version)
            elif self.path != "/torch/":
                text = '<a href="numpy-99-py3-none-any.whl">numpy-99-py3-none-any.whl</a>'
            elif dates and "json" in self.headers["Accept"]:
                kind = "application/vnd.pypi.simple.v1+json"
                entries = [
                    {"filename": name.replace("%2B", "+"), "url": f"/{name}"}
                    | {"hashes": {"sha256": files[name]}, "core-metadata": True}
                    | ({"upload-time": dates[name]} if name in dates else {})
                    for name in files
                ]
                page = {"meta": {"api-version": "1.1"}, "name": "torch", "files": entries}
                text = json.dumps(page)
            else:
                text = "\n".join(
                    f'<a href="/{name}#sha256={sha256}">{name.replace("%2B", "+")}</a>'
                    for name, sha256 in files.items()
                )
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with serve(Index) as address:
        yield f"http://{address}", asked


@pytest.fixture
def index():
    with pytorch(WHEELS | {NEW: "0" * 64}, {}) as (address, asked):
        yield address, asked


@pytest.fixture(params=["requirements", "uv"])
def project(request, render, tmp_path) -> Path:
    made = render(stack="deep-learning", dependency_manager=request.param)
    folder = Path(shutil.copytree(made, tmp_path / "project"))
    (folder / ".venv").symlink_to(BIN.parent)
    (folder / "src/own.py").write_text("mine = 1\n")
    commit_all(folder)
    return folder


def make(folder: Path, *words: str, fails=False, **environment: str) -> str:
    done = run("make", *words, cwd=folder, env=os.environ | environment, fails=fails)
    return done.stdout + done.stderr


def files_of(folder: Path, address: str) -> dict[str, str]:
    names = git(folder, "ls-files").split("\n")[:-1]
    texts = {name: (folder / name).read_text().replace(address, PYTORCH) for name in names}
    texts["pyproject.toml"] = tomllib.loads(texts["pyproject.toml"])
    if "uv.lock" in texts:
        texts["uv.lock"] = in_order(texts["uv.lock"])
    return texts


def test_there_and_back_nothing_is_lost(project, index):
    """Twice two locks from PyPI's metadata, 20 s for both kinds."""
    address, asked = index
    before = files_of(project, address)
    assert "accelerator: cpu" in (project / ".copier-answers.yml").read_text()
    make(project, "update", "DATA=accelerator=cuda")
    commit_all(project, "Switch to CUDA")
    make(project, "torch")
    commit_all(project, "Lock torch for CUDA")
    lock = "uv.lock" if (project / "uv.lock").exists() else "requirements.txt"
    assert "nvidia-cudnn" in (project / lock).read_text()
    assert "whl/cpu" not in (project / lock).read_text()
    assert "dependency-metadata" not in (project / "pyproject.toml").read_text()
    assert (project / "tools/gpu.py").exists()
    assert (project / "src/own.py").read_text() == "mine = 1\n"
    run(BIN / "python", "tools/lockcheck.py", cwd=project)

    make(project, "update", "DATA=accelerator=cpu")
    commit_all(project, "Switch back")
    make(project, "torch", TORCH_INDEX=address)
    run(BIN / "python", "tools/lockcheck.py", cwd=project)
    after = files_of(project, address)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert changed == []
    assert {path.split("/")[1] for path in asked if not path.endswith(".metadata")} == {"torch"}


def test_a_version_that_is_not_whole_is_refused(project, index):
    address, _ = index
    said = make(project, "torch", "VERSION=2.99.0", fails=True, TORCH_INDEX=address)
    assert "has no torch 2.99.0 for Python 3.11 to 3.14 on x86-64 and aarch64; it has" in said
    assert git(project, "status", "--porcelain") == ""


def test_without_the_index_one_sentence_says_what_to_set(project):
    said = make(project, "torch", fails=True, TORCH_INDEX="http://127.0.0.1:9/whl")
    assert "http://127.0.0.1:9/whl/torch/ does not answer" in said
    assert "set TORCH_INDEX to a mirror" in said
    assert "Traceback" not in said
    assert git(project, "status", "--porcelain") == ""


def test_the_template_takes_another_torch_with_one_command(index, tmp_path):
    address, _ = index
    for name in ("includes/torch.toml", "locks/deep-learning/requirements.in"):
        shutil.copy(ROOT / name, tmp_path)
    options = ["--file", tmp_path / "requirements.in", "--about", tmp_path / "torch.toml"]
    env = os.environ | {"TORCH_INDEX": address}
    run(BIN / "python", TOOL, "cpu", *options, env=env)
    for name in ("includes/torch.toml", "locks/deep-learning/requirements.in"):
        made = (tmp_path / Path(name).name).read_text().replace(address, PYTORCH)
        assert made == (ROOT / name).read_text()


@pytest.mark.parametrize("dated", [False, True], ids=["undated", "dated"])
def test_uv_waits_for_dates_where_an_index_has_none(dated, tmp_path):
    """Why the lock has addresses: from an index for torch alone, uv takes an old torch that has a date."""
    old = "torch-1.13.1%2Bcpu-cp311-cp311-linux_x86_64.whl"
    new = next(name for name in WHEELS if "cp311-manylinux_2_28_x86_64" in name)
    files = {old: "1" * 64, new: WHEELS[new]}
    dates = dict.fromkeys(files if dated else [old], LONG_AGO)
    with pytorch(files, dates) as (address, asked):
        (tmp_path / "pyproject.toml").write_text(f"""
[project]
name = "example"
version = "1"
requires-python = "==3.11.*"
dependencies = ["torch"]
[tool.uv]
exclude-newer = "7 days"
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64'"]
sources = {{ torch = {{ index = "pytorch" }} }}
index = [{{ name = "pytorch", url = "{address}", explicit = true }}]
""")
        run(BIN / "uv", "lock", "--project", tmp_path)
    locked = tomllib.loads((tmp_path / "uv.lock").read_text())["package"]
    [torch] = [package["version"] for package in locked if package["name"] == "torch"]
    assert torch == ("2.13.0+cpu" if dated else "1.13.1+cpu")
    assert {path.split("/")[1] for path in asked if not path.endswith(".metadata")} == {"torch"}

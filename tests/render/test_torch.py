"""`make torch` asks for the torch of the accelerator, here from an index that behaves as PyTorch's does."""

import hashlib
import json
import os
import re
import shutil
import sys
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.render.private_index import LONG_AGO, head, needs, serve, wheel
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
TORCH_NEEDS = TOLD["dependency-metadata"][0]["requires-dist"]
# What goes with a torch, as PyTorch builds it: for one Python and one torch, or for all from one on.
BY_PYTHON = [f"cp3{minor}-cp3{minor}" for minor in (11, 12, 13, 14)]
FAMILY = {
    "torch-2.13.0": (BY_PYTHON, TORCH_NEEDS),
    "torch-2.15.0": (BY_PYTHON, TORCH_NEEDS),
    "torchvision-0.27.1": (BY_PYTHON, ["numpy", "torch (==2.12.1)"]),
    "torchvision-0.28.0": (BY_PYTHON, ["numpy", "torch (==2.13.0)", "gdown ; extra == 'gdown'"]),
    "torchvision-0.29.2": (["py3-none"], ["numpy", "torch (>=2.14.0)"]),
    "torchaudio-2.10.0": (BY_PYTHON, ["torch (==2.10.0)"]),
    "torchaudio-2.11.0": (BY_PYTHON, ["torch (>=2.11)"]),
}
# Files of these names that can be installed, and have a module with nothing in it.
BUILT = {
    f"{package}%2Bcpu-{python}-manylinux_2_28_{machine}.whl": wheel(*f"{package}+cpu".split("-"))
    for package, (pythons, _) in FAMILY.items()
    for python in pythons
    for machine in ("x86_64", "aarch64")
}


@contextmanager
def pytorch(files: dict[str, str], dates: dict[str, str]):
    """Serve these files, by hash, and a numpy that is newer than any; say what was asked for."""
    asked = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            kind = "text/html"
            page = self.path.strip("/")
            if page in BUILT:
                self.answer(BUILT[page], kind)
                return
            listed = [name for name in files if name.startswith(f"{page}-")]
            if self.path.endswith(".metadata"):
                name, version, *_ = page.replace("%2Bcpu", "").split("-")
                _, requires = FAMILY.get(f"{name}-{version}", ([], TORCH_NEEDS))
                text = head(name, f"{version}+cpu", *needs(*requires))
            elif not listed:
                text = '<a href="numpy-99-py3-none-any.whl">numpy-99-py3-none-any.whl</a>'
            elif dates and "json" in self.headers["Accept"]:
                kind = "application/vnd.pypi.simple.v1+json"
                entries = [
                    {"filename": name.replace("%2B", "+"), "url": f"/{name}"}
                    | {"hashes": {"sha256": files[name]}, "core-metadata": True}
                    | ({"upload-time": dates[name]} if name in dates else {})
                    for name in listed
                ]
                page = {"meta": {"api-version": "1.1"}, "name": page, "files": entries}
                text = json.dumps(page)
            else:
                text = "\n".join(
                    f'<a href="/{name}#sha256={files[name]}">{name.replace("%2B", "+")}</a>'
                    for name in listed
                )
            self.answer(text.encode(), kind)

        def answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with serve(Index) as address:
        yield f"http://{address}", asked


@pytest.fixture
def index():
    with pytorch(WHEELS | {NEW: "0" * 64}, {}) as (address, asked):
        yield address, asked


@pytest.fixture
def family():
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in BUILT.items()}
    with pytorch(hashes, {}) as (address, asked):
        yield address, asked


@pytest.fixture(params=["cpu"])
def accelerator(request) -> str:
    return request.param


@pytest.fixture(params=["requirements", "uv"])
def project(request, accelerator, render, tmp_path) -> Path:
    answers = {"accelerator": accelerator, "dependency_manager": request.param}
    made = render(stack="deep-learning", **answers)
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


def ask(folder: Path, *names: str) -> None:
    """Add these names to what the project needs."""
    if (file := folder / "requirements.in").exists():
        file.write_text("\n".join([file.read_text(), *names, ""]))
    else:
        file = folder / "pyproject.toml"
        lines = "".join(f'    "{name}",\n' for name in names)
        file.write_text(file.read_text().replace('    "tqdm",\n', f'    "tqdm",\n{lines}'))


def lock_of(folder: Path) -> str:
    lock = folder / "uv.lock"
    return (lock if lock.exists() else folder / "requirements.txt").read_text()


def installed(folder: Path, names: list[str]) -> set[str]:
    """Install these packages of the lock by pip, as a colleague without a setting does."""
    text = lock_of(folder)
    if (folder / "uv.lock").exists():
        export = [BIN / "uv", "export", "--quiet", "--frozen", "--no-emit-project", "--no-header"]
        text = run(*export, cwd=folder).stdout
    entries = re.findall(rf"(?m)^(?:{'|'.join(names)})\b.*\n(?: .*\n)*", text)
    (folder / "some.txt").write_text("".join(entries))
    options = ["--quiet", "--no-deps", "--require-hashes", "--target=packages"]
    run(sys.executable, "-m", "pip", "install", *options, "--requirement=some.txt", cwd=folder)
    found = {path.name.removesuffix(".dist-info") for path in folder.glob("packages/*.dist-info")}
    shutil.rmtree(folder / "packages")
    return found


def test_torchvision_and_torchaudio_follow_torch(project, family):
    """For the CPU they come from PyTorch, too, and what else needs torch brings no CUDA."""
    address, asked = family
    names = ["torch", "torchaudio", "torchvision"]
    ask(project, "accelerate", *names[1:])
    said = make(project, "lock", fails=True)
    assert "has torchaudio, which is for CUDA, in a project for the CPU: ask for" in said
    for torch, vision in [("2.13.0", "0.28.0"), ("2.15.0", "0.29.2")]:
        make(project, "torch", f"VERSION={torch}", TORCH_INDEX=address)
        pages = {path for path in asked if not path.endswith(".metadata")}
        assert pages == {f"/{name}/" for name in names}
        run(BIN / "python", "tools/packages.py", "check", cwd=project)
        expected = {f"torch-{torch}+cpu", "torchaudio-2.11.0+cpu", f"torchvision-{vision}+cpu"}
        text = lock_of(project)
        from_there = re.findall(rf"{address}/(\w+-[\d.]+)%2B(cpu)", text)
        assert {"+".join(found) for found in from_there} == expected
        assert "accelerate" in text
        assert not re.search('(?m)^(name = ")?(nvidia|cuda|triton)', text)
        assert installed(project, names) == expected

        asked.clear()
        make(project, "lock")
        assert lock_of(project) == text
    make(project, "upgrade")
    assert asked == []
    assert installed(project, names) == expected


@pytest.mark.parametrize("accelerator", ["cuda"], indirect=True)
def test_for_cuda_they_follow_torch_on_pypi(project):
    ask(project, "torchvision")
    make(project, "torch", "VERSION=2.13.0")
    assert pinned(project) == ("2.13.0", "0.28.0")
    make(project, "torch")
    make(project, "upgrade")
    torch, vision = pinned(project)
    assert torch > "2.13.0" and vision > "0.28.0"
    assert "nvidia-cudnn" in lock_of(project) and "%2Bcpu" not in lock_of(project)
    asked = project / ("pyproject.toml" if (project / "uv.lock").exists() else "requirements.in")
    assert "without CUDA" not in asked.read_text()


def pinned(folder: Path) -> tuple[str, ...]:
    """The versions of torch and torchvision in a lock that has one of each."""
    pins = dict(
        re.findall(r'(?m)^(?:name = ")?([\w-]+)(?:==|"\nversion = ")([\d.]+)', lock_of(folder))
    )
    return pins["torch"], pins["torchvision"]


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
    run(BIN / "python", "tools/packages.py", "check", cwd=project)

    make(project, "update", "DATA=accelerator=cpu")
    commit_all(project, "Switch back")
    make(project, "torch", TORCH_INDEX=address)
    run(BIN / "python", "tools/packages.py", "check", cwd=project)
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

"""Compare the image of a generated project with one that a person would write by hand, side by side.

    .venv/bin/python -m benchmarks.image [--data NAME=VALUE ...] [--python-image IMAGE] [--runs 5]

With requirements.txt, the other Dockerfile is one stage with `pip install` after COPY; with uv.lock, it
is the multi-stage one that uv's guide shows, with UV_COMPILE_BYTECODE=1. Both start from the same base
and install the same lock. Prints a Markdown table; times are seconds, sizes MB (10**6). What a host
pulls is the sum of the layers that it does not have, compressed with gzip.

The build cache of the engine is emptied first, because steps of an earlier run would count as unchanged,
and its cache mounts before each cold build, so that both download everything.

Exit codes: 0 done, 1 a build failed or no engine answers, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path

from benchmarks.project import copy

# A small package of every stack, which takes an older version as the change to measure.
MOVED = "packaging <26"
PIP = """\
FROM {base}
WORKDIR /app
COPY . .
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN --mount=type=secret,id=ca-bundle,target=/etc/ssl/certs/ca-certificates.crt \\
    pip install -r requirements.txt
ENV PYTHONPATH=/app/src
CMD ["python", "-m", "{package}"]
"""
UV = """\
FROM {base} AS builder
COPY .naive/uv /bin/
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=0 UV_NO_DEV=1
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /app
RUN --mount=type=cache,target=/root/.cache/uv \\
    --mount=type=secret,id=ca-bundle,target=/etc/ssl/certs/ca-certificates.crt \\
    --mount=type=bind,source=uv.lock,target=uv.lock \\
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\
    uv sync --locked --no-install-project
COPY . /app
RUN --mount=type=cache,target=/root/.cache/uv \\
    --mount=type=secret,id=ca-bundle,target=/etc/ssl/certs/ca-certificates.crt \\
    uv sync --locked
FROM {base}
COPY --from=builder /app /app
ENV PATH=/app/.venv/bin:$PATH
WORKDIR /app
CMD ["python", "-m", "{package}"]
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=VALUE", help="an answer of the project"
    )
    parser.add_argument("--python-image", help="base of both (default: that of the Dockerfile)")
    parser.add_argument("--runs", type=int, default=5, help="starts and code changes to time")
    parser.add_argument("--engine", default="docker")
    args = parser.parse_args()

    try:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder, "project")
            output(*map(str, copy(args.data, project)))
            try:
                measure(project, args.python_image, args.runs, args.engine)
            finally:
                images = [f"pinbook-benchmark:{kind}" for kind in ("naive", "this")]
                subprocess.run(
                    [args.engine, "image", "rm", *images], check=False, capture_output=True
                )
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"benchmark stopped: {error}\n{getattr(error, 'stderr', '') or ''}")


def measure(project: Path, base: str | None, runs: int, engine: str) -> None:
    code = next((project / "src").glob("*/__main__.py"))
    if not base:
        lines = (project / "Dockerfile").read_text().splitlines()
        base = next(line.split()[1] for line in lines if line.endswith(" AS pinned"))
    kinds = {
        "naive": [f"--file={write_naive(project, base, code.parent.name)}"],
        "this": [f"--build-arg=PYTHON_IMAGE={base}"],
    }
    bundle = os.environ.get("SSL_CERT_FILE")
    secret = [f"--secret=id=ca-bundle,src={bundle}"] if bundle else []

    def build(kind: str, *options: str) -> float:
        options = (*kinds[kind], *secret, f"--tag=pinbook-benchmark:{kind}", *options)
        return clock(engine, "build", *options, str(project))

    results: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
    prune = [engine, "builder", "prune", "--all", "--force"]
    output(*prune)
    for kind, result in results.items():
        output(*prune, "--filter=type=exec.cachemount")
        result["cold build, s"] = build(kind, "--no-cache")
        changes = []
        for number in range(runs):
            code.write_text(code.read_text() + f"\n# {kind} {number}\n")
            changes.append(build(kind))
        result["build after a change of the code, s"] = statistics.median(changes)
        image = f"pinbook-benchmark:{kind}"
        run = [engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", image]
        result["start and run, read-only, s"] = statistics.median(clock(*run) for _ in range(runs))
        result["image, MB"] = int(output(engine, "inspect", "--format", "{{.Size}}", image)) / 1e6
        result["pull of the image, MB"] = sum(layers(engine, image).values()) / 1e6
    before = {kind: layers(engine, f"pinbook-benchmark:{kind}") for kind in kinds}
    move_package(project)
    for kind, result in results.items():
        result["build after one small package moved, s"] = build(kind)
        after = layers(engine, f"pinbook-benchmark:{kind}")
        result["pull after one small package moved, MB"] = (
            sum(size for layer, size in after.items() if layer not in before[kind]) / 1e6
        )
    report(results, engine, base, runs)


def write_naive(project: Path, base: str, package: str) -> Path:
    """Write the Dockerfile of a person beside the project's own, and return its path."""
    naive = project / ".naive" / "Dockerfile"
    naive.parent.mkdir()
    shutil.copy(Path(sys.executable).with_name("uv"), naive.with_name("uv"))
    text = UV if (project / "uv.lock").exists() else PIP
    naive.write_text(text.format(base=base, package=package))
    naive.with_name("Dockerfile.dockerignore").write_text(".git\n.venv\n")
    return naive


def move_package(project: Path) -> None:
    """Lock an older version of one small package."""
    asked = project / "requirements.in"
    if asked.exists():
        asked.write_text(f"{asked.read_text()}{MOVED}\n")
    else:
        asked = project / "pyproject.toml"
        needs = "\ndependencies = [\n"
        asked.write_text(asked.read_text().replace(needs, f'{needs}    "{MOVED}",\n', 1))
    output(sys.executable, str(project / "tools" / "packages.py"), "lock")


def layers(engine: str, image: str) -> dict[str, int]:
    """Return the layers of an image, each with the bytes that gzip makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        output(engine, "save", "--output", str(archive), image)
        with tarfile.open(archive) as saved:
            manifest = json.load(saved.extractfile("manifest.json"))[0]
            config = json.load(saved.extractfile(manifest["Config"]))
            names = zip(config["rootfs"]["diff_ids"], manifest["Layers"], strict=True)
            return {layer: compressed(saved.extractfile(name)) for layer, name in names}


def compressed(layer) -> int:
    """Return how many bytes gzip makes of a file."""
    deflate, size = zlib.compressobj(), 0
    while block := layer.read(1 << 20):
        size += len(deflate.compress(block))
    return size + len(deflate.flush())


def report(results: dict, engine: str, base: str, runs: int) -> None:
    base_size = int(output(engine, "inspect", "--format", "{{.Size}}", base)) / 1e6
    version = output(engine, "version", "--format", "{{.Server.Version}}")
    print(
        f"Base image {base_size:.0f} MB; {engine} {version}; {os.cpu_count()} cores; load"
        f" {os.getloadavg()[0]:.1f}; median of {runs}.\n"
    )
    print("| | naive | this | this / naive |\n|---|--:|--:|--:|")
    for name, value in results["this"].items():
        other = results["naive"][name]
        print(f"| {name} | {other:.1f} | {value:.1f} | {value / other:.2f} |")


def clock(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - begin


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()

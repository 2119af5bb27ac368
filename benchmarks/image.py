"""Compare the image of a generated project with that of a naive Dockerfile, side by side.

    .venv/bin/python -m benchmarks.image [--data NAME=VALUE ...] [--python-image IMAGE] [--runs 5]

Both images start from the same base and install the same lock. Prints a Markdown table; times are
seconds, sizes MB (10**6).

Exit codes: 0 done, 1 a build failed or no engine answers, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.project import copy

NAIVE = """\
FROM {base}
WORKDIR /app
COPY . .
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN --mount=type=secret,id=ca-bundle,target=/etc/ssl/certs/ca-certificates.crt {install}
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app/src
CMD ["python", "-m", "{package}"]
"""
INSTALL = {
    "requirements.txt": "pip install -r requirements.txt",
    "uv.lock": "pip install uv && UV_COMPILE_BYTECODE=1 uv sync --frozen --no-dev --no-install-project",
}


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
    naive = project / "Dockerfile.naive"
    install = next(command for lock, command in INSTALL.items() if (project / lock).exists())
    naive.write_text(NAIVE.format(base=base, package=code.parent.name, install=install))
    bundle = os.environ.get("SSL_CERT_FILE")
    secret = [f"--secret=id=ca-bundle,src={bundle}"] if bundle else []
    kinds = {
        "naive": [f"--file={naive}"],
        "this": [f"--build-arg=PYTHON_IMAGE={base}"],
    }

    def build(kind: str, *options: str) -> float:
        options = [*kinds[kind], *secret, f"--tag=pinbook-benchmark:{kind}", *options]
        return clock(engine, "build", *options, str(project))

    results: dict[str, dict[str, float]] = {}
    for kind in kinds:
        cold = build(kind, "--no-cache")
        changes, starts = [], []
        for number in range(runs):
            code.write_text(code.read_text() + f"\n# {kind} {number}\n")
            changes.append(build(kind))
        image = f"pinbook-benchmark:{kind}"
        run = [engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", image]
        for _ in range(runs):
            starts.append(clock(*run))
        size = output(engine, "inspect", "--format", "{{.Size}}", image)
        results[kind] = {
            "image, MB": int(size) / 1e6,
            "cold build, s": cold,
            "build after a change of the code, s": statistics.median(changes),
            "start and run, read-only, s": statistics.median(starts),
        }

    base_size = int(output(engine, "inspect", "--format", "{{.Size}}", base)) / 1e6
    version = output(engine, "version", "--format", "{{.Server.Version}}")
    print(
        f"Base image {base_size:.0f} MB; {engine} {version}; {os.cpu_count()} cores; median of {runs}.\n"
    )
    print("| | naive | this | naive / this |\n|---|--:|--:|--:|")
    for name, value in results["this"].items():
        other = results["naive"][name]
        print(f"| {name} | {other:.1f} | {value:.1f} | {other / value:.2f} |")


def clock(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - begin


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()

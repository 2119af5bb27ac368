"""Nothing reaches a build but what .dockerignore lets through."""

SECRETS = [
    *(".env", ".env.local", ".netrc", ".pypirc", ".git-credentials", ".aws/credentials"),
    *(".ssh/id_rsa", "id_rsa", "id_ed25519", "server.key", "server.pem", "cert.p12", "cert.pfx"),
    *(".venv/secret.py", "venv/secret.py", ".ipynb_checkpoints/a.ipynb", "results.ipynb"),
    *("__pycache__/a.pyc", "module.pyc", ".pytest_cache/v", ".ruff_cache/v", ".mypy_cache/v"),
    *(".DS_Store", ".idea/workspace.xml", ".vscode/settings.json", "db.sqlite3"),
    *("package.egg-info/PKG-INFO", ".coverage", ".jupyter/token", ".git/config.bak"),
]
PLACES = ["", "src/", "src/{package}/", "src/{package}/deep/er/", "docker/"]
ELSEWHERE = [
    *("notebooks/quickstart.ipynb", "data/people.csv", "models/model.pkl", "secrets.txt"),
    *("tests/token.txt", "tools/password", "README.md", ".github/workflows/ci.yml"),
    *("dist/old.whl", "build/first", "compose.yaml"),
]
MARK = "PLANTED"


def test_planted_files_never_reach_the_context(clone, project, make, tmp_path):
    planted = clone(project)
    for place in PLACES:
        for name in SECRETS:
            plant(planted / place.format(package="pinbook_test") / name)
    for name in ELSEWHERE:
        plant(planted / name)
    # Package data is no secret.
    (planted / "src/pinbook_test/table.csv").write_text("a,b\n")
    (planted / "Dockerfile").write_text("FROM scratch AS runtime\nCOPY . /\n")
    seen = tmp_path / "seen"
    make(planted, "image", f"LABELS=--output type=local,dest={seen}")

    arrived = {str(path.relative_to(seen)) for path in seen.rglob("*") if path.is_file()}
    assert [name for name in arrived if MARK in (seen / name).read_text(errors="replace")] == []
    package = {f"src/pinbook_test/{n}.py" for n in ("__init__", "__main__", "seasons")}
    tools = {f"docker/{n}" for n in ("apt-install", "find-libdeps", "start", "wait-for-port")}
    assert arrived == package | tools | {
        *("src/pinbook_test/table.csv", "docker/apt-build.txt", "docker/apt-run.txt"),
        *("requirements.in", "requirements.txt", "dev-requirements.in", "dev-requirements.txt"),
        *("pyproject.toml", "tools/packages.py"),
    }


def plant(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{MARK} {path}\n")

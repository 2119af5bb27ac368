"""Nothing reaches a build but what .dockerignore lets through."""

SECRETS = [
    *(".env", ".env.local", ".netrc", ".pypirc", ".git-credentials", ".aws/credentials"),
    *(".ssh/id_rsa", "id_rsa", "id_ed25519", "server.key", "server.pem", "cert.p12", "cert.pfx"),
    *(".venv/secret.py", "venv/secret.py", ".ipynb_checkpoints/a.ipynb", "results.ipynb"),
    *("__pycache__/a.pyc", "module.pyc", ".pytest_cache/v", ".ruff_cache/v", ".mypy_cache/v"),
    *(".DS_Store", ".idea/workspace.xml", ".vscode/settings.json", "db.sqlite3"),
    *(
        "credentials.json",
        "token.json",
        "kaggle.json",
        "client_secret_1.json",
        "service-account.json",
    ),
    *(
        "secrets.toml",
        "prod.env",
        "_netrc",
        "pip.conf",
        "kubeconfig",
        "htpasswd",
        "terraform.tfstate",
    ),
    *(
        "a.ppk",
        "a.jks",
        "a.kdbx",
        "a.gpg",
        "a.pt",
        "a.safetensors",
        "a.parquet",
        "a.sqlite",
        "a.db",
    ),
    *("package.egg-info/PKG-INFO", "a.swp", ".coverage", ".jupyter/token", ".git/config.bak"),
]
PLACES = ["", "src/", "src/{package}/", "src/{package}/deep/er/", "docker/"]
ELSEWHERE = [
    *("notebooks/quickstart.ipynb", "data/people.csv", "models/model.pkl", "secrets.txt"),
    *("tests/token.txt", "tools/password", "README.md", ".github/workflows/ci.yml"),
    *("dist/old.whl", "build/first", "compose.yaml"),
]
LOCKS = [f"{start}requirements.{end}" for start in ("", "dev-") for end in ("in", "txt")]
MARK = "PLANTED"


def test_planted_files_never_reach_the_context(clone, either_project, make, tmp_path):
    planted = clone(either_project)
    [package] = (path.relative_to(planted) for path in (planted / "src").iterdir())
    locks = [LOCKS, ["uv.lock"]]
    if (planted / "uv.lock").exists():
        locks.reverse()
    programs = ["lock", "lockcheck", "machine", "packages", "project"]
    for place in PLACES:
        for name in SECRETS:
            plant(planted / place.format(package=package.name) / name)
    for name in [*ELSEWHERE, *locks[1]]:
        plant(planted / name)
    # Package data is no secret.
    (planted / package / "table.csv").write_text("a,b\n")
    (planted / "Dockerfile").write_text("FROM scratch AS runtime\nCOPY . /\n")
    seen = tmp_path / "seen"
    make(planted, "image", flags=f"--output type=local,dest={seen}")

    arrived = {str(path.relative_to(seen)) for path in seen.rglob("*") if path.is_file()}
    assert [name for name in arrived if MARK in (seen / name).read_text(errors="replace")] == []
    code = {f"{package}/{n}" for n in ("__init__.py", "__main__.py", "seasons.py", "table.csv")}
    tools = {
        f"docker/{n}"
        for n in (
            "apt-install",
            "build",
            "find-libdeps",
            "install-wheels",
            "notebook",
            "wait-for-port",
        )
    }
    assert arrived == code | tools | {
        "pyproject.toml",
        *(f"tools/{name}.py" for name in programs),
        *locks[0],
    }


def plant(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{MARK} {path}\n")

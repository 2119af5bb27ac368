"""Files with made-up secrets, and harmless files that look similar: what people really commit.

Every secret is put together here at run time, because hosts refuse to store what looks like a real one.
"""

import base64
import json
import random
import string

HEX, LETTERS = "0123456789abcdef", string.ascii_letters + string.digits
KEY = "PRIVATE" + " KEY"


def made_up(length: int, alphabet: str = LETTERS, seed: int = 7) -> str:
    """Random characters, the same in each run, with at least one digit among the first eight."""
    chosen = random.Random(f"{length} {alphabet} {seed}").choices(alphabet, k=length)
    chosen[min(length - 1, 5)] = "4"
    return "".join(chosen)


def notebook(
    *source: str, kind: str = "code", output: dict | None = None, cell_id: str = "c1"
) -> str:
    """A notebook with one cell, as Jupyter writes it; an output stays because of its tag."""
    cell = {"cell_type": kind, "id": cell_id, "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    if output:
        cell["metadata"] = {"tags": ["keep_output"]}
        cell["outputs"] = [{"data": output, "metadata": {}, "output_type": "display_data"}]
    cell["source"] = "\n".join(source).splitlines(keepends=True)
    whole = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def shown(text: str) -> str:
    """A notebook whose kept output shows a text."""
    return notebook("client.run()", output={"text/plain": text.splitlines(keepends=True)})


def pem(name: str = "RSA ") -> str:
    dashes = "-" * 5
    body = "\n".join(made_up(64, seed=line) for line in range(4))
    return f"{dashes}BEGIN {name}{KEY}{dashes}\n{body}\n{dashes}END {name}{KEY}{dashes}\n"


PASSWORD = made_up(14)
URL_PASSWORD = "postgresql" + f"://ada:{PASSWORD}@db.example.org/sales"
SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "birds",
    "private_key_id": made_up(40, HEX),
    "private_key": pem(""),
    "client_email": "ada@birds.iam.example.org",
}
PPK = "PuTTY-User-Key-File" + f"-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 1\n{made_up(64)}\n"
PPK += f"Private-Lines: 1\n{made_up(44)}\nPrivate-MAC: {made_up(64, HEX)}\n"
BASIC = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
OPENAI = "sk-" + "proj-" + made_up(48)
AWS = made_up(40, LETTERS + "/+")
JWT = ".".join(["ey" + "J" + made_up(33), "ey" + "J" + made_up(60), made_up(43)])

SECRETS = {
    # keys of services, recognised by how they start
    "aws key pair": ("src/a.py", f'KEY = "{"AKIA"}{made_up(16, string.ascii_uppercase)}"\n'),
    "aws secret in a notebook": ("n.ipynb", notebook(f'aws_secret_access_key = "{AWS}"')),
    "aws secret in credentials": ("credentials", f"[default]\naws_secret_access_key = {AWS}\n"),
    "google service account": ("account.json", json.dumps(SERVICE_ACCOUNT, indent=2) + "\n"),
    "google api key": ("src/a.py", f'maps = Client(key="{"AI" + "za"}{made_up(35)}")\n'),
    "google oauth client": ("o.json", f'{{"client_secret": "{"GOC" + "SPX-"}{made_up(28)}"}}\n'),
    "azure client secret": (".env.prod", f"AZURE_CLIENT_SECRET=abc8Q~{made_up(34)}\n"),
    "azure openai": ("src/a.py", f'client = AzureOpenAI(api_key="{made_up(32, HEX)}")\n'),
    "azure storage": (
        "src/a.py",
        f'C = "Name=b;AccountKey={made_up(86)}=="\n'.replace("C", "conn"),
    ),
    "github fine-grained": ("ci.yaml", f"token: {'github' + '_pat_'}{made_up(22)}_{made_up(59)}\n"),
    "github in a call": ("src/a.py", f'g = Github("{"gh" + "p_"}{made_up(36)}")\n'),
    "github in an output": ("n.ipynb", shown(f"remote: {'gh' + 'o_'}{made_up(36)}\n")),
    "gitlab": ("pyproject.toml", f'[x]\nurl = "{"gl" + "pat-"}{made_up(20)}"\n'),
    "hugging face in a notebook": ("n.ipynb", notebook(f'login("{"h" + "f_"}{made_up(34)}")')),
    "hugging face in an output": ("n.ipynb", shown(f"Token: {'h' + 'f_'}{made_up(34)}")),
    "openai in a notebook": ("n.ipynb", notebook(f'client = OpenAI(api_key="{OPENAI}")')),
    "openai, older": ("n.ipynb", notebook(f'openai.api_key = "{"s" + "k-"}{made_up(48)}"')),
    "openai in a traceback": ("n.ipynb", shown(f"Incorrect API key provided: {OPENAI}.")),
    "anthropic": ("src/a.py", f'c = Anthropic(api_key="{"sk-" + "ant-"}api03-{made_up(93)}AA")\n'),
    "slack bot": ("src/a.py", f'bot = App("{"xox" + "b-"}123456789012-{made_up(24)}")\n'),
    "slack webhook": (
        "a.yaml",
        f"hook: https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/{made_up(24)}\n",
    ),
    "pypi": (
        ".pypirc",
        f"[pypi]\nusername = __token__\npassword = {'py' + 'pi-'}AgEIc{made_up(150)}\n",
    ),
    "stripe": ("src/a.py", f'stripe.api_key = "{"sk_" + "live_"}{made_up(24)}"\n'),
    "sendgrid": ("src/a.py", f'sg = Client("{"S" + "G."}{made_up(22)}.{made_up(43)}")\n'),
    "npm": (".npmrc", f"//registry.npmjs.org/:_authToken={'np' + 'm_'}{made_up(36)}\n"),
    "docker hub": ("push.sh", f"docker login -u ada -p {'dckr' + '_pat_'}{made_up(27)}\n"),
    "databricks": ("src/a.py", f'ws = WorkspaceClient(token="{"dap" + "i"}{made_up(32, HEX)}")\n'),
    "replicate": ("n.ipynb", notebook(f"%env REPLICATE_API_TOKEN={'r' + '8_'}{made_up(37)}")),
    "langsmith": (
        ".env.dev",
        f"LANGSMITH_API_KEY={'lsv2' + '_pt_'}{made_up(32, HEX)}_{made_up(10, HEX)}\n",
    ),
    "groq": ("n.ipynb", notebook(f'client = Groq(api_key="{"gs" + "k_"}{made_up(52)}")')),
    "pinecone": ("src/a.py", f'pc = Pinecone("{"pc" + "sk_"}{made_up(6)}_{made_up(60)}")\n'),
    "telegram": ("src/a.py", f'bot = Bot("123456789:{"A" + "A"}{made_up(33)}")\n'),
    "json web token": ("n.ipynb", notebook(f'headers = {{"Authorization": "Bearer {JWT}"}}')),
    "vault": ("v.sh", f"export VAULT_TOKEN={'hv' + 's.'}{made_up(90)}\n"),
    "age": (
        "key.txt",
        "AGE-SECRET" + f"-KEY-1{made_up(58, string.ascii_uppercase + string.digits)}\n",
    ),
    # keys that nothing but their name tells
    "weights and biases": ("src/a.py", f'wandb.login(key="{made_up(40, HEX)}")\n'),
    "weights and biases in a notebook": (
        "n.ipynb",
        notebook(f'wandb.login(key="{made_up(40, HEX)}")'),
    ),
    "kaggle.json": ("kaggle.json", f'{{"username":"ada","key":"{made_up(32, HEX)}"}}\n'),
    "cohere": (
        "n.ipynb",
        notebook("import cohere", f'co = cohere.Client(api_key="{made_up(40)}")'),
    ),
    "flask": ("src/a.py", f'app.config["SECRET_KEY"] = "{made_up(32, HEX)}"\n'),
    "basic header": ("n.ipynb", notebook(f'headers = {{"Authorization": "Basic {BASIC}"}}')),
    # passwords
    "password": ("src/a.py", f'password = "{PASSWORD}"\n'),
    "password with a type": ("src/a.py", f'db_password: str = "{PASSWORD}"\n'),
    "password in a notebook": ("n.ipynb", notebook(f'password = "{PASSWORD}"')),
    "password in os.environ": ("n.ipynb", notebook(f'os.environ["DB_PASSWORD"] = "{PASSWORD}"')),
    "password in a call": (
        "n.ipynb",
        notebook(f"psycopg2.connect(host='db', password='{PASSWORD}')"),
    ),
    "address with a password": ("n.ipynb", notebook(f'engine = create_engine("{URL_PASSWORD}")')),
    "pip.conf": (
        "pip.conf",
        f"[global]\nindex-url = https://ada:{PASSWORD}@pypi.example.org/simple\n",
    ),
    "Dockerfile": ("Dockerfile", f"FROM alpine\nENV DB_PASSWORD={PASSWORD}\n"),
    "compose": ("compose.yaml", f"services: {{}}\nx:\n  POSTGRES_PASSWORD: {PASSWORD}\n"),
    "streamlit": ("secrets.toml", f'[db]\npassword = "{PASSWORD}"\n'),
    "shell": ("load.sh", f"PGPASSWORD={PASSWORD} psql -h db\n"),
    "netrc": (".netrc", f"machine example.org\n  login ada\n  password {PASSWORD}\n"),
    "netrc in a line": ("_netrc", f"machine example.org login ada password {PASSWORD}\n"),
    ".pgpass": (".pgpass", f"db.example.org:5432:sales:ada:{PASSWORD}\n"),
    "docker config": ("config.json", f'{{"auths": {{"r.example.org": {{"auth": "{BASIC}"}}}}}}\n'),
    "password of words": ("src/a.py", 'password = "correcthorsebatterystaple"\n'),
    "password in prose": ("notes.md", f"Log in as ada with {PASSWORD}.\n"),
    # private keys
    "rsa key": ("id_rsa", pem()),
    "openssh key": ("deploy", pem("OPENSSH ")),
    "key in a notebook": ("n.ipynb", notebook('KEY = """' + pem("") + '"""')),
    "ppk": ("putty.ppk", PPK),
}

IMAGE = base64.b64encode(bytes(random.Random(1).choices(range(256), k=6000))).decode()
PLOTLY = {"data": [{"x": {"bdata": IMAGE[:3000], "dtype": "f8"}, "type": "scatter"}], "layout": {}}
SHA, MD5 = made_up(64, HEX), made_up(32, HEX)
TABLE = (
    f'<style scoped>#T_{made_up(5, HEX)} td {{}}</style><table id="T_{made_up(5, HEX)}"></table>'
)
SKLEARN = '<div id="sk-container-id-12" class="sk-top-container sk-estimator-doc-link-1 sk-text-repr2"></div>'

HARMLESS = {
    "revision of a model": (
        "src/a.py",
        f'from_pretrained("bert", revision="{made_up(40, HEX)}")\n',
    ),
    "checksums of a data set": (
        "src/a.py",
        f'MD5 = {{"train.csv": "{MD5}", "test.csv": "{SHA}"}}\n',
    ),
    "checksum of a download": ("src/a.py", f'pooch.retrieve(URL, known_hash="sha256:{SHA}")\n'),
    "git lfs": (
        "m.txt",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\nsize 12\n",
    ),
    "dvc": ("data.csv.dvc", f"outs:\n- md5: {MD5}\n  size: 14445097\n  path: data.csv\n"),
    "sha256sums": ("SHA256SUMS", f"{SHA}  data.csv\n"),
    "mlflow run": ("src/a.py", f'run_id = "{MD5}"\nmlflow.get_run("{MD5}")\n'),
    "wandb run": ("src/a.py", 'api.run("ada/birds/2k9x7q1z")\n'),
    "action of github": ("w.yaml", f"steps:\n  - uses: actions/checkout@{made_up(40, HEX)}\n"),
    "image by digest": ("Dockerfile", f"FROM python@sha256:{SHA}\n"),
    "conda lock": ("lock.txt", f"https://conda.example.org/noarch/x-1.0-py_0.conda#{MD5}\n"),
    "conda lock in yaml": (
        "conda-lock.yml",
        f"package:\n- hash:\n    md5: {MD5}\n    sha256: {SHA}\n",
    ),
    "pip hashes": ("other.txt", f"six==1.17.0 \\\n    --hash=sha256:{SHA}\n"),
    "package-lock": ("package-lock.json", f'{{"integrity": "sha512-{made_up(86)}=="}}\n'),
    "integrity in html": (
        "i.html",
        f'<script src="x.js" integrity="sha384-{made_up(64)}"></script>\n',
    ),
    "public ssh key": (
        "id.pub",
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{made_up(43)} ada@example.org\n",
    ),
    "certificate": (
        "ca.crt",
        "-----BEGIN CERTIFICATE-----\n" + made_up(64) + "\n-----END CERTIFICATE-----\n",
    ),
    "changelog": (
        "CHANGES.md",
        f"* Fix the parser ({made_up(40, HEX)})\n* Bump {made_up(7, HEX)}\n",
    ),
    "plot in an output": ("n.ipynb", notebook("plot()", output={"image/png": IMAGE})),
    "plot in markdown": (
        "n.ipynb",
        notebook(f"![](data:image/png;base64,{IMAGE})", kind="markdown"),
    ),
    "plot in html": (
        "n.ipynb",
        notebook("x", output={"text/html": f'<img src="data:image/png;base64,{IMAGE}">'}),
    ),
    "plotly": ("n.ipynb", notebook("fig", output={"application/vnd.plotly.v1+json": PLOTLY})),
    "table with ids": ("n.ipynb", notebook("df", output={"text/html": TABLE})),
    "estimator": ("n.ipynb", notebook("model", output={"text/html": SKLEARN})),
    "cell id of pycharm": ("n.ipynb", notebook("1", cell_id=made_up(16, HEX))),
    "cell id of kaggle": ("n.ipynb", notebook("1", cell_id=made_up(40, HEX))),
    "password from environ": ("src/a.py", 'password = os.environ["DB_PASSWORD"]\n'),
    "password from getpass": (
        "n.ipynb",
        notebook('password = getpass("Password of the database: ")'),
    ),
    "key with a default": ("src/a.py", 'key = os.environ.get("OPENAI_API_KEY", "")\n'),
    "secret of streamlit": ("src/a.py", 'password = st.secrets["db"]["password"]\n'),
    "secret of colab": ("n.ipynb", notebook('token = userdata.get("HF_TOKEN")')),
    "secret of github": ("w.yaml", "env:\n  HF_TOKEN: ${{ secrets.HF_TOKEN }}\n"),
    "compose with variables": ("c.yaml", "x:\n  POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it}\n"),
    "placeholder": ("src/a.py", 'api_key = "YOUR_API_KEY"\n'),
    "placeholder in .env.example": (
        ".env.example",
        "OPENAI_API_KEY=sk-your-key-here\nHF_TOKEN=hf_xxxxxxxxxxxxxxxxxxxx\n",
    ),
    "placeholder in a notebook": (
        "n.ipynb",
        notebook('os.environ["OPENAI_API_KEY"] = "<your key>"'),
    ),
    "placeholder of an address": (
        "README.md",
        "Set `DB` to `postgresql://user:password@host/db`.\n",
    ),
    "compose for development": ("c.yaml", "x:\n  POSTGRES_PASSWORD: postgres\n"),
    "name of a key": (
        "src/a.py",
        'api_key_name = "OPENAI_API_KEY"\nsecret_name = "birds/prod-2/db"\n',
    ),
    "address of a reset": ("src/a.py", 'PASSWORD_RESET_URL = "/accounts/reset2/"\n'),
    "fixture": (
        "tests/test_a.py",
        'def test_login():\n    login(user="ada", password="password123")\n',
    ),
    "fixture with a test key": ("tests/test_a.py", 'client = Client(api_key="test-key")\n'),
    "pydantic": (
        "src/a.py",
        'class S(BaseSettings):\n    api_key: SecretStr = Field(alias="API_KEY")\n',
    ),
    "special tokens": (
        "tokenizer.json",
        '{"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "[UNK]"}\n',
    ),
    "special tokens in code": (
        "src/a.py",
        'tokenizer.add_tokens(["<|im_start|>"])\npad_token = "<|endoftext|>"\n',
    ),
    "kind of a token": ("src/a.py", 'token_type = "Bearer"\nmax_tokens = 4096\n'),
    "dna": ("src/a.py", f'SEQUENCE = "{made_up(60, "ACGT").replace("4", "A")}"\n'),
    "smiles": ("src/a.py", 'ASPIRIN = "CC(=O)OC1=CC=CC=C1C(=O)O"\n'),
    "seed": ("src/a.py", f"seed = 0x{made_up(16, HEX)}\n"),
    "e-mail": ("AUTHORS", "Ada Lovelace <ada.lovelace1815@example.org>\n"),
    "google sheet": (
        "src/a.py",
        f'SHEET = "https://docs.google.com/spreadsheets/d/{made_up(44)}/edit"\n',
    ),
    "doi and arxiv": (
        "refs.md",
        "https://doi.org/10.1038/s41586-021-03819-2, arXiv:1706.03762v7\n",
    ),
    "long identifier": ("src/a.py", "AutoModelForSequenceClassificationWithPooling2 = None\n"),
    "uuid": ("src/a.py", 'experiment = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"\n'),
    "colours": ("style.yaml", 'palette: ["#1f77b4", "#ff7f0e", "#2ca02c"]\n'),
    "sort key": (
        "src/a.py",
        'sorted(rows, key="name")\nprimary_key = "customer_id2"\ncache_key = "v2-birds"\n',
    ),
    "key in a data file": (
        "d.json",
        '{"key": "birds_2024", "token": "sparrow", "s3_key": "raw/2024/a.csv"}\n',
    ),
    "words about passwords": (
        "README.md",
        "Passwords: never in git. Token: see 1Password. `make` asks for a password.\n",
    ),
}

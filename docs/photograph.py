"""Run the notebook of the demonstration's project in JupyterLab, and keep a picture of its figure.

    make recording

writes docs/pictures/notebook.png; it needs the project that `make demo` leaves in demo/, and Chromium.
Exit codes: 0 done, 1 Chromium is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
PROJECT = DOCS.parent / "demo/my-ai-project"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/lab\?token=\w+")
SIZE = {"width": 1180, "height": 760}


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("There is no Chromium: install it (sudo apt install chromium).", file=sys.stderr)
        return 1
    command = [".venv/bin/jupyter", "lab", "--no-browser", "--allow-root"]
    settings = os.environ | {"JUPYTER_CONFIG_PATH": str(PROJECT / "tools")}
    with subprocess.Popen(
        command, cwd=PROJECT, env=settings, stderr=subprocess.PIPE, text=True
    ) as lab:
        try:
            address = next(found[0] for line in lab.stderr if (found := ADDRESS.search(line)))
            threading.Thread(target=lab.stderr.read, daemon=True).start()
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                photograph(browser.new_page(viewport=SIZE), address)
                browser.close()
        finally:
            lab.terminate()
    return 0


def photograph(page: Page, address: str) -> None:
    page.goto(address.replace("/lab?", "/lab/tree/notebooks/quickstart.ipynb?"))
    page.get_by_text("| Idle").wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    figure = page.locator(".jp-OutputArea img")
    figure.wait_for(timeout=180_000)
    figure.evaluate("image => image.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(2000)
    page.screenshot(path=DOCS / "pictures/notebook.png")


if __name__ == "__main__":
    sys.exit(main())

"""JupyterLab in a browser, used as a person uses it."""

from tests.support import NOTEBOOK, ROOT

SCREENSHOTS = ROOT / "build/screenshots"


class LabPage:
    """The quickstart, opened at the link that `make lab` or `make up` prints."""

    def __init__(self, browser, link: str, kernel: str) -> None:
        self.page = browser.new_page(viewport={"width": 1300, "height": 900})
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(link.replace("/lab?", f"/lab/tree/{NOTEBOOK}?"))
        # The status bar names the kernel, and says when it is ready.
        self.page.get_by_text(f"{kernel} | Idle").wait_for(timeout=90_000)
        self.plot = self.page.locator(".jp-OutputArea img")

    def run_all(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        self.plot.wait_for(timeout=120_000)

    def type_cell(self, source: str, run: bool = False) -> None:
        """Add a cell at the end, and run it if asked to."""
        self.page.locator(".jp-Cell").last.click()
        for key in ("Escape", "b", "Enter"):
            self.page.keyboard.press(key)
        self.page.keyboard.type(source)
        if run:
            self.page.keyboard.press("Shift+Enter")

    def save(self) -> None:
        self.page.keyboard.press("Control+s")

    def keep_screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def outsiders(self) -> list[str]:
        """Return the addresses that the page has asked on other machines."""
        return [url for url in self.asked if url.startswith("http") and "//127.0.0.1:" not in url]

"""A real browser for the pages: headless Chromium, driven by Selenium.

Skipped, with the reason, where one of them is missing.  Invariant: the browser is offered no
network, and every test leaves it on a page of its own.
"""

import pathlib
import shutil

import pytest

SIZES = {"phone": (360, 740), "desktop": (1280, 900)}
AUDIT = pathlib.Path(__file__).with_name("audit.js").read_text("utf-8")


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """Chromium, started once."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                 "disable-background-networking", "disable-component-update", "disable-sync",
                 "hide-scrollbars", "disable-dev-shm-usage",
                 f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    yield found
    found.quit()


class Browser:
    """What the tests do with a page."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, size="desktop", dark=False, fragment=""):
        """Load a file as a window of that size shows it."""
        width, height = SIZES[size]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}]})
        self.driver.get("about:blank")
        self.driver.get(pathlib.Path(path).as_uri() + fragment)

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector="#app"):
        return self.one(selector).text

    def seen(self, selector):
        """The text of an element, once it is displayed: a list that scrolls is drawn anew, and
        what was found in it is stale a moment later."""
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )
        from selenium.webdriver.support.ui import WebDriverWait
        wait = WebDriverWait(self.driver, 5, poll_frequency=0.05, ignored_exceptions=(
            NoSuchElementException, StaleElementReferenceException))

        def text(driver):
            found = self.one(selector)
            return found.is_displayed() and found.text
        return wait.until(text)

    def press(self, key, selector="body"):
        """Press a key, by its name in Selenium's Keys."""
        from selenium.webdriver.common.keys import Keys
        self.one(selector).send_keys(getattr(Keys, key))

    def button(self, label):
        """The button with that accessible name."""
        return next(b for b in self.all("button") if label in (b.accessible_name, b.text))

    def problems(self):
        """What audit.js finds."""
        return self.run(AUDIT)

    def errors(self):
        """What the page logged."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, path, whole=True):
        """A screenshot of the whole page, or of the window."""
        import base64
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot",
                                            {"captureBeyondViewport": whole})
        pathlib.Path(path).write_bytes(base64.b64decode(found["data"]))


@pytest.fixture
def browser(driver):
    found = Browser(driver)
    yield found
    errors = found.errors()
    assert errors == [], errors

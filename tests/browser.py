"""Headless Chromium for tests, on this machine's own network or inside the namespace of a host of the lab.

The driver runs outside and talks to the browser by a pipe, so that it reaches one in any namespace.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from lab.host import RunningHost

CHROMIUM = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"

FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",  # a port would be in the host's namespace, where the driver is not
    "--no-sandbox",  # for root there is none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--window-size=390,844",
)

PATIENCE = 30.0
"""Seconds to wait for what a page does: it takes a fraction of one, on a machine that has nothing else to do."""

T = TypeVar("T")


@contextmanager
def browser_in(
    host: RunningHost | None,
    directory: Path,
    names: Mapping[str, str] | None = None,
    trusted: Sequence[str] | None = None,
) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile, the size of a phone, whose network is the host's; None: this machine's own.

    `names` are the addresses of host names. `trusted` are the certificates that it takes as if a public authority had
    issued them (`spki`); without, it takes all, and what it allows on secure pages alone it may not allow there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    options = Options()
    options.binary_location = CHROMIUM if host is None else str(_inside(host, directory))
    rules = ",".join(f"MAP {name} {address}" for name, address in (names or {}).items())
    for argument in (*FLAGS, f"--user-data-dir={directory / 'profile'}"):
        options.add_argument(argument)
    if rules:
        options.add_argument(f"--host-resolver-rules={rules}")
    if trusted is None:
        options.set_capability("acceptInsecureCerts", True)
    else:
        options.add_argument(f"--ignore-certificate-errors-spki-list={','.join(trusted)}")
    # Chromium writes where its user lives: tests have a home of their own.
    service = Service(DRIVER, log_output=str(directory / "driver.log"), env={**os.environ, "HOME": str(directory)})
    driver = webdriver.Chrome(options, service)
    try:
        driver.set_page_load_timeout(PATIENCE)
        screen = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        yield driver
    finally:
        driver.quit()


def _inside(host: RunningHost, directory: Path) -> Path:
    """A program that is Chromium in the host's namespace, tagged so that the lab can find what is left of it."""
    program = directory / "chromium"
    tag = " ".join(f"{name}={shlex.quote(value)}" for name, value in host.node.tag.items())
    program.write_text(f'#!/bin/sh\nexec env {tag} mnexec -a {host.pid} {CHROMIUM} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def wait(driver: webdriver.Chrome, found: Callable[[webdriver.Chrome], T | None], what: str) -> T:
    """What `found` finds in the page, once it is there; it may fail as long as pages come and go."""
    waiting = WebDriverWait(driver, PATIENCE, ignored_exceptions=[WebDriverException])
    try:
        result = waiting.until(found)
    except TimeoutException:
        shown = driver.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"{what} at {driver.current_url}, which says: {shown}") from None
    assert result is not None
    return result


def press(driver: webdriver.Chrome, label: str) -> None:
    """Press the button or follow the link that says this, once it is there and can be seen."""

    def pressed(_: webdriver.Chrome) -> bool | None:
        path = f"//*[self::button or self::a][normalize-space()='{label}']"
        shown = next((one for one in driver.find_elements(By.XPATH, path) if one.is_displayed()), None)
        if shown is not None:
            shown.click()
        return None if shown is None else True

    wait(driver, pressed, f"no {label!r}")


def says(driver: webdriver.Chrome, text: str) -> None:
    """Wait until the page says this."""
    wait(driver, lambda _: text in driver.find_element(By.TAG_NAME, "body").text or None, f"no {text!r}")


def spki(certificate_pem: bytes) -> str:
    """A certificate's public key, as `trusted` wants it."""
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")


def whole_page(driver: webdriver.Chrome, file: Path) -> None:
    """A picture of the whole page."""
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
    file.write_bytes(base64.b64decode(shot["data"]))

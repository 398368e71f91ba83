"""Headless Chromium inside a host of the lab: its driver stays here, and speaks to it over a pipe."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from lab.host import RunningHost

PATIENCE = 20
"""Seconds for a page."""

_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",  # its port would be in the host's namespace, where the driver is not
)


@contextmanager
def browser_in(host: RunningHost, directory: Path) -> Iterator[webdriver.Chrome]:
    """A fresh browser whose network is the host's. It takes the certificates of the lab."""
    directory.mkdir(parents=True, exist_ok=True)
    inside = directory / "chromium"
    tag = " ".join(f"{name}={shlex.quote(value)}" for name, value in host.node.tag.items())
    inside.write_text(f'#!/bin/sh\nexec env {tag} mnexec -a {host.pid} /usr/bin/chromium "$@"\n', encoding="utf-8")
    inside.chmod(0o755)
    options = Options()
    options.binary_location = str(inside)
    for flag in (*_FLAGS, f"--user-data-dir={directory / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("acceptInsecureCerts", True)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.set_page_load_timeout(PATIENCE)
        yield driver
    finally:
        driver.quit()

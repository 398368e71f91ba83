"""Single sign-on with a real provider: a browser in a host's namespace, a host without one, and what ends it all."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.ui import WebDriverWait

from browser import PATIENCE, browser_in
from lab.certificates import Authority
from lab.host import RunningHost
from lab.network import PORTAL, LabNetwork
from lab.oidc_provider import Account, OidcProvider
from lab.processes import wait_for, zethane
from lab.stream import Stream
from labsite import SETTLED, Site
from zethane.app.topology import load_topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

NETWORK = """
switches: {s1: {}}
portal: {switch: s1, ip: 10.0.0.254/24, login_ports: [9443, 9444]}
hosts:
  desk: {switch: s1, ip: 10.0.0.21/24}
  kiosk: {switch: s1, ip: 10.0.0.22/24}
  phone: {switch: s1, ip: 10.0.0.23/24}
  web1: {switch: s1, ip: 10.0.0.11/24, login: {workload: web1, secret: lab-web1}}
"""
IDENTITIES = """
workloads:
  web1:
    labels: {tier: web}
    secret: "$argon2id$v=19$m=8,t=1,p=1$AcCUW8IyNV4IB4IAt5I4/g$M20uQXZLs6HjNPRUqhTv8k8uTKVo6PSdCEiAgrfoaxc"
"""
POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
  guests: {groups: [guests]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [udp/5001]}
  - {id: all-web, from: [staff, guests], to: [web], services: [udp/5002]}
"""
ALICE = Account("lab-alice", ["employees"], mfa=True)
BOB = Account("lab-bob", ["employees"])
MININET = str(Path(__file__).resolve().parents[2] / "mininet")
CALLBACK = "http://10.0.0.254:8080/oidc/callback"


class SignOnSite(Site):
    """The lab with its provider, `lab`, and one whose clock is wrong, `ahead`."""

    def __init__(self, network: LabNetwork, provider: OidcProvider, folder: Path) -> None:
        super().__init__(network)
        self.provider = provider
        self.folder = folder

    def session(self, host: str) -> dict[str, Any] | None:
        address = str(self.network.host(host).address())
        found = [one for one in self.get("/sessions")["sessions"] if address in one["addresses"]]
        return found[0] if found else None

    def sign_in(self, host: str, name: str, provider: str = "lab") -> subprocess.CompletedProcess[str]:
        """A person at a host follows the portal's link and fills in the provider's forms."""
        return person(self.network.host(host), name, "login", self.network.portal_urls[0], provider)

    def device_login(self) -> list[str]:
        """The command that lets a host without a browser in."""
        return zethane("login", "--portal", self.network.portal_urls[0], "--device", "--provider", "lab", "--json")


def complete_address(login: subprocess.Popen[str]) -> str:
    """The address that a person only has to open."""
    assert login.stderr is not None
    lines = [login.stderr.readline() for _ in range(2)]
    assert re.search(r"enter the code [A-Z]{4}-[A-Z]{4}", lines[0]), lines
    return lines[1].removeprefix("or open ").strip()


def person(host: RunningHost, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A person at the provider's pages, without a browser."""
    code = f"import sys; sys.path.insert(0, {MININET!r}); import lab.oidc_person as m; m.main()"
    return host.run([sys.executable, "-c", code, *arguments], text_in=f"{name}\nlab-{name}\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(switches: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignOnSite]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("oidc")
    for name, text in (("network", NETWORK), ("identities", IDENTITIES), ("policy", POLICY)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    topology = load_topology(folder)
    assert topology.network is not None
    accounts, listen = {"alice": ALICE, "bob": BOB}, free_port()
    authority = Authority(folder / "certificates")
    with LabNetwork(topology.network, folder) as network:
        place = {"place": network.hosts[PORTAL], "authority": authority}
        logout = f"http://127.0.0.1:{listen}/oidc/lab/logout"
        with (
            OidcProvider(folder / "lab", accounts, CALLBACK, logout_uri=logout, **place) as provider,
            OidcProvider(folder / "ahead", accounts, CALLBACK, port=9444, skew=300, **place) as ahead,
        ):
            mapping = {"groups": {"employees": "staff", "visitors": "guests"}, "refresh": "1s"}
            sources = {
                "listen": {"address": f"127.0.0.1:{listen}"},
                "oidc": {"lab": provider.sources(**mapping), "ahead": ahead.sources(**mapping)},
            }
            (folder / "sources.yaml").write_text(json.dumps(sources), encoding="utf-8")
            network.start_controller()
            network.start_portal()
            made = SignOnSite(network, provider, folder)
            made.login("web1")
            yield made
            assert made.health()["switch_errors"] == 0, made.records("switch")


@pytest.fixture(autouse=True)
def nobody(site: SignOnSite) -> Iterator[None]:
    """Nobody but the server is logged in before a test; accounts and provider are as they were at first."""
    yield
    for host in ("desk", "kiosk", "phone"):
        if (session := site.session(host)) is not None:
            with site.client() as client:
                client.delete(f"/sessions/{session['session']}").raise_for_status()
    site.provider.change("alice", ALICE)
    site.provider.change("bob", BOB)


def sign_in(site: SignOnSite, driver: Any, name: str, password: str) -> None:
    """What a person does in a browser: the portal, the link, the provider's form."""
    driver.get(site.network.portal_urls[0])
    driver.find_element(By.LINK_TEXT, "Log in with lab").click()
    wait = WebDriverWait(driver, PATIENCE)
    wait.until(condition.presence_of_element_located((By.NAME, "login"))).send_keys(name)
    driver.find_element(By.NAME, "password").send_keys(password)
    driver.find_element(By.ID, "go").click()


def stopped(stream: Stream, moment: float) -> None:
    """Nothing that was sent after `moment` has arrived."""
    stream.wait_sent(250)
    assert stream.received_after(moment + SETTLED) == []


def test_a_person_logs_in_with_a_browser_and_is_logged_out_by_the_provider(site: SignOnSite) -> None:
    """The whole way, in Chromium; then the provider's own logout, over the back channel, and the last packet."""
    desk, web = site.network.host("desk"), site.network.host("web1")
    with browser_in(desk, site.folder / "desk") as driver:
        sign_in(site, driver, "alice", "lab-alice")
        wait = WebDriverWait(driver, PATIENCE)
        wait.until(condition.text_to_be_present_in_element((By.TAG_NAME, "body"), "alice@lab"))
        assert driver.current_url == f"{site.network.portal_urls[0]}/"
        session = site.session("desk")
        assert session is not None
        assert (session["name"], session["segment"], session["mfa"]) == ("alice@lab", "staff", True)
        assert session["methods"] == ["pwd", "otp", "mfa"]
        with Stream(desk, web, "udp", 5001) as stream:
            stream.wait_received(20)
            driver.get(f"{site.provider.issuer}/session/end")
            wait.until(condition.element_to_be_clickable((By.NAME, "logout"))).click()
            site.wait_record("session", reason="signalled")
            stopped(stream, time.monotonic())
    assert site.session("desk") is None


def test_a_login_that_another_host_began_logs_nobody_in(site: SignOnSite) -> None:
    """Login CSRF: mallory signs in, and has somebody else open where the provider sent her back to."""
    begin = """
import re, sys, httpx
sys.path.insert(0, sys.argv[2])
from lab.oidc_person import Form
with httpx.Client(verify=False, trust_env=False, timeout=20) as client:
    link = re.search(r'href="(/oidc/lab/start[^"]*)"', client.get(sys.argv[1]).text)[1]
    page = client.get(sys.argv[1] + link)
    while not page.headers.get("location", "").startswith(sys.argv[1]):
        if page.has_redirect_location:
            page = client.get(page.url.join(page.headers["location"]))
        else:
            form = Form(page.text)
            page = client.post(page.url, data=form.fields | {"login": "bob", "password": "lab-bob"})
    print(page.headers["location"])
    print(client.cookies["zethane-sign-on"])
"""
    done = site.network.host("kiosk").run([sys.executable, "-c", begin, site.network.portal_urls[0], MININET])
    assert done.returncode == 0, done.stderr
    url, cookie = done.stdout.split()
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10"]
    # In the victim's browser, which has no such cookie; then with it, as if the host itself had it.
    assert site.network.host("desk").run([*curl, url]).stdout == "403"
    assert site.network.host("desk").run([*curl, "-b", f"zethane-sign-on={cookie}", url]).stdout == "403"
    # That has used it up: it is of no use at home either.
    assert site.network.host("kiosk").run([*curl, "-b", f"zethane-sign-on={cookie}", url]).stdout == "403"
    assert site.session("desk") is None
    assert site.session("kiosk") is None
    assert site.wait_record("session", detail="invalid-answer")["explanation"] == "another endpoint began this login"


def test_a_host_without_a_browser_is_let_in_by_a_person_elsewhere(site: SignOnSite) -> None:
    """The session is where the device is, and not where the person sits. The provider has a new key by then."""
    site.provider.rotate_keys()
    login = site.network.host("kiosk").popen(
        site.device_login(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        done = person(site.network.host("phone"), "bob", "open", complete_address(login))
        assert done.returncode == 0, done.stderr
        out, err = login.communicate(timeout=30)
    finally:
        login.kill()
    assert login.returncode == 0, err
    told = json.loads(out)
    assert (told["principal"], told["segment"]) == ("user:bob@lab", "staff")
    assert told["addresses"] == [str(site.network.host("kiosk").address())]
    assert site.session("phone") is None


def test_groups_that_change_at_the_provider_close_what_they_no_longer_allow_and_nothing_else(site: SignOnSite) -> None:
    assert site.sign_in("kiosk", "bob").returncode == 0
    kiosk, web = site.network.host("kiosk"), site.network.host("web1")
    with Stream(kiosk, web, "udp", 5001) as staff, Stream(kiosk, web, "udp", 5002) as everybody:
        staff.wait_received(20)
        everybody.wait_received(20)
        site.provider.change("bob", Account("lab-bob", ["visitors"]))
        site.wait_record("session", reason="changed")
        moment = time.monotonic()
        stopped(staff, moment)
        everybody.wait_received(20)
        everybody.stop()
        assert everybody.missing() == []
    session = site.session("kiosk")
    assert session is not None
    assert session["segment"] == "guests"


def test_a_refresh_that_is_refused_ends_the_session_and_one_that_is_not_answered_does_not(site: SignOnSite) -> None:
    assert site.sign_in("kiosk", "bob").returncode == 0
    kiosk, web = site.network.host("kiosk"), site.network.host("web1")
    with Stream(kiosk, web, "udp", 5001) as stream:
        stream.wait_received(20)
        site.provider.stop()
        controller = site.network.controller
        assert controller is not None
        known = controller.log.read_text(encoding="utf-8").count("not-refreshed")
        wait_for(
            "the controller did not try to refresh",
            lambda: controller.log.read_text(encoding="utf-8").count("not-refreshed") > known or None,
            15.0,
            lambda: "",
        )
        stream.wait_received(20)
        assert site.session("kiosk") is not None
        refused = site.network.host("desk").run(site.device_login())
        assert (refused.returncode, "does not answer" in refused.stderr) == (1, True), refused.stderr
        # It comes back with nothing of what it had: no refresh token of before is good there.
        site.provider.start()
        record = site.wait_record("session", reason="not-renewed")
        assert record["subject"]["principal"] == "user:bob@lab"
        stopped(stream, time.monotonic())
    assert site.session("kiosk") is None


def test_a_disabled_account_ends_its_session(site: SignOnSite) -> None:
    assert site.sign_in("kiosk", "alice").returncode == 0
    with Stream(site.network.host("kiosk"), site.network.host("web1"), "udp", 5001) as stream:
        stream.wait_received(20)
        site.provider.change("alice", Account("lab-alice", disabled=True))

        def ended() -> bool | None:
            return site.session("kiosk") is None or None

        wait_for("the session did not end", ended, 15.0, lambda: str(site.records("session")[-3:]))
        stopped(stream, time.monotonic())


def test_a_provider_whose_clock_is_wrong_lets_nobody_in(site: SignOnSite) -> None:
    """By more than the skew that is allowed for."""
    refused = site.sign_in("kiosk", "bob", "ahead")
    assert refused.returncode == 1
    assert "The login was refused." in refused.stderr
    assert site.session("kiosk") is None
    assert site.wait_record("session", detail="invalid-token")["explanation"] == "iat is in the future"


def test_no_secret_of_it_is_anywhere(site: SignOnSite) -> None:
    controller = site.network.controller
    assert controller is not None
    secret = json.loads((site.folder / "sources.yaml").read_text(encoding="utf-8"))["oidc"]["lab"]["client_secret"]
    directory = site.network.ledger.directory
    for file in (controller.log, controller.decisions, directory / "portal.log", directory / "zethane.sqlite"):
        content = file.read_bytes()
        assert secret.encode() not in content
        assert b"eyJ" not in content  # the beginning of every token

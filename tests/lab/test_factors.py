"""Second factors on a real network: Chromium on a host, a virtual authenticator, the portal over HTTPS."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions

from browser import browser_in, press, says, spki
from lab.certificates import Authority
from lab.host import RunningHost
from lab.network import PORTAL
from lab.processes import stop, zethane
from lab.stream import Stream
from labsite import TIERS, Site, running, three_tier
from zethane.identity.totp import code_at

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

NAME = "portal.lab.test"

POLICY = (
    TIERS
    + """\
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443]}
  - {id: files, from: [staff], to: [db], services: [tcp/445], when: {mfa: {within: 15m}}}
  - {id: vault, from: [staff], to: [db], services: [tcp/8200], when: {aal: 3}}
"""
)

SERVE = """
import socket, sys, threading
def serve(port):
    listener = socket.create_server((sys.argv[1], port))
    while True:
        listener.accept()[0].sendall(b"here")
for port in (8200, 445):
    threading.Thread(target=serve, args=(port,)).start()
print("ready", flush=True)
"""

CONNECT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 90)
print(connection.getsockname()[1], connection.recv(4).decode(), flush=True)
"""
"""One connect() for as long as it takes: the kernel sends the same SYN again and again."""


class Lab:
    """The network, the portal over HTTPS, and bob's browser at his desk."""

    def __init__(self, site: Site, driver: Chrome, authority: Authority, portal: Sequence[str]) -> None:
        self._portal = portal
        self.site = site
        self.driver = driver
        self.authority = authority
        self.desk = site.network.hosts["desk"]
        self.db1 = site.network.hosts["db1"]

    def start_portal(self) -> None:
        """A new portal: tests click faster than people, and a host has so many requests and no more."""
        self.site.network.stop_portal()
        self.site.network.start_portal(*self._portal)

    def open(self, path: str = "/") -> None:
        self.driver.get(f"https://{NAME}:8080{path}")

    def press(self, label: str) -> None:
        press(self.driver, label)

    def says(self, text: str) -> None:
        says(self.driver, text)

    def type(self, name: str, text: str) -> None:
        field = self.driver.find_element(By.NAME, name)
        field.clear()
        field.send_keys(text)

    def log_in(self) -> None:
        """With the password alone, whoever was there before."""
        self.open()
        if self.driver.find_element(By.TAG_NAME, "h1").text == "You are logged in":
            self.press("Log out")
            self.says("Log in to the network")
        self.type("user", "bob")
        self.type("secret", "lab-bob")
        self.press("Log in")
        self.says("You are logged in")

    def session(self) -> dict[str, object]:
        (found,) = [one for one in self.site.get("/sessions")["sessions"] if one["name"] == "bob"]
        return found

    def command(self, *arguments: str, text_in: str = "") -> subprocess.CompletedProcess[str]:
        """A command of zethane at the desk, told where the portal is."""
        address = self.site.network.hosts[PORTAL].address()
        where = ("--portal", f"https://{address}:8080", "--ca", str(self.authority.certificate))
        return self.desk.run(zethane(*arguments, *where), text_in=text_in)

    def connecting(self, port: int) -> subprocess.Popen[str]:
        """A connection that waits at the desk until it is let through."""
        command = [sys.executable, "-c", CONNECT, str(self.db1.address()), str(port)]
        return self.desk.popen(command, stdout=subprocess.PIPE, text=True)


def serve(host: RunningHost) -> subprocess.Popen[str]:
    """Something that listens at both ports."""
    process = host.popen([sys.executable, "-c", SERVE, str(host.address())], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture(scope="module")
def bobs(switches: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("factors")
    with running(three_tier(folder, POLICY), login=("web1", "db1")) as site:
        portal = site.network.hosts[PORTAL]
        authority = Authority(folder / "ca")
        issued = authority.server("portal", [NAME, str(portal.address())])
        options_of_portal = ("--name", NAME, "--certificate", str(issued.certificate), "--key", str(issued.key))
        service = serve(site.network.hosts["db1"])
        trusted = [spki(issued.certificate.read_bytes())]
        desk = site.network.hosts["desk"]
        try:
            with browser_in(desk, folder / "browser", {NAME: str(portal.address())}, trusted) as driver:
                options = VirtualAuthenticatorOptions()
                options.protocol = VirtualAuthenticatorOptions.Protocol.CTAP2
                options.transport = VirtualAuthenticatorOptions.Transport.INTERNAL
                options.has_resident_key = options.has_user_verification = options.is_user_verified = True
                driver.add_virtual_authenticator(options)
                yield Lab(site, driver, authority, options_of_portal)
        finally:
            stop(service)


@pytest.fixture
def lab(bobs: Lab) -> Lab:
    """The same network for every test, with a portal of its own."""
    bobs.start_portal()
    return bobs


def test_a_passkey_is_enrolled_and_logs_its_user_in_alone(lab: Lab) -> None:
    lab.log_in()
    lab.press("Add a second factor")
    lab.type("name", "My key")
    lab.press("Add a passkey")
    lab.says("My key")
    assert lab.site.wait_record("factor", reason="added")["account"] == "user:bob"
    lab.open()
    lab.press("Log out")
    lab.press("Log in with a passkey")
    lab.says("You are logged in")
    session = lab.session()
    assert (session["methods"], session["mfa"]) == (["hwk", "user", "mfa"], True)
    with lab.connecting(8200) as connection:
        assert connection.stdout is not None
        assert connection.stdout.read().endswith(" here\n")


def test_one_proof_later_the_same_flow_passes_and_no_other_is_cut(lab: Lab) -> None:
    """A connection is denied, the page says what is wanted, the passkey is used, and its next SYN goes through."""
    lab.log_in()
    before = lab.session()
    assert not before["mfa"]
    with Stream(lab.desk, lab.site.network.hosts["web1"], "tcp", 443) as stream, lab.connecting(445) as connection:
        stream.wait_received(50)
        denied = lab.site.wait_record("decision", reason="condition-not-met", service="tcp/445")
        assert (denied["rule"], denied["decision"]) == ("files", "deny")
        lab.open()
        lab.says(f"To reach {lab.db1.address()} (tcp/445) you need a second factor not older than 15 minutes.")
        lab.press("Use your passkey")
        lab.says("passkey")
        assert connection.stdout is not None
        port, said = connection.stdout.read().split()
        assert said == "here"
        stream.wait_received(50)
        stream.stop()
        assert stream.missing() == []
    allowed = lab.site.wait_record("decision", decision="allow", rule="files", source_port=int(port))
    first = lab.site.wait_record("decision", decision="deny", rule="files", source_port=int(port))
    assert first["time"] < allowed["time"]
    assert not [
        one for one in lab.site.records("flow_end") if one["rule"] == "staff-web" and "session" in one["reason"]
    ]
    after = lab.session()
    assert after["session"] == before["session"]
    assert (after["methods"], after["mfa"], after["expires"]) == (
        ["pwd", "hwk", "user", "mfa"],
        True,
        before["expires"],
    )


def test_an_app_and_recovery_codes_are_second_factors_too(lab: Lab) -> None:
    lab.log_in()
    lab.open("/factors")
    lab.press("Use your passkey")
    lab.press("Add an authenticator app")
    lab.says("Confirm")
    secret = lab.driver.find_element(By.CSS_SELECTOR, ".secret code").text.replace(" ", "")
    key = base64.b32decode(secret)
    confirmed = int(time.time() // 30)
    lab.type("code", code_at(key, confirmed))
    lab.press("Confirm")
    lab.press("Get recovery codes")
    lab.says("I have them")
    codes = [one.text for one in lab.driver.find_elements(By.CSS_SELECTOR, ".codes code")]
    assert len(codes) == 10
    log_in = ("login", "--user", "bob", "--totp", "--json")
    # The code of the next half minute is taken as well: nobody has to wait for it here.
    for code, status in ((code_at(key, confirmed + 1), 0), (codes[0], 0), (codes[0], 1)):
        done = lab.command(*log_in, text_in=f"lab-bob\n{code}\n")
        assert done.returncode == status, done.stdout + done.stderr
        if status == 0:
            assert json.loads(done.stdout)["mfa"]
    refused = [one for one in lab.site.records("session") if one["reason"] == "login-refused"]
    assert [one["detail"] for one in refused] == ["wrong-code"]
    assert [one["account"] for one in lab.site.records("factor") if one["reason"] == "used"] == ["user:bob"]


def test_reset_factors_end_what_rests_on_them(lab: Lab) -> None:
    """The operator's command: the session falls back to its password, and the passkey logs nobody in."""
    lab.log_in()
    lab.open("/factors")
    lab.press("Use your passkey")
    lab.says("Add a passkey")
    assert lab.session()["mfa"]
    controller = lab.site.network.controller
    assert controller is not None
    command = zethane("identity", "reset-factors", "bob", "--socket", str(controller.socket))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "second factors of bob" in done.stdout
    assert (lab.session()["methods"], lab.session()["mfa"]) == (["pwd"], False)
    lab.open()
    lab.press("Log out")
    lab.press("Log in with a passkey")
    lab.says("The passkey is not known here.")


def test_who_asks_too_often_is_told_so_in_words(lab: Lab) -> None:
    """What refuses a request before the portal sees it speaks no JSON."""
    lab.open()
    if lab.driver.find_element(By.TAG_NAME, "h1").text == "You are logged in":
        lab.press("Log out")
        lab.says("Log in to the network")
    lab.driver.execute_script(
        "window.fetch = async () => new Response('Too many requests.\\n', { status: 429 });"
        "document.querySelector('form[data-passkey] button').click();"
    )
    lab.says("Too many requests.")
    assert lab.driver.find_element(By.CSS_SELECTOR, "form[data-passkey] [role=status]").text == "Too many requests."

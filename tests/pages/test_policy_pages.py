"""The matrix page and the pictures of a policy in a real browser: whole, legible, usable, and deaf to hostile names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from browser import browser_in, wait
from zethane.policy.blast_radius import blast_radius, every_segment
from zethane.policy.graph import graph
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Parties, Principal
from zethane.policy.reach import Ground
from zethane.policy.tables import tables
from zethane.render.graph_svg import graph_svg
from zethane.render.matrix_page import matrix_page
from zethane.render.radius_svg import radius_svg, scores_svg

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"

Open = Callable[[str, str], None]


def policy_of(segments: int) -> Policy:
    """A shop of three tiers, as often as there is room for it, and rules for all of it."""
    tiers = ("web", "app", "db")
    names = [f"{tiers[number % 3]}-of-shop-{number // 3:03}" for number in range(segments - 2)]
    named: dict[str, Any] = {name: {"labels": {"name": name}} for name in names}
    named["staff-with-laptops"], named["monitoring"] = {"groups": ["staff"]}, {"labels": {"name": "monitoring"}}
    rules: list[dict[str, Any]] = [
        {"id": f"opens-{one}", "from": [one], "to": [other], "services": ["tcp/8443"]}
        for one, other in pairwise(names)
        if not one.startswith("db")
    ]
    webs = [name for name in names if name.startswith("web")]
    rules += [
        {"id": "staff-web", "from": ["staff-with-laptops"], "to": webs, "services": ["tcp/443"], "when": {"mfa": True}},
        {"id": "monitor", "from": ["monitoring"], "to": ["any"], "services": ["icmp", "tcp/9100"]},
        {"id": "no-telnet", "from": ["any"], "to": [names[-1]], "services": ["tcp/23"], "action": "deny"},
        {"id": "soon", "from": ["monitoring"], "to": ["monitoring"], "services": ["tcp/1"], "stage": "audit"},
    ]
    file = {"version": 1, "segments": named, "services": {"https": ["tcp/443"]}, "rules": rules}
    return parse_policy(json.dumps(file), f"{HOSTILE}.yaml")


def hosts_of(policy: Policy) -> dict[str, Parties]:
    hosts: dict[str, Parties] = {
        f"h-{name}": Principal("workload", name, groups=segment.groups, labels=segment.labels)
        for name, segment in policy.segments.items()
    }
    return {**hosts, HOSTILE: None}


def page_of(policy: Policy) -> str:
    hosts = hosts_of(policy)
    pictures = graph_svg(graph(policy), HOSTILE), graph_svg(graph(policy, denies=True), HOSTILE)
    return matrix_page(policy, tables(policy, hosts), HOSTILE, pictures, "now")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser_in(None, tmp_path_factory.mktemp("browser")) as started:
        screen = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        yield started


@pytest.fixture
def show(driver: webdriver.Chrome, tmp_path: Path) -> Iterator[Open]:
    """Opens text as a file of its own. Whatever it does, nothing may have been complained of or have run."""

    def opened(content: str, name: str) -> None:
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        driver.get(file.as_uri())

    driver.get_log("browser")  # what is there is of others
    yield opened
    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.title !== 'owned' && document.images.length === 0")


def script(driver: webdriver.Chrome, body: str, *arguments: Any) -> Any:
    return driver.execute_script(body, *arguments)


LABELS = """
const inside = (a, b) =>
  a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
const bad = [];
for (const one of document.querySelectorAll('#frame th, #frame tr:nth-child(-n+6) td')) {
  const cell = one.getBoundingClientRect();
  if (parseFloat(getComputedStyle(one).fontSize) < 9) bad.push(['small', one.textContent]);
  for (const label of one.children) {
    if (!inside(label.getBoundingClientRect(), cell)) bad.push(['outside', one.textContent]);
  }
}
const lines = [document.querySelector('#frame thead tr'), ...document.querySelectorAll('#frame tbody tr')];
let below = -Infinity;
for (const line of lines) {
  const rect = line.getBoundingClientRect();
  if (rect.top < below - 1) bad.push(['rows overlap', line.cells[0].textContent]);
  below = rect.bottom;
}
for (const line of lines.slice(0, 3)) {
  let right = -Infinity;
  for (const cell of line.cells) {
    const rect = cell.getBoundingClientRect();
    if (rect.left < right - 1 || rect.width < 9 || rect.height < 9) bad.push(['cells overlap', cell.textContent]);
    right = rect.right;
  }
}
return bad;
"""


def cell(driver: webdriver.Chrome, source: str, target: str) -> WebElement:
    found = script(
        driver,
        """
        const heads = [...document.querySelectorAll('#frame thead th')].map((one) => one.textContent);
        const rows = [...document.querySelectorAll('#frame tbody tr')];
        const row = rows.find((one) => one.cells[0].textContent === arguments[0]);
        const one = row.cells[heads.indexOf(arguments[1])];
        one.scrollIntoView({block: 'center', inline: 'center'});
        return one;
        """,
        source,
        target,
    )
    assert isinstance(found, WebElement)
    return found


def about(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.ID, "about").text


@pytest.mark.parametrize("segments", [5, 200])
def test_the_matrix(driver: webdriver.Chrome, show: Open, segments: int) -> None:
    """Every label in its cell, at the sizes of both; a cell says its services, rules and conditions."""
    policy = policy_of(segments)
    show(page_of(policy), "matrix.html")
    assert driver.find_element(By.ID, "shown").text == f"{segments} rows, {segments} columns"
    assert script(driver, LABELS) == []
    cell(driver, "staff-with-laptops", "web-of-shop-000").click()
    said = about(driver)
    assert "https (tcp/443) under a condition" in said
    assert "staff-web allows staff-with-laptops" in said
    assert "only if mfa" in said
    assert f"{HOSTILE}.yaml:1" in said
    driver.find_element(By.ID, "tab-hosts").click()
    assert script(driver, LABELS) == []
    cell(driver, "h-staff-with-laptops", "h-web-of-shop-000").click()
    assert "not now: a condition is not met" in about(driver)
    assert script(driver, "return document.getElementById('frame').textContent.includes(arguments[0])", HOSTILE)


@pytest.mark.parametrize("segments", [5, 40])
def test_what_a_cell_is_can_be_told_without_colour(driver: webdriver.Chrome, show: Open, segments: int) -> None:
    show(page_of(policy_of(segments)), "signs.html")
    target = [name for name in policy_of(segments).segments if "shop" in name][-1]
    signs = [
        ("monitoring", "web-of-shop-000", "■"),
        ("staff-with-laptops", "web-of-shop-000", "◩"),
        ("staff-with-laptops", target, "\N{MULTIPLICATION SIGN}"),
        ("staff-with-laptops", "app-of-shop-000", "·"),
    ]
    for source, other, sign in signs:
        assert cell(driver, source, other).text.startswith(sign)


def test_headers_stay_in_sight(driver: webdriver.Chrome, show: Open) -> None:
    show(page_of(policy_of(120)), "sticky.html")
    places = script(
        driver,
        """
        const frame = document.getElementById('frame');
        frame.scrollTo(1100, 1100);
        const edge = frame.getBoundingClientRect();
        const rows = [...document.querySelectorAll('#frame tbody tr')].filter((one) => {
          const rect = one.getBoundingClientRect();
          return rect.top > edge.top + 200 && rect.bottom < edge.bottom;
        });
        const head = document.querySelector('thead th:nth-child(90)').getBoundingClientRect();
        return [frame.scrollTop, head.top - edge.top, rows[0].cells[0].getBoundingClientRect().left - edge.left];
        """,
    )
    assert places[0] == 1100
    assert places[1:] == [0, 0]


def test_the_filter(driver: webdriver.Chrome, show: Open) -> None:
    show(page_of(policy_of(200)), "filter.html")
    box = driver.find_element(By.ID, "filter")

    def filtered(text: str, expected: str) -> None:
        box.send_keys(Keys.CONTROL, "a", Keys.NULL, text or Keys.DELETE)
        wait(driver, lambda _: driver.find_element(By.ID, "shown").text == expected or None, f"no {expected!r}")

    filtered("staff -> shop-01", "1 rows, 30 columns")
    filtered("shop-000 -> shop-000", "3 rows, 3 columns")
    assert script(driver, LABELS) == []
    filtered("app-of-shop-007", "3 rows, 3 columns")  # with the web before, the database behind, and who monitors
    filtered(HOSTILE, "nothing has such a name")
    filtered("", "200 rows, 200 columns")
    driver.find_element(By.CSS_SELECTOR, "#service option[value='tcp/443']").click()
    driver.find_element(By.ID, "open").click()
    assert driver.find_element(By.ID, "shown").text == "1 rows, 66 columns"


def test_the_keyboard_is_enough(driver: webdriver.Chrome, show: Open) -> None:
    show(page_of(policy_of(20)), "keys.html")
    driver.find_element(By.CSS_SELECTOR, "td[tabindex='0']").send_keys(Keys.ARROW_RIGHT)
    assert about(driver).startswith("web-of-shop-000 → app-of-shop-000")
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert driver.switch_to.active_element.get_attribute("class") == "allow pinned"
    driver.switch_to.active_element.send_keys(Keys.END)
    assert about(driver).startswith("web-of-shop-000 → app-of-shop-000")  # pinned
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert about(driver).startswith("app-of-shop-000 → monitoring")
    assert driver.switch_to.active_element.get_attribute("aria-label").startswith("app-of-shop-000 to monitoring")
    driver.switch_to.active_element.send_keys("/")
    assert driver.switch_to.active_element.get_attribute("id") == "filter"


def test_the_graph_in_the_page(driver: webdriver.Chrome, show: Open) -> None:
    show(page_of(policy_of(5)), "graph.html")
    driver.find_element(By.ID, "tab-graph").click()
    shown = driver.find_element(By.ID, "without")
    assert shown.is_displayed()
    assert not driver.find_element(By.ID, "with").is_displayed()
    node = next(one for one in shown.find_elements(By.CLASS_NAME, "node") if "staff" in one.text)
    node.click()
    assert len(shown.find_elements(By.CSS_SELECTOR, ".wire.on")) == 1
    driver.find_element(By.ID, "denials").click()
    assert "no-telnet" in driver.find_element(By.ID, "with").text


def test_print_shows_the_table_alone(driver: webdriver.Chrome, show: Open) -> None:
    show(page_of(policy_of(5)), "print.html")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert driver.find_element(By.ID, "frame").is_displayed()
        assert not driver.find_element(By.ID, "panel").is_displayed()
        assert not driver.find_element(By.ID, "filter").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


PICTURE = """
const inside = (a, b) =>
  a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
const bad = [];
const page = document.querySelector('.paper').getBoundingClientRect();
const labels = [...document.querySelectorAll('text')].map((one) => {
  if (parseFloat(getComputedStyle(one).fontSize) < 9) bad.push(['small', one.textContent]);
  const at = one.getBoundingClientRect();
  if (!inside(at, page)) bad.push(['outside', one.textContent]);
  const box = one.closest('.node')?.querySelector('.box:last-of-type').getBoundingClientRect();
  if (box && !inside(at, box)) bad.push(['out of its box', one.textContent]);
  return [at, one.textContent];
});
labels.sort((one, other) => one[0].top - other[0].top);
for (let i = 0; i < labels.length; i += 1) {
  for (let k = i + 1; k < labels.length && labels[k][0].top < labels[i][0].bottom - 2; k += 1) {
    const [a, b] = [labels[i][0], labels[k][0]];
    if (a.left < b.right - 1 && b.left < a.right - 1) bad.push(['overlap', labels[i][1], labels[k][1]]);
  }
}
const nodes = [...document.querySelectorAll('.node')];
const boxes = nodes.map((one) => one.querySelector('.box:last-of-type').getBoundingClientRect());
for (let i = 0; i < boxes.length; i += 1) {
  for (let k = i + 1; k < boxes.length; k += 1) {
    const [a, b] = [boxes[i], boxes[k]];
    if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) bad.push(['boxes overlap', i, k]);
  }
}
return [labels.length, bad];
"""


def pictures(segments: int) -> Iterator[tuple[str, str]]:
    policy = policy_of(segments)
    ground = Ground(policy, hosts_of(policy))
    yield "columns", graph_svg(graph(policy, denies=True), HOSTILE, "columns")
    yield "grid", graph_svg(graph(policy, denies=True, merge=False), HOSTILE, "grid")
    yield "change", graph_svg(graph(policy_of(segments), against=policy_of(segments - 1)), HOSTILE)
    yield "radius", radius_svg(blast_radius(ground, "staff-with-laptops", critical=[("name", "app-of-shop-000")]))
    yield "scores", scores_svg(every_segment(ground))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("segments", [5, 200])
def test_pictures(driver: webdriver.Chrome, show: Open, segments: int, dark: bool) -> None:
    """No label outside of the picture or of its box, none over another, none too small to read."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    for name, picture in pictures(segments):
        show(picture, f"{name}.svg")
        labels, bad = script(driver, PICTURE)
        assert bad == [], name
        assert labels >= 5, name
        paper = script(driver, "return getComputedStyle(document.querySelector('.paper')).fill")
        assert paper == ("rgb(18, 22, 27)" if dark else "rgb(255, 255, 255)")

"""The page of a policy: nothing from a file is markup, nothing but its own script may run, its colours can be read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from zethane.policy.load import parse_policy
from zethane.policy.tables import tables
from zethane.render.matrix_page import LOOK, matrix_page
from zethane.render.theme import DARK, LIGHT

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>\"'&"
POLICY = parse_policy(
    json.dumps(
        {
            "version": 1,
            "segments": {"web": {"labels": {"tier": "web"}}, "db": {"labels": {"tier": "db"}}},
            "services": {"postgres": ["tcp/5432"]},
            "rules": [{"id": "web-db", "from": ["web"], "to": ["db"], "services": ["postgres"]}],
        }
    ),
    HOSTILE,
)


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inside.append((*self.tags[-1], data))


PAGE = Page(matrix_page(POLICY, tables(POLICY, {HOSTILE: None}), HOSTILE, ("<svg></svg>", "<svg></svg>"), HOSTILE))


def test_what_runs_is_what_the_page_says_may_run() -> None:
    policy = next(
        attributes["content"] for tag, attributes in PAGE.tags if tag == "meta" and "http-equiv" in attributes
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, attributes, content in PAGE.inside:
        if attributes.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            directive = next(part for part in policy.split("; ") if part.startswith(f"{tag}-src "))
            assert f"'sha256-{digest}'" in directive


def test_nothing_from_a_file_is_markup() -> None:
    assert [tag for tag, _ in PAGE.tags].count("script") == 2
    assert not [tag for tag, _ in PAGE.tags if tag == "img"]
    assert not [name for _, attributes in PAGE.tags for name in attributes if name.startswith("on") or name == "style"]
    fetching = [attributes for _, attributes in PAGE.tags if {"src", "href", "action"} & set(attributes)]
    assert fetching == [{"rel": "icon", "href": "data:,"}]


def test_the_data_is_whole() -> None:
    (text,) = (content for _, attributes, content in PAGE.inside if attributes.get("type") == "application/json")
    data = json.loads(text)
    assert data["file"] == HOSTILE
    assert data["hosts"]["names"] == [[HOSTILE, "host is not authenticated"]]
    assert data["rules"]["web-db"]["line"] == 1
    assert data["services"] == {"tcp/5432": "postgres"}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_of_pictures_can_be_read(colours: dict[str, str]) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    for name in ("ink", "faint"):
        for ground in ("paper", "box", "head"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in ("always", "conditional", "staged", "denied", "gained", "lost"):
        assert contrast(colours[name], colours["box"]) >= 4.5, name


def test_text_of_the_page_can_be_read() -> None:
    schemes = [dict(re.findall(r"--([a-z]+):(#[0-9a-f]{3,6})", part)) for part in re.findall(r":root\{([^}]*)\}", LOOK)]
    for scheme in schemes[:2]:
        full = {
            key: value if len(value) == 7 else "#" + "".join(2 * one for one in value[1:])
            for key, value in scheme.items()
        }
        for name in ("ink", "faint", "allow", "condition", "deny"):
            assert contrast(full[name], full["paper"]) >= 4.5, name
        assert contrast(full["ink"], full["mark"]) >= 4.5

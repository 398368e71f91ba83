"""Elements of SVG (W3C SVG 2) as text, and how wide text is without a browser to measure it."""

from __future__ import annotations

from html import escape
from unicodedata import east_asian_width

MONO = "'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
ADVANCE = 0.605
"""Width of a character of such a font, in its size: all have the same, and none of these is wider."""

TITLE_MAX = 2000
"""Characters of a text that is shown on hovering."""


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """An element with content that is markup already; attributes are escaped, `_` in their names is `-`."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{attribute(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def attribute(value: object) -> str:
    """A value of an attribute: numbers short, everything else escaped."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else text(str(value))


def text(value: str) -> str:
    """Text without markup, and without characters that XML 1.0 (§2.2) forbids or that are not seen."""
    return escape("".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in value))


def title(value: str) -> str:
    """What is shown on hovering."""
    lines = value if len(value) <= TITLE_MAX else f"{value[:TITLE_MAX]} …"
    return f"<title>{chr(10).join(text(line) for line in lines.splitlines())}</title>"


def width(value: str, size: float) -> float:
    """How wide text is in MONO, in pixels."""
    return size * ADVANCE * sum(2 if east_asian_width(one) in "WF" else 1 for one in value)


def cut(value: str, most: int) -> str:
    """Text of at most so many characters, the last an ellipsis where something is missing."""
    return value if len(value) <= most else f"{value[: most - 1]}…"

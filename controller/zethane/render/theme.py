"""The colours and strokes of pictures, in light and dark; told apart by more than colour (Okabe and Ito, 2008)."""

from __future__ import annotations

from zethane.render.svg import MONO

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "faint": "#5b6570",
    "line": "#8c959f",
    "box": "#f6f8fa",
    "head": "#e4e9ef",
    "always": "#0060a8",
    "conditional": "#a34700",
    "staged": "#8a3b75",
    "denied": "#b3261e",
    "gained": "#00694f",
    "lost": "#b3261e",
    "alarm": "#b3261e",
}
DARK = {
    "paper": "#12161b",
    "ink": "#e6edf3",
    "faint": "#a0abb6",
    "line": "#6b7681",
    "box": "#1b2128",
    "head": "#2a323c",
    "always": "#6cb8ff",
    "conditional": "#ffab5c",
    "staged": "#e79bd0",
    "denied": "#ff8a80",
    "gained": "#4fd6b0",
    "lost": "#ff8a80",
    "alarm": "#ff8a80",
}
KINDS = ("always", "conditional", "staged", "denied", "gained", "lost")
DASHES = {"conditional": "7 4", "staged": "1.5 4", "denied": "10 3 2 3", "lost": "3 3"}
"""Strokes of what is not simply open."""


def variables(colours: dict[str, str]) -> str:
    """Custom properties of CSS."""
    return "".join(f"--z-{name}:{value};" for name, value in colours.items())


def _kind(name: str) -> str:
    dash = f"stroke-dasharray:{DASHES[name]};" if name in DASHES else ""
    wide = "stroke-width:2.6;" if name in ("gained", "lost") else ""
    return (
        f".z .{name} .way{{stroke:var(--z-{name});{dash}{wide}}}.z .{name} .tip,.z text.{name}{{fill:var(--z-{name})}}"
    )


STYLE = "".join(
    (
        f".z{{{variables(LIGHT)}font-family:{MONO};background:var(--z-paper)}}",
        f"@media (prefers-color-scheme:dark){{.z{{{variables(DARK)}}}}}",
        f"@media print{{.z{{{variables(LIGHT)}}}}}",
        ".z text{fill:var(--z-ink);font-size:10px;white-space:pre}",
        ".z .paper{fill:var(--z-paper)}",
        ".z .name{font-size:12px;font-weight:600}",
        ".z .heading{font-size:15px;font-weight:600}",
        ".z .faint{fill:var(--z-faint)}",
        ".z .box{fill:var(--z-box);stroke:var(--z-line)}",
        ".z .head{fill:var(--z-head)}",
        ".z .outside .box{stroke-dasharray:4 3}",
        ".z .critical .box{stroke:var(--z-alarm);stroke-width:2.5}",
        ".z .start .box{stroke:var(--z-ink);stroke-width:2.5}",
        ".z .way{fill:none;stroke-width:1.5;stroke-linecap:round}",
        ".z .hit{fill:none;stroke:transparent;stroke-width:9}",
        ".z .wire:hover .way{stroke-width:3.5}",
        ".z .cell{stroke:var(--z-paper);stroke-width:.5}",
        ".z .now{fill:var(--z-ink)}",
        ".z .before{fill:none;stroke:var(--z-ink);stroke-dasharray:3 2}",
        ".z .grid{stroke:var(--z-line);stroke-width:.5;opacity:.5}",
        *map(_kind, KINDS),
    )
)
"""Of every picture, whose root has the class `z`."""

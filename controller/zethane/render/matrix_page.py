"""The matrix of a policy as one page that needs nothing else: tables by segment and by host, and the graph.

What comes from files is data in the page, and text to its script, never markup; a policy of the page (CSP Level 3)
lets nothing but this script and these styles run, and fetches nothing.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from zethane.document import count
from zethane.policy.model import Policy
from zethane.policy.tables import Tables, rule_view
from zethane.render.svg import text
from zethane.render.theme import STYLE

_HERE = files("zethane.render")
SCRIPT = _HERE.joinpath("matrix.js").read_text(encoding="utf-8")
LOOK = _HERE.joinpath("matrix.css").read_text(encoding="utf-8")

LEGEND = (
    ("allow", "■", "allowed"),
    ("condition", "◩", "under a condition"),
    ("deny", "\N{MULTIPLICATION SIGN}", "denied by a rule"),
)


def matrix_page(policy: Policy, tables: Tables, heading: str, graphs: tuple[str, str], note: str) -> str:
    """The page. `graphs` are pictures of the policy, without and with its denials; `note` says more of it, in words."""
    legend = "".join(f'<span><b class="{kind}">{sign}</b> {words}</span>' for kind, sign, words in LEGEND)
    counts = f"{count(len(policy.segments), 'segment')}, {count(len(policy.rules), 'rule')}, {note}"
    return _PAGE.format(
        policy=_content_policy(),
        heading=text(heading),
        counts=text(counts),
        look=LOOK,
        legend=legend,
        plain=graphs[0],
        denials=graphs[1],
        data=_data(policy, tables),
        script=SCRIPT,
    )


def _content_policy() -> str:
    styles = " ".join(_hash(style) for style in (LOOK, STYLE))
    return (
        f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {styles}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _data(policy: Policy, tables: Tables) -> str:
    """JSON that cannot end the element that it is in (HTML, §4.12.1.3)."""
    single = {str(one.services[0]): name for name, one in policy.services.items() if len(one.services) == 1}
    offered = {offer.service for content in tables.contents for offer in content.offers}
    value: Mapping[str, Any] = {
        **tables.view(),
        "file": policy.file,
        "rules": {rule.id: rule_view(rule) for rule in policy.rules},
        "services": single,
        "allServices": sorted(offered),
    }
    plain = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{heading}</title>
<style>{look}</style>
</head>
<body>
<header>
<h1>{heading}<small>{counts}</small></h1>
<div class="bar">
<div role="tablist" aria-label="What is shown">
<button role="tab" id="tab-segments" aria-controls="frame">Segments</button>
<button role="tab" id="tab-hosts" aria-controls="frame">Hosts</button>
<button role="tab" id="tab-graph" aria-controls="graph">Graph</button>
</div>
<form id="filters" class="bar">
<input type="search" id="filter" placeholder="Filter: web, or web -&gt; db" aria-label="Filter by name" maxlength="200">
<select id="service" aria-label="Service"><option value="">every service</option></select>
<label><input type="checkbox" id="open"> hide what no rule is about</label>
</form>
<div id="graph-controls" class="bar controls" hidden>
<button id="larger">Larger</button><button id="smaller">Smaller</button><button id="actual">Actual size</button>
<label><input type="checkbox" id="denials"> show denials</label>
</div>
<div class="legend">{legend}</div>
</div>
</header>
<main>
<div id="frame" aria-live="off"></div>
<div id="graph" tabindex="0" hidden><div id="without">{plain}</div><div id="with" hidden>{denials}</div></div>
<aside id="panel" aria-label="About the cell"><div id="about" role="status"></div></aside>
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""

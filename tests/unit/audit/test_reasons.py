"""The closed lists of reasons, and the page that explains them."""

import ast
import re
from dataclasses import replace
from enum import Enum
from pathlib import Path

import pytest

from zethane.audit.reason import DenyReason, FactorEvent, LoginRefusal, SessionEvent
from zethane.identity.attempts import AttemptLimits, Attempts, Rate
from zethane.identity.session import Attachment
from zethane.pipeline.fields import Reason
from zethane.service.denials import SAMPLED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
PLACE = Attachment(1, 2, 0, 0x02_00_00_00_00_01)
SOURCES = sorted((ROOT / "controller" / "zethane").rglob("*.py"))


def explained(title: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: the reason, and the other cells."""
    section = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows: dict[str, list[str]] = {}
    for line in section.splitlines():
        found = re.fullmatch(r"\| `([^`]+)` \|(.+)\|", line)
        if found:
            assert found[1] not in rows, f"{found[1]} is explained twice"
            rows[found[1]] = [cell.strip() for cell in found[2].split("|")]
    return rows


LISTS = [("Packets denied", DenyReason), ("Sessions", SessionEvent), ("Logins refused", LoginRefusal)]
LISTS.append(("Second factors", FactorEvent))


@pytest.mark.parametrize(("title", "members"), LISTS)
def test_the_page_explains_every_reason_and_no_other(title: str, members: type[Enum]) -> None:
    rows = explained(title)
    assert list(rows) == [member.value for member in members]
    columns = {len(cells) for cells in rows.values()}
    assert len(columns) == 1
    assert all(cell for cells in rows.values() for cell in cells)


def test_no_denial_in_the_code_is_a_bare_word() -> None:
    """mypy holds the types; this finds what would get around it: words passed where a reason belongs."""
    words = {member.value for member in DenyReason}
    for file in SOURCES:
        if file.name == "reason.py" or "service" not in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node) in ("Denied", "_deny", "deny"):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                constants = {one.value for one in given if isinstance(one, ast.Constant)}
                assert not constants & words, f"{file}:{node.lineno}"


def _called(node: ast.Call) -> str:
    name = node.func
    return name.attr if isinstance(name, ast.Attribute) else name.id if isinstance(name, ast.Name) else ""


def test_every_limit_on_logins_is_a_reason() -> None:
    spent = AttemptLimits(Rate(1, 60), Rate(1, 60), Rate(1, 60), Rate(1, 60))
    lenient = AttemptLimits(Rate(9, 1), Rate(9, 1), Rate(9, 1), Rate(9, 1))
    limits = set()
    for name in ("port", "attachment", "port_account", "account"):
        attempts = Attempts(replace(lenient, **{name: getattr(spent, name)}))
        assert attempts.admit(PLACE, "user:alice", 0) is None
        limited = attempts.admit(PLACE, "user:alice", 0)
        assert limited is not None
        limits.add(LoginRefusal(f"too-many-attempts-{limited.limit}"))
    assert len(limits) == 4


def test_what_a_switch_samples_has_a_reason_by_its_cookie() -> None:
    assert all(isinstance(SAMPLED[number], DenyReason) for number in SAMPLED)
    assert {Reason.UNAUTHENTICATED, Reason.UNKNOWN_DESTINATION, Reason.NO_RULE} <= SAMPLED.keys()

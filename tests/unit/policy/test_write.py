"""What is written as a policy reads back as the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zethane.document import parse
from zethane.policy.schema import PolicyFile
from zethane.policy.write import WIDTH, Written, policy_text

SEGMENTS = {"web": {"labels": {"tier": "yes", "site": "a b: c"}}, "null": {"groups": ["on", "1", "true"]}}


def test_words_that_yaml_takes_for_something_else_stay_words() -> None:
    text = policy_text(["a\nb"], SEGMENTS, {"dns": ["udp/53"]}, [])
    file = parse(text, "policy.yaml", PolicyFile).value
    assert file.model_dump(exclude_unset=True)["segments"] == {
        "web": {"labels": {"tier": "yes", "site": "a b: c"}},
        "null": {"groups": ("on", "1", "true")},
    }
    assert '"yes"' in text, "other readers take it for true"


@given(
    st.lists(st.from_regex(r"\A(tcp|udp)/[1-9][0-9]{0,3}\Z"), min_size=1, max_size=200, unique=True),
    st.lists(st.text(max_size=60), max_size=3),
    st.lists(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_./: ,-]{0,60}\Z"), max_size=8, unique=True),
)
def test_long_rules_and_any_comment(services: list[str], comments: list[str], words: list[str]) -> None:
    rule: dict[str, Any] = {"id": "r", "from": ["web"], "to": ["null"], "services": services}
    if words:
        rule["when"] = {"cel": " && ".join(words)}
    text = policy_text(comments, SEGMENTS, {}, [Written(rule, tuple(comments))])
    read = parse(text, "policy.yaml", PolicyFile).value.rules[0].model_dump(by_alias=True, exclude_unset=True)
    assert read == {**rule, "from": ("web",), "to": ("null",), "services": tuple(services)}
    assert all(
        len(line) <= WIDTH for line in text.splitlines() if "cel" not in line and not line.lstrip().startswith("#")
    )

"""What an Access-Accept proves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from zethane.identity.session import Attachment
from zethane.identity.sources.radius import Radius
from zethane.service.radius import AccessReply, AccessRequest, classes_of, proof_of, with_classes

REQUEST = AccessRequest("alice", Attachment(1, 3, 0, 0x02_00_00_00_00_15), "s1:3", "a-1")
REPLY = AccessReply("accept", "lab", None, None, None, (), None, None, "default", None, ())


def settings(**more: object) -> Radius:
    return Radius.model_validate({"servers": {"lab": {"host": "127.0.0.1", "secret": "s"}}, **more})


def proof(reply: AccessReply, **more: object):
    return proof_of(REQUEST, reply, "user", "alice", "dot1x", ("pwd",), 1, settings(**more), 1000.0)


def test_it_names_the_server_the_session_and_the_port() -> None:
    made = proof(REPLY)
    assert (made.issuer, made.reference, made.subject) == ("radius:lab", "a-1", "alice")
    assert dict(made.attributes) == {"radius-nas-port-id": "s1:3"}
    assert (made.at, made.aal, made.amr, made.mfa_at) == (1000.0, 1, ("pwd",), None)
    assert proof(replace(REPLY, user_name="alice@site")).subject == "alice@site"


def test_it_ends_with_the_session_timeout_or_asks_for_another_authentication() -> None:
    """RFC 3580 §3.17."""
    ends = proof(replace(REPLY, session_timeout=60.0))
    assert (ends.expires, ends.reauthenticate) == (1060.0, math.inf)
    again = proof(replace(REPLY, session_timeout=60.0, termination_action="radius-request"))
    assert (again.expires, again.reauthenticate) == (math.inf, 1060.0)
    assert proof(REPLY).ends == math.inf
    assert proof(replace(REPLY, idle_timeout=30.0)).idle == 30.0
    assert proof(REPLY).idle == math.inf


def test_a_filter_id_is_a_group_or_names_one() -> None:
    reply = replace(REPLY, filter_ids=("staff", "no name!", "", "x" * 64))
    assert proof(reply).groups == {"staff"}
    assert proof(reply, groups={"no name!": "guests"}).groups == {"guests"}


def test_a_tunnel_private_group_gives_the_labels_of_the_mapping_and_nothing_else() -> None:
    reply = replace(REPLY, tunnel_private_group="20")
    assert proof(reply).labels == ()
    labels = {"20": {"zone": "lab", "floor": "2"}}
    assert proof(reply, labels=labels).labels == (("floor", "2"), ("zone", "lab"))
    assert proof(replace(reply, tunnel_private_group="21"), labels=labels).labels == ()


def test_classes_are_kept_as_they_came() -> None:
    made = proof(replace(REPLY, classes=(b"\x00\xff", b"two"), interim=300.0))
    assert classes_of(made) == (b"\x00\xff", b"two")
    assert dict(made.attributes)["radius-interim"] == "300"
    changed = with_classes(made, (b"three",))
    assert classes_of(changed) == (b"three",)
    assert dict(changed.attributes)["radius-interim"] == "300"


@pytest.mark.parametrize("code", ["reject", "challenge"])
def test_nothing_but_an_accept_proves_anything(code) -> None:
    with pytest.raises(ValueError, match="only an Access-Accept"):
        proof(replace(REPLY, code=code))

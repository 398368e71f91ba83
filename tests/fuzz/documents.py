"""Targets: the files of a topology, as text that anybody may have written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.portal_site import IDENTITIES
from fuzz.target import Target
from zethane.convert import import_kubernetes, import_openstack
from zethane.document.compose import MAX_PROBLEMS, compose
from zethane.errors import InputError
from zethane.identity.directory import parse_identities
from zethane.network.load import parse_network
from zethane.policy.load import parse_policy

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
MAX_MESSAGE = 1000
"""Characters of one problem: it ends up on a terminal."""

_YAML = {
    "alias": b"a: &x [1, 2]\nb: *x\nc: [*x, *x]\n",
    "tags": b"a: !!str 1\nb: !!float 2\nc: !other 3\n",
    "numbers": b"[017, 0o17, 0x1F, 1e3, .inf, -.inf, .nan, 1_000, 22:22]\n",
    "block": b"a: |\n  one\n  two\nb: >-\n  three\n  four\n? key\n: value\n",
    "quoted": b"'a': \"\\u00e9\\x41\\n\"\n\"b\": 'it''s'\n",
    "documents": b"---\na: 1\n...\n---\nb: 2\n",
    "twice": b"a: 1\na: 2\n",
}


def _only_input_errors(parse: Callable[[str, str], Any]) -> Callable[[bytes], None]:
    """A check that a text is read, or is an InputError whose problems say where, in bounded words."""

    def check(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        try:
            parse(text, "file.yaml")
        except InputError as error:
            _check_problems(error, text)

    return check


def _check_problems(error: InputError, text: str) -> None:
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert 0 < len(error.problems) <= MAX_PROBLEMS + 1
    for problem in error.problems:
        assert problem.file == "file.yaml"
        assert problem.message
        assert len(str(problem)) <= MAX_MESSAGE, str(problem)
        assert str(problem).isprintable(), repr(str(problem))
        assert problem.line is None or 1 <= problem.line <= lines + 1
        assert problem.column is None or problem.column >= 1


def _topology_files(name: str) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(TOPOLOGIES.glob(f"*/{name}.yaml"))}


def _yaml_seeds() -> dict[str, bytes]:
    return _YAML


def _policies() -> dict[str, bytes]:
    return _topology_files("policy") | _YAML


def _networks() -> dict[str, bytes]:
    return _topology_files("network")


def _identities() -> dict[str, bytes]:
    return {"small": IDENTITIES.encode()}


_CLUSTER = b"""\
kind: List
apiVersion: v1
items:
- {kind: Namespace, apiVersion: v1, metadata: {name: dev, labels: {team: a}}}
- kind: Pod
  apiVersion: v1
  metadata: {name: web, namespace: dev, labels: {app: web}}
  spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}
  status: {podIP: 10.0.0.1}
- kind: NetworkPolicy
  apiVersion: networking.k8s.io/v1
  metadata: {name: p, namespace: dev}
  spec:
    podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}
    ingress:
    - from: [{namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
      ports: [{port: http}]
    egress: [{ports: [{port: 1, endPort: 9, protocol: UDP}]}]
"""
_TEMPLATE = b"""\
{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {metadata: {labels: {app: a}}}}}
---
{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: x}}
---
{apiVersion: v1, kind: PodList, items: [{metadata: {name: b}}]}
"""
_CLOUD = b"""\
[{"ID": "r", "IP Protocol": "icmp", "Ethertype": "IPv4", "IP Range": "10.0.0.0/8", "Port Range": "type=8:code=0",
  "Direction": "ingress", "Remote Security Group": null, "Remote Address Group": null, "Security Group": "g"}]
---
[{"ID": "g", "Name": "web", "Description": "\\ud83d\\ude00"}]
---
[{"ID": "p", "Name": "", "Fixed IP Addresses": [{"ip_address": "10.0.0.1"}], "Security Groups": ["g"]}]
---
[{"ID": "s", "Name": "web-1", "Status": "", "Networks": {"net": ["10.0.0.1"]}}]
"""


def _clusters() -> dict[str, bytes]:
    return {"list": _CLUSTER, "templates": _TEMPLATE}


def _clouds() -> dict[str, bytes]:
    return {"lists": _CLOUD}


TARGETS = (
    Target("yaml", _only_input_errors(lambda text, file: compose(text, file).value()), _yaml_seeds),
    Target("policy", _only_input_errors(parse_policy), _policies, 4096),
    Target("network", _only_input_errors(parse_network), _networks, 4096),
    Target("identities", _only_input_errors(parse_identities), _identities, 4096),
    Target("kubernetes", _only_input_errors(lambda text, file: import_kubernetes({file: text})), _clusters, 4096),
    Target("openstack", _only_input_errors(lambda text, file: import_openstack({file: text})), _clouds, 4096),
)

"""A cluster's NetworkPolicies on real switches: what passes there is what their documentation says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import argon2
import pytest

from labsite import lab_report
from originals.kubernetes import may
from zethane.convert import import_kubernetes

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]


def _policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _pod(namespace: str, app: str, *ports: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": app, "namespace": namespace, "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"ports": list(ports)}]}}


PODS = [
    _pod("shop", "web", {"name": "http", "containerPort": 8080}),
    _pod("shop", "db"),
    _pod("monitoring", "probe"),
    _pod("monitoring", "other"),
]
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring", "labels": {"team": "ops"}}},
    *PODS,
    _policy(
        "web",
        {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {"ports": [{"port": "http"}]},
                {"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}], "ports": [{"port": 9000}]},
            ],
        },
    ),
    _policy(
        "db",
        {
            "podSelector": {"matchLabels": {"app": "db"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchLabels": {"app": "web"}}},
                        {
                            "namespaceSelector": {"matchLabels": {"team": "ops"}},
                            "podSelector": {
                                "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["other"]}]
                            },
                        },
                    ],
                    "ports": [{"port": 5432, "endPort": 5433}, {"port": 53, "protocol": "UDP"}],
                }
            ],
            "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 8080}]}],
        },
    ),
]


def test_network_policies_on_switches(tmp_path: Path) -> None:
    """Imported, given secrets, logged in and measured: every pair and port as the documentation evaluates them."""
    imported = import_kubernetes({"cluster.json": json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS})})
    assert imported.losses == ()
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=1024).hash("lab-secret")
    identities = imported.identities_text.replace("{labels: {", f'{{secret: "{hashed}", labels: {{')
    hosts = {f"h{number}": pod for number, pod in enumerate(PODS)}
    lines = ["switches: {s1: {}}", "hosts:"]
    for number, (name, pod) in enumerate(hosts.items(), 1):
        workload = imported.workloads[f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"]
        login = f"{{workload: {workload}, secret: lab-secret}}"
        lines.append(f"  {name}: {{switch: s1, ip: 10.9.0.{number}/24, login: {login}}}")
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "policy.yaml").write_text(imported.policy_text)
    (folder / "identities.yaml").write_text(identities)
    (folder / "network.yaml").write_text("\n".join(lines) + "\n")
    cells = lab_report(str(folder), tmp_path / "cells.json")["cells"]
    seen = {(cell["from"], cell["to"], cell["service"]): cell["observed"] == "allow" for cell in cells}
    wanted = {}
    for source, target, service in seen:
        proto, _, ports = service.partition("/")
        low, _, high = ports.partition("-")
        wanted[source, target, service] = all(
            may(OBJECTS, hosts[source], hosts[target], proto.upper(), port)
            for port in range(int(low), int(high or low) + 1)
        )
    assert seen == wanted
    assert {service for _, _, service in seen} == {"tcp/8080", "tcp/9000", "tcp/5432-5433", "udp/53"}
    assert len(seen) == 4 * 3 * 4
    assert set(wanted.values()) == {True, False}

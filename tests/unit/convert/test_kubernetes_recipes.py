"""The well-known NetworkPolicy recipes, and the cases of the upstream conformance tests, with their verdicts.

In the tables, what stands before `not` passes and what stands after it does not.
"""

from __future__ import annotations

import pytest

from originals.verdicts import Verdicts
from zethane.convert import import_kubernetes

NAMESPACES = """
{apiVersion: v1, kind: Namespace, metadata: {name: default}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: dev, labels: {purpose: testing}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: prod, labels: {purpose: production}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: other, labels: {team: operations}}}
"""


def pod(name: str, labels: str, ports: str = "") -> str:
    """`default/web` with labels like `app: web`, and ports like `{name: http, containerPort: 80}`."""
    namespace, _, short = name.partition("/")
    return (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {short}, namespace: {namespace}, labels: {{{labels}}}}}\n"
        f"spec: {{containers: [{{name: main, ports: [{ports}]}}]}}\n"
    )


def policy(name: str, spec: str) -> str:
    """A NetworkPolicy with this specification in YAML's flow style."""
    namespace, _, short = name.partition("/")
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {short}, namespace: {namespace}}}\nspec: {spec}\n"
    )


PODS = "".join(
    (
        pod("default/web", "app: web"),
        pod("default/client", "app: client"),
        pod("dev/client", "app: client"),
        pod("prod/client", "app: client"),
    )
)
BOOKSTORE = "".join(
    (
        pod("default/api", "app: bookstore, role: api"),
        pod("default/front", "app: bookstore, role: frontend"),
        pod("default/search", "app: bookstore, role: search"),
        pod("default/inventory", "app: inventory, role: web"),
        pod("default/coffee", "app: coffeeshop, role: api"),
        pod("prod/front", "app: bookstore, role: frontend"),
    )
)
WEB = "podSelector: {matchLabels: {app: web}}"

RECIPES = {
    "without any policy everything passes": (
        PODS,
        """
        default/client -> default/web: tcp/80, udp/53, sctp/9, icmp, any
        default/client -> 198.51.100.7: tcp/443, icmp
        2001:db8::7 -> default/web: tcp/443
        """,
    ),
    "deny all traffic to an application": (
        PODS + policy("default/web-deny-all", f"{{{WEB}, ingress: []}}"),
        """
        default/client -> default/web: not tcp/80, udp/80, icmp
        prod/client -> default/web: not tcp/80
        198.51.100.7 -> default/web: not tcp/80
        # it says nothing about what the application opens itself, nor about others
        default/web -> default/client: tcp/80
        default/web -> 198.51.100.7: tcp/443
        dev/client -> default/client: tcp/80
        """,
    ),
    "limit traffic to an application": (
        BOOKSTORE
        + policy(
            "default/api-allow",
            "{podSelector: {matchLabels: {app: bookstore, role: api}},"
            " ingress: [{from: [{podSelector: {matchLabels: {app: bookstore}}}]}]}",
        ),
        """
        default/front -> default/api: tcp/80
        default/search -> default/api: tcp/80, udp/7
        default/inventory -> default/api: not tcp/80
        default/coffee -> default/api: not tcp/80
        # same labels, another namespace
        prod/front -> default/api: not tcp/80
        default/coffee -> default/front: tcp/80
        """,
    ),
    "allow all traffic to an application, in a namespace that denies all": (
        PODS
        + policy("default/default-deny-all", "{podSelector: {}, ingress: []}")
        + policy("default/web-allow-all", f"{{{WEB}, ingress: [{{}}]}}"),
        """
        default/client -> default/web: tcp/80, icmp
        prod/client -> default/web: tcp/80
        198.51.100.7 -> default/web: tcp/80
        default/web -> default/client: not tcp/80
        """,
    ),
    "an empty from is every source, and external clients are among them": (
        PODS + policy("default/web-allow-external", f"{{{WEB}, ingress: [{{from: []}}]}}"),
        """
        198.51.100.7 -> default/web: tcp/80
        2001:db8::7 -> default/web: tcp/80
        prod/client -> default/web: tcp/80
        """,
    ),
    "deny all non-whitelisted traffic in a namespace": (
        PODS + policy("default/default-deny-all", "{podSelector: {}, policyTypes: [Ingress]}"),
        """
        default/client -> default/web: not tcp/80
        prod/client -> default/web: not tcp/80
        default/client -> prod/client: tcp/80
        prod/client -> dev/client: tcp/80
        """,
    ),
    "deny traffic from other namespaces": (
        PODS
        + policy("default/deny-from-other-namespaces", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"),
        """
        default/client -> default/web: tcp/80
        dev/client -> default/web: not tcp/80
        prod/client -> default/web: not tcp/80
        198.51.100.7 -> default/web: not tcp/80
        """,
    ),
    "allow traffic from all namespaces": (
        PODS
        + policy("default/web-allow-all-namespaces", f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]}}"),
        """
        default/client -> default/web: tcp/80
        dev/client -> default/web: tcp/80
        prod/client -> default/web: tcp/80
        # all namespaces are not all addresses
        198.51.100.7 -> default/web: not tcp/80
        """,
    ),
    "allow all traffic from a namespace": (
        PODS
        + policy(
            "default/web-allow-prod",
            f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{purpose: production}}}}}}]}}]}}",
        ),
        """
        prod/client -> default/web: tcp/80
        dev/client -> default/web: not tcp/80
        default/client -> default/web: not tcp/80
        """,
    ),
    "allow traffic from a namespace by its name": (
        PODS
        + policy(
            "default/web-allow-dev",
            f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{matchLabels:"
            " {kubernetes.io/metadata.name: dev}}}]}]}",
        ),
        """
        dev/client -> default/web: tcp/80
        prod/client -> default/web: not tcp/80
        """,
    ),
    "allow traffic from some pods in another namespace": (
        PODS
        + pod("other/monitor", "type: monitoring")
        + pod("other/shop", "type: shop")
        + pod("default/monitor", "type: monitoring")
        + policy(
            "default/web-allow-monitors",
            f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: operations}}}},"
            " podSelector: {matchLabels: {type: monitoring}}}]}]}",
        ),
        """
        other/monitor -> default/web: tcp/80
        # both have to fit
        other/shop -> default/web: not tcp/80
        default/monitor -> default/web: not tcp/80
        """,
    ),
    "the same selectors as two peers: one of them is enough": (
        PODS
        + pod("other/shop", "type: shop")
        + pod("default/monitor", "type: monitoring")
        + policy(
            "default/web-allow-either",
            f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: operations}}}}}},"
            " {podSelector: {matchLabels: {type: monitoring}}}]}]}",
        ),
        """
        other/shop -> default/web: tcp/80
        default/monitor -> default/web: tcp/80
        default/client -> default/web: not tcp/80
        """,
    ),
    "allow traffic only to a port of an application": (
        pod("default/server", "app: apiserver")
        + pod("default/monitor", "role: monitoring")
        + pod("default/client", "app: client")
        + policy(
            "default/api-allow-5000",
            "{podSelector: {matchLabels: {app: apiserver}},"
            " ingress: [{ports: [{port: 5000}], from: [{podSelector: {matchLabels: {role: monitoring}}}]}]}",
        ),
        """
        default/monitor -> default/server: tcp/5000, not tcp/8000, udp/5000, icmp
        default/client -> default/server: not tcp/5000, tcp/8000
        """,
    ),
    "allow traffic from applications with multiple selectors": (
        BOOKSTORE
        + pod("default/db", "app: bookstore, role: db")
        + policy(
            "default/redis-allow-services",
            "{podSelector: {matchLabels: {app: bookstore, role: db}}, ingress: [{from: ["
            "{podSelector: {matchLabels: {app: bookstore, role: search}}},"
            "{podSelector: {matchLabels: {app: bookstore, role: api}}},"
            "{podSelector: {matchLabels: {app: inventory, role: web}}}]}]}",
        ),
        """
        default/search -> default/db: tcp/6379
        default/api -> default/db: tcp/6379
        default/inventory -> default/db: tcp/6379
        default/coffee -> default/db: not tcp/6379
        default/front -> default/db: not tcp/6379
        """,
    ),
    "deny egress traffic from an application": (
        PODS + policy("default/web-deny-egress", f"{{{WEB}, policyTypes: [Egress], egress: []}}"),
        """
        default/web -> default/client: not tcp/80, udp/53
        default/web -> 198.51.100.7: not tcp/443
        default/client -> default/web: tcp/80
        """,
    ),
    "allow only DNS out of an application": (
        PODS
        + policy(
            "default/web-dns-only",
            f"{{{WEB}, policyTypes: [Egress], egress: [{{ports: [{{port: 53, protocol: UDP}}, {{port: 53}}]}}]}}",
        ),
        """
        default/web -> prod/client: udp/53, tcp/53, not udp/54, tcp/80
        default/web -> 198.51.100.7: udp/53, tcp/53, not tcp/443
        """,
    ),
    "deny all non-whitelisted egress traffic of a namespace": (
        PODS + policy("default/deny-all-egress", "{podSelector: {}, policyTypes: [Egress]}"),
        """
        default/web -> default/client: not tcp/80
        default/client -> prod/client: not tcp/80
        default/client -> 198.51.100.7: not tcp/443
        prod/client -> default/web: tcp/80
        """,
    ),
    "deny external egress traffic, but for DNS": (
        PODS
        + policy(
            "default/deny-external-egress",
            f"{{{WEB}, policyTypes: [Egress], egress: [{{ports: [{{port: 53}}, {{port: 53, protocol: UDP}}]}},"
            " {to: [{namespaceSelector: {}}]}]}",
        ),
        """
        default/web -> default/client: tcp/80, udp/9
        default/web -> prod/client: tcp/80
        default/web -> 198.51.100.7: udp/53, not tcp/80, tcp/443
        """,
    ),
    "policyTypes that are left out: Ingress always, Egress where there are rules for it": (
        PODS + policy("default/web", f"{{{WEB}, egress: [{{ports: [{{port: 443}}]}}]}}"),
        """
        default/web -> default/client: tcp/443, not tcp/80
        default/client -> default/web: not tcp/80, tcp/443
        """,
    ),
    "egress rules that policyTypes leaves out say nothing": (
        PODS
        + policy(
            "default/web", f"{{{WEB}, policyTypes: [Ingress], ingress: [{{}}], egress: [{{ports: [{{port: 1}}]}}]}}"
        ),
        """
        default/web -> default/client: tcp/443
        default/client -> default/web: tcp/443
        """,
    ),
    "a range of ports": (
        PODS + policy("default/web", f"{{{WEB}, ingress: [{{ports: [{{port: 8000, endPort: 8090}}]}}]}}"),
        """
        default/client -> default/web: tcp/8000, tcp/8045, tcp/8090, not tcp/7999, tcp/8091, udp/8000
        """,
    ),
    "all ports of SCTP": (
        PODS + policy("default/web", f"{{{WEB}, ingress: [{{ports: [{{protocol: SCTP}}]}}]}}"),
        """
        default/client -> default/web: sctp/1, sctp/65535, not tcp/1, udp/1
        """,
    ),
    "a port by its name is what each container says": (
        pod("default/old", "app: web", "{name: http, containerPort: 80}")
        + pod("default/new", "app: web", "{name: http, containerPort: 8080}")
        + pod("default/none", "app: web")
        + pod("default/client", "app: client")
        + policy("default/web", f"{{{WEB}, ingress: [{{ports: [{{port: http}}]}}]}}"),
        """
        default/client -> default/old: tcp/80, not tcp/8080
        default/client -> default/new: tcp/8080, not tcp/80
        default/client -> default/none: not tcp/80, tcp/8080
        """,
    ),
    "a port by its name, on the way out, is what the target's container says": (
        pod("default/old", "app: web", "{name: dns, containerPort: 53, protocol: UDP}, {name: http, containerPort: 80}")
        + pod("default/new", "app: web", "{name: http, containerPort: 8080}")
        + pod("default/client", "app: client")
        + policy(
            "default/client",
            "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress],"
            " egress: [{to: [{podSelector: {}}], ports: [{port: http}, {port: dns, protocol: UDP}]}]}",
        ),
        """
        default/client -> default/old: tcp/80, udp/53, not tcp/8080, tcp/53
        default/client -> default/new: tcp/8080, not tcp/80, udp/53
        """,
    ),
    "a block with an exception": (
        PODS
        + policy(
            "default/web",
            f"{{{WEB}, ingress: [{{from: [{{ipBlock: {{cidr: 198.51.0.0/16, except: [198.51.100.0/24]}}}}]}}]}}",
        ),
        """
        198.51.7.1 -> default/web: tcp/80
        198.51.100.7 -> default/web: not tcp/80
        203.0.113.9 -> default/web: not tcp/80
        default/client -> default/web: not tcp/80
        """,
    ),
    "an exception of one policy is none of another": (
        PODS
        + policy(
            "default/a",
            f"{{{WEB}, ingress: [{{from: [{{ipBlock: {{cidr: 198.51.0.0/16, except: [198.51.100.0/24]}}}}]}}]}}",
        )
        + policy(
            "default/b",
            f"{{{WEB}, ingress: [{{from: [{{ipBlock: {{cidr: 198.51.100.7/32}}}}], ports: [{{port: 80}}]}}]}}",
        ),
        """
        198.51.100.7 -> default/web: tcp/80, not tcp/81
        198.51.100.8 -> default/web: not tcp/80
        198.51.7.1 -> default/web: tcp/80, tcp/81
        """,
    ),
    "egress to a block of IPv6": (
        PODS
        + policy(
            "default/web",
            f"{{{WEB}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: '2001:db8::/32'}}}}]}}]}}",
        ),
        """
        default/web -> 2001:db8::7: tcp/80
        default/web -> 2001:db9::7: not tcp/80
        default/web -> 198.51.100.7: not tcp/80
        """,
    ),
    "matchExpressions": (
        pod("default/web", "app: web")
        + pod("default/a", "tier: a, beta: 'yes'")
        + pod("default/b", "tier: b")
        + pod("default/c", "tier: c")
        + pod("default/bare", "")
        + policy(
            "default/web",
            f"{{{WEB}, ingress: ["
            "{from: [{podSelector: {matchExpressions: [{key: tier, operator: In, values: [a, b]}]}}],"
            " ports: [{port: 1}]},"
            "{from: [{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}]}}],"
            " ports: [{port: 2}]},"
            "{from: [{podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}], ports: [{port: 3}]},"
            "{from: [{podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}], ports: [{port: 4}]},"
            "{from: [{podSelector: {matchLabels: {tier: a}, matchExpressions: [{key: beta, operator: DoesNotExist}]}}],"
            " ports: [{port: 5}]}]}",
        ),
        """
        default/a -> default/web: tcp/1, tcp/3, not tcp/2, tcp/4, tcp/5
        default/b -> default/web: tcp/1, tcp/3, not tcp/2, tcp/4, tcp/5
        default/c -> default/web: tcp/2, tcp/3, not tcp/1, tcp/4, tcp/5
        # NotIn fits what has no such label
        default/bare -> default/web: tcp/2, tcp/4, not tcp/1, tcp/3, tcp/5
        """,
    ),
    "namespaces by NotIn": (
        PODS
        + policy(
            "default/web",
            f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{matchExpressions:"
            " [{key: purpose, operator: NotIn, values: [production]}]}}]}]}",
        ),
        """
        dev/client -> default/web: tcp/80
        default/client -> default/web: tcp/80
        prod/client -> default/web: not tcp/80
        """,
    ),
    "a connection needs the egress of one end and the ingress of the other": (
        PODS
        + policy("default/web", f"{{{WEB}, ingress: [{{ports: [{{port: 80}}, {{port: 443}}]}}]}}")
        + policy(
            "default/client",
            "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress],"
            " egress: [{ports: [{port: 443, endPort: 500}]}]}",
        ),
        """
        default/client -> default/web: tcp/443, not tcp/80, tcp/500
        dev/client -> default/web: tcp/80, tcp/443
        default/client -> prod/client: tcp/500, not tcp/80
        """,
    ),
    "policies add up": (
        PODS
        + policy("default/a", f"{{{WEB}, ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: 80}}]}}]}}")
        + policy("default/b", f"{{{WEB}, ingress: [{{from: [{{namespaceSelector: {{}}}}], ports: [{{port: 443}}]}}]}}")
        + policy("default/c", f"{{{WEB}, ingress: []}}"),
        """
        default/client -> default/web: tcp/80, tcp/443, not tcp/22
        prod/client -> default/web: tcp/443, not tcp/80
        """,
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    """Every verdict of the table is the imported policy's."""
    manifests, table = RECIPES[name]
    assert list(Verdicts(import_kubernetes({"recipe.yaml": NAMESPACES + manifests}), "Pod").wrong(table)) == []


def test_tables_can_fail() -> None:
    """A table that says the opposite is found wrong, line by line."""
    verdicts = Verdicts(import_kubernetes({"recipe.yaml": NAMESPACES + PODS}), "Pod")
    table = "default/client -> default/web: tcp/80, not tcp/81, udp/9"
    assert [line.rpartition(": ")[2] for line in verdicts.wrong(table)] == ["tcp/81 is allowed", "udp/9 is allowed"]

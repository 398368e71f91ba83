"""What an import of NetworkPolicies reads, what it names as lost, and how it ends for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from originals.verdicts import Verdicts
from zethane.cli.policy import app
from zethane.convert import Imported, import_kubernetes
from zethane.errors import InputError

POD = "{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}}"
CLIENT = "{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: dev, labels: {app: client}}}"


def policy(spec: str, name: str = "web") -> str:
    return f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n"


def load(*documents: str) -> Imported:
    return import_kubernetes({"f.yaml": "\n---\n".join(documents)})


def lost(imported: Imported) -> list[str]:
    return [str(loss) for loss in imported.losses]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("a: [", "f.yaml:2:1: no YAML: did not find expected node content"),
        ("- 1", "f.yaml:1:1: expected an object of Kubernetes: keys and values"),
        ("kind: Pod", "f.yaml:1:1: apiVersion: this key is required and missing"),
        (
            policy("podSelektor: {}"),
            "f.yaml:5:3: spec.podSelektor: unknown key 'podSelektor'; did you mean 'podSelector'? "
            "expected one of: egress, ingress, podSelector, policyTypes",
        ),
        (
            policy("ingress: [{from: [{}]}]"),
            "f.yaml:5:21: spec.ingress[0].from[0]: expected either podSelector, namespaceSelector or both, "
            "or ipBlock alone",
        ),
        (
            policy("ingress: [{ports: [{port: 90, endPort: 80}]}]"),
            "f.yaml:5:22: spec.ingress[0].ports[0]: expected endPort only beside a port by number, and not below it",
        ),
        (
            policy("ingress: [{ports: [{protocol: ICMP}]}]"),
            "f.yaml:5:33: spec.ingress[0].ports[0].protocol: expected 'TCP', 'UDP' or 'SCTP'",
        ),
        (
            policy("podSelector: {matchExpressions: [{key: a, operator: In}]}"),
            "f.yaml:5:36: spec.podSelector.matchExpressions[0]: expected values with In and NotIn, "
            "and none with Exists and DoesNotExist",
        ),
        (
            policy("podSelector: {matchLabels: {a: }}"),
            "f.yaml:5:34: spec.podSelector.matchLabels.a: expected text; "
            "a number, true, false or null needs quotes to be text",
        ),
        (
            policy("ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]"),
            "f.yaml:5:31: spec.ingress[0].from[0].ipBlock: expected exceptions within 10.0.0.0/8 and smaller than it, "
            "found 11.0.0.0/16",
        ),
        (
            policy("ingress: [{from: [{ipBlock: {cidr: all}}]}]"),
            "f.yaml:5:31: spec.ingress[0].from[0].ipBlock: expected prefixes such as 10.0.0.0/8 or 2001:db8::/32 "
            "in cidr and except",
        ),
        ("kind: List\napiVersion: v1\nitems: 1", "f.yaml:3:8: items: expected a list"),
        (
            "kind: List\napiVersion: v1\nitems:\n- {kind: Pod, apiVersion: v1, metadata: {name: A}}",
            "f.yaml:4:48: items[0].metadata.name: expected text that matches ^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$",
        ),
        (f"{POD}\n---\n{POD}", "f.yaml:3:1: Pod default/web is named twice"),
        (
            f"{policy('podSelector: {}')}\n---\n{policy('podSelector: {}')}",
            "f.yaml:8:1: NetworkPolicy default.web is already at f.yaml:1",
        ),
        (
            policy("podSelector: {}"),
            "f.yaml: expected workloads, found none: rules alone do not say between whom they are",
        ),
    ],
)
def test_bad_input_is_named_with_its_place(document: str, problem: str) -> None:
    """File, line, column, key, and what was expected."""
    with pytest.raises(InputError) as caught:
        load(document)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("documents", "loss"),
    [
        (
            (POD, "{apiVersion: v1, kind: Pod, metadata: {name: node-agent}, spec: {hostNetwork: true}}"),
            "f.yaml:3:1: Pod default/node-agent is in its node's network, where no NetworkPolicy selects it: "
            "it is left out",
        ),
        (
            (POD, policy("podSelector: {matchLabels: {app: later}}")),
            "f.yaml:3:1: selects none of the pods given: nothing is said of such that come later",
        ),
        (
            (POD, policy("ingress: [{from: [{podSelector: {matchLabels: {app: later}}}]}]")),
            "f.yaml:7:21: spec.ingress[0].from[0]: fits none of the pods given: nothing is opened for such that come "
            "later",
        ),
        (
            (POD, policy("ingress: [{ports: [{port: http}]}]")),
            "f.yaml:7:22: spec.ingress[0].ports[0]: no container port is named 'http' for TCP in default/web: "
            "closed there",
        ),
        (
            (POD, policy("egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: http}]}]")),
            "f.yaml:7:58: spec.egress[0].ports[0]: what port 'http' is outside is not known: closed there",
        ),
        (
            (POD, CLIENT, policy("ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]")),
            "f.yaml:9:21: spec.ingress[0].from[0]: the labels of namespace default, dev are not given: "
            "taken as none that this asks for",
        ),
        (
            (POD, "{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: x}}"),
            "f.yaml:3:1: 'Deployment' of 'apps/v1beta1' is not understood, only apps/v1: it is left out",
        ),
    ],
)
def test_what_cannot_be_expressed_is_named(documents: tuple[str, ...], loss: str) -> None:
    """Every loss has a place and says what became of it: none of these opens anything."""
    imported = load(*documents)
    assert loss in lost(imported)
    assert not imported.opens
    assert loss.split(": ")[-1][:30] in imported.policy_text.replace("\n#   ", " ")


@pytest.mark.parametrize(
    "header",
    [
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: x}}",
        "{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: x}}",
        "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: x}}",
        "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: BaselineAdminNetworkPolicy, metadata: {name: default}}",
        "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: x}}",
        "{apiVersion: extensions/v1beta1, kind: NetworkPolicy, metadata: {name: x}}",
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: x}}",
    ],
)
def test_policies_that_are_not_understood_may_open(header: str) -> None:
    """What another kind of policy forbids would not be forbidden: the import says so."""
    assert load(POD, header).opens


def test_pods_without_any_policy_are_named() -> None:
    """All that is given is open then: perhaps a file was forgotten."""
    assert "no NetworkPolicy is given: everything passes" in load(POD).notes


def test_not_known_labels_of_a_namespace_never_fit() -> None:
    """NotIn holds where there is no label, but whether there is one is not known."""
    spec = "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}]"
    verdicts = Verdicts(load(POD, CLIENT, policy(spec)), "Pod")
    assert not verdicts.may("dev/client", "default/web", 6, 80)


def test_addresses_of_pods_in_a_block() -> None:
    """Whether a block means pods differs from network to network: it does not unless that is said, and it is named."""
    client = CLIENT.replace("}}}", "}}, status: {podIP: 10.0.0.7, podIPs: [{ip: 10.0.0.7}, {ip: '2001:db8::7'}]}}")
    other = client.replace("client", "other").replace("::7", "::8").replace("10.0.0.7", "10.1.0.7")
    spec = "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]"
    text = "\n---\n".join((POD, client, other, policy(spec)))
    closed = import_kubernetes({"f.yaml": text})
    assert any("holds addresses of pods" in one and "dev/client" in one for one in lost(closed))
    assert not Verdicts(closed, "Pod").may("dev/client", "default/web", 6, 80)
    opened = import_kubernetes({"f.yaml": text}, blocks_hold_pods=True)
    assert lost(opened) == []
    assert Verdicts(opened, "Pod").may("dev/client", "default/web", 6, 80)
    assert not Verdicts(opened, "Pod").may("dev/other", "default/web", 6, 80)
    assert Verdicts(opened).may("10.0.0.9", "10.0.0.9", 6, 80) is False


def test_lists_of_one_kind_need_no_kind_in_their_items() -> None:
    """The API itself answers so, and kubectl with a List of everything."""
    items = [{"metadata": {"name": "web", "labels": {"app": "web"}}}, {"metadata": {"name": "client"}}]
    text = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
    assert set(import_kubernetes({"pods.json": text}).workloads) == {"Pod default/web", "Pod default/client"}


def test_characters_beyond_the_first_plane_in_json() -> None:
    r"""JSON has them as two escapes, which YAML does not know; a backslash before `\u` is one itself."""
    labels = {"app": "web"}
    item = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "labels": labels, "annotations": {"a": "😀"}},
    }
    assert "\\ud83d" in json.dumps(item)
    assert "Pod default/web" in import_kubernetes({"f.json": json.dumps(item)}).workloads
    assert (
        "Pod default/web"
        in import_kubernetes({"f.json": json.dumps(item).replace("\\ud83d\\ude00", "\\\\ud83d\\\\ude00")}).workloads
    )


def test_templates_stand_for_pods_that_are_not_there() -> None:
    """A Deployment whose pods are given is not a workload beside them, nor an old ReplicaSet; one without pods is."""

    def template(kind: str, name: str, labels: str, owner: str = "", version: str = "apps/v1") -> str:
        inner = f"{{template: {{metadata: {{labels: {labels}}}}}}}"
        spec = f"{{jobTemplate: {{spec: {inner}}}}}" if kind == "CronJob" else inner
        return f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}{owner}}}, spec: {spec}}}"

    def owned(kind: str, name: str) -> str:
        return f", ownerReferences: [{{kind: {kind}, name: {name}, controller: true}}]"

    def pod(name: str, app: str, owner: str) -> str:
        return f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {app}}}{owner}}}}}"

    imported = load(
        template("Deployment", "web", "{app: web}"),
        template("ReplicaSet", "web-1", "{app: web}", owned("Deployment", "web")),
        template("ReplicaSet", "web-2", "{app: web}", owned("Deployment", "web")),
        pod("web-2-x", "web", owned("ReplicaSet", "web-2")),
        template("Deployment", "api", "{app: api}"),
        pod("api-1-x", "api", owned("ReplicaSet", "api-1")),
        template("StatefulSet", "db", "{app: db}"),
        template("Deployment", "db", "{app: proxy}"),
        template("CronJob", "backup", "{app: backup}", version="batch/v1"),
        template("Job", "backup-1", "{app: backup}", owned("CronJob", "backup"), version="batch/v1"),
        "{apiVersion: v1, kind: Pod, metadata: {name: done}, status: {phase: Succeeded}}",
    )
    assert dict(imported.workloads) == {
        "Pod default/web-2-x": "default.web-2-x",
        "Pod default/api-1-x": "default.api-1-x",
        "StatefulSet default/db": "default.db.statefulset",
        "Deployment default/db": "default.db.deployment",
        "CronJob default/backup": "default.backup",
    }
    assert "1 pods have ended, and are left out" in imported.notes


def test_names_say_where_rules_come_from() -> None:
    """One segment for all that nothing tells apart, called after what selectors ask for; rules after policies."""
    pods = [POD, CLIENT, *(POD.replace("name: web", f"name: web-{number}") for number in range(3))]
    imported = load(*pods, policy("podSelector: {matchLabels: {app: web}}\n  ingress: [{ports: [{port: 80}]}]"))
    assert sorted(imported.policy.segments) == ["default.web", "dev.client"]
    identifiers = [rule.id for rule in imported.policy.rules]
    assert identifiers == ["open", "default.web", "open-out", "open-in", "default.web-in"]
    assert "# ingress of NetworkPolicy default/web" in imported.policy_text


def test_names_and_labels_that_do_not_fit() -> None:
    """Long names are shortened and stay apart; labels that identities cannot have are left out and named."""
    long = "a" * 80
    labels = "{app: web, empty: '', 'example.org/" + "k" * 60 + "': v, zethane/segment: other}"
    one = f"{{apiVersion: v1, kind: Pod, metadata: {{name: {long}-1, labels: {labels}}}}}"
    imported = load(one, one.replace(f"{long}-1", f"{long}-2"), policy("podSelector: {}", long + "b"))
    names = list(imported.workloads.values())
    assert len(set(names)) == 2
    assert all(len(name) <= 63 for name in names)
    assert any("labels that identities cannot have" in note and "empty" in note for note in imported.notes)


def test_command_writes_a_topology_that_passes_its_check(tmp_path: Path) -> None:
    """Both files, once; and `policy check` accepts them."""
    source, folder = tmp_path / "cluster.yaml", tmp_path / "out"
    source.write_text("\n---\n".join((POD, CLIENT, policy("podSelector: {}\n  ingress: [{ports: [{port: 80}]}]"))))
    run = CliRunner().invoke(app, ["import", "kubernetes", str(source), "-o", str(folder)])
    assert (run.exit_code, sorted(file.name for file in folder.iterdir())) == (0, ["identities.yaml", "policy.yaml"])
    assert CliRunner().invoke(app, ["check", str(folder)]).exit_code == 0
    before = (folder / "policy.yaml").read_text()
    (folder / "policy.yaml").write_text(before + "# mine\n")
    again = CliRunner().invoke(app, ["import", "kubernetes", str(source), "-o", str(folder)])
    assert again.exit_code == 2
    assert "is there already; --force writes over it" in again.output
    assert (folder / "policy.yaml").read_text() == before + "# mine\n"
    assert CliRunner().invoke(app, ["import", "kubernetes", str(source), "-o", str(folder), "--force"]).exit_code == 0
    assert (folder / "policy.yaml").read_text() == before


def test_command_says_what_is_lost(tmp_path: Path) -> None:
    """Status 1 for a loss, 0 when it is accepted; what opens is not written before it is accepted."""
    source, folder = tmp_path / "cluster.yaml", tmp_path / "out"
    source.write_text(f"{POD}\n---\n{policy('podSelector: {matchLabels: {app: later}}')}")
    arguments = ["import", "kubernetes", str(source), "--json", "-o", str(folder)]
    run = CliRunner().invoke(app, arguments)
    answer = json.loads(run.stdout)
    assert (run.exit_code, len(answer["written"]), len(answer["losses"])) == (1, 2, 1)
    assert answer["losses"][0] | {"file": ""} == {
        "message": "selects none of the pods given: nothing is said of such that come later",
        "opens": False,
        "file": "",
        "line": 3,
        "column": 1,
        "key": "",
    }
    assert CliRunner().invoke(app, [*arguments, "--accept-losses", "--force"]).exit_code == 0
    source.write_text(f"{POD}\n---\n{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: x}}}}")
    refused = CliRunner().invoke(app, ["import", "kubernetes", str(source), "-o", str(tmp_path / "new")])
    assert refused.exit_code == 1
    assert not (tmp_path / "new").exists()
    accepted = CliRunner().invoke(
        app, ["import", "kubernetes", str(source), "-o", str(tmp_path / "new"), "--accept-losses"]
    )
    assert accepted.exit_code == 0
    assert (tmp_path / "new" / "policy.yaml").exists()


def test_command_makes_a_policy_to_look_on_first() -> None:
    """`--audit`: what it would deny is in the log, and passes."""
    run = CliRunner().invoke(app, ["import", "kubernetes", "-", "--audit"], input=POD)
    assert "\nversion: 1\nstage: audit\n" in run.stdout


def test_command_reads_standard_input_and_prints_the_policy() -> None:
    """`kubectl get … -o yaml | zethane policy import kubernetes -`."""
    run = CliRunner().invoke(app, ["import", "kubernetes", "-"], input=POD)
    assert run.exit_code == 0
    assert "segments:\n" in run.stdout
    assert CliRunner().invoke(app, ["import", "kubernetes", "-"], input="{").exit_code == 2

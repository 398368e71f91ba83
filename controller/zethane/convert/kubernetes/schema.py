"""The objects of Kubernetes' API that are read, as far as they are (API reference, v1 and networking.k8s.io/v1).

A NetworkPolicy is read strictly: a key that is not known here may forbid something. Of the others only what policy
selects on counts. Keys without a value are taken away before: to Kubernetes they are as good as not there.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from zethane.document import Model
from zethane.net.prefix import MAX_TEXT

MAX_LIST = 4096
MAX_LABELS = 1024

LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
"""A DNS subdomain of at most 253 characters, `/`, and a name of at most 63."""
LabelValue = Annotated[str, StringConstraints(max_length=63)]
ObjectName = Annotated[str, StringConstraints(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$")]
NamespaceName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
PortName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$")]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Protocol = Literal["TCP", "UDP", "SCTP"]


Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)]


class Loose(BaseModel):
    """Only some of the object's keys are known here."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class Requirement(Model):
    """`matchExpressions`: what is asked of one label."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[LabelValue, ...], Field(max_length=MAX_LIST)] = ()

    @model_validator(mode="after")
    def _fits(self) -> Requirement:
        if (self.operator in ("In", "NotIn")) != bool(self.values):
            raise ValueError("expected values with In and NotIn, and none with Exists and DoesNotExist")
        return self


class Selector(Model):
    """LabelSelector: all that it names has to hold; one that names nothing fits everything."""

    match_labels: Annotated[Labels, Field(alias="matchLabels")] = Field(default_factory=dict)
    match_expressions: Annotated[tuple[Requirement, ...], Field(alias="matchExpressions", max_length=MAX_LIST)] = ()


class Block(Model):
    """IPBlock: the addresses of `cidr` without those of `except`."""

    cidr: Annotated[str, StringConstraints(max_length=MAX_TEXT)]
    exceptions: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=MAX_TEXT)], ...], Field(alias="except", max_length=MAX_LIST)
    ] = ()


class Peer(Model):
    """NetworkPolicyPeer: pods, or addresses."""

    pods: Annotated[Selector | None, Field(alias="podSelector")] = None
    namespaces: Annotated[Selector | None, Field(alias="namespaceSelector")] = None
    block: Annotated[Block | None, Field(alias="ipBlock")] = None

    @model_validator(mode="after")
    def _one_kind(self) -> Peer:
        chosen = self.pods is not None or self.namespaces is not None
        if chosen == (self.block is not None):
            raise ValueError("expected either podSelector, namespaceSelector or both, or ipBlock alone")
        return self


class PolicyPort(Model):
    """NetworkPolicyPort: a port by number or name, a range of ports, or all ports of the protocol."""

    protocol: Protocol = "TCP"
    port: PortNumber | PortName | None = None
    end: Annotated[PortNumber | None, Field(alias="endPort")] = None

    @model_validator(mode="after")
    def _range(self) -> PolicyPort:
        if self.end is not None and (not isinstance(self.port, int) or self.end < self.port):
            raise ValueError("expected endPort only beside a port by number, and not below it")
        return self


Peers = Annotated[tuple[Peer, ...], Field(max_length=MAX_LIST)]
Ports = Annotated[tuple[PolicyPort, ...], Field(max_length=MAX_LIST)]


class Ingress(Model):
    """NetworkPolicyIngressRule: no sources mean all sources, no ports mean all traffic."""

    peers: Annotated[Peers, Field(alias="from")] = ()
    ports: Ports = ()


class Egress(Model):
    """NetworkPolicyEgressRule: no targets mean all targets, no ports mean all traffic."""

    peers: Annotated[Peers, Field(alias="to")] = ()
    ports: Ports = ()


class PolicySpec(Model):
    """NetworkPolicySpec."""

    pods: Annotated[Selector, Field(alias="podSelector")] = Selector()
    ingress: Annotated[tuple[Ingress, ...], Field(max_length=MAX_LIST)] = ()
    egress: Annotated[tuple[Egress, ...], Field(max_length=MAX_LIST)] = ()
    types: Annotated[tuple[Literal["Ingress", "Egress"], ...], Field(alias="policyTypes", max_length=2)] = ()


class OwnerReference(Loose):
    """Who made an object."""

    kind: Annotated[str, StringConstraints(max_length=63)]
    name: Annotated[str, StringConstraints(max_length=253)]
    controller: bool | None = None


class Metadata(Loose):
    """ObjectMeta. A policy or pod without a namespace is in the one named `default`."""

    name: ObjectName
    namespace: NamespaceName = "default"
    labels: Labels = Field(default_factory=dict)
    owners: Annotated[tuple[OwnerReference, ...], Field(alias="ownerReferences", max_length=64)] = ()


class NetworkPolicy(Loose):
    """networking.k8s.io/v1 NetworkPolicy."""

    metadata: Metadata
    spec: PolicySpec = PolicySpec()


class Namespace(Loose):
    """v1 Namespace: its labels. The API server gives each one `kubernetes.io/metadata.name`."""

    metadata: Metadata


class ContainerPort(Loose):
    """A port that a container says it has; its name is what policies may call it."""

    name: PortName | None = None
    number: Annotated[PortNumber, Field(alias="containerPort")]
    protocol: Protocol = "TCP"


class Container(Loose):
    """A container's ports. An init container with `restartPolicy: Always` runs beside the others."""

    ports: Annotated[tuple[ContainerPort, ...], Field(max_length=MAX_LIST)] = ()
    restart: Annotated[str | None, Field(alias="restartPolicy", max_length=63)] = None


Containers = Annotated[tuple[Container, ...], Field(max_length=256)]


class PodSpec(Loose):
    """PodSpec."""

    containers: Containers = ()
    init: Annotated[Containers, Field(alias="initContainers")] = ()
    host_network: Annotated[bool | None, Field(alias="hostNetwork")] = None


class PodAddress(Loose):
    """One address of a pod."""

    ip: Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class PodStatus(Loose):
    """PodStatus."""

    phase: Annotated[str | None, Field(max_length=63)] = None
    ip: Annotated[str | None, Field(alias="podIP", max_length=MAX_TEXT)] = None
    addresses: Annotated[tuple[PodAddress, ...], Field(alias="podIPs", max_length=64)] = ()


class Pod(Loose):
    """v1 Pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class TemplateMetadata(Loose):
    """What the pods of a template are labelled with."""

    labels: Labels = Field(default_factory=dict)


class Template(Loose):
    """PodTemplateSpec."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec = PodSpec()


class ControllerSpec(Loose):
    """What makes pods of a template."""

    template: Template


class Controller(Loose):
    """apps/v1 Deployment, StatefulSet, DaemonSet and ReplicaSet, batch/v1 Job."""

    metadata: Metadata
    spec: ControllerSpec


class JobTemplate(Loose):
    """JobTemplateSpec."""

    spec: ControllerSpec


class CronJobSpec(Loose):
    """CronJobSpec."""

    job: Annotated[JobTemplate, Field(alias="jobTemplate")]


class CronJob(Loose):
    """batch/v1 CronJob."""

    metadata: Metadata
    spec: CronJobSpec


class Header(Loose):
    """What kind of object a document is."""

    version: Annotated[str, Field(alias="apiVersion", max_length=317)]
    kind: Annotated[str, StringConstraints(max_length=63)]

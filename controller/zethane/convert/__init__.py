"""Policy from and for other systems: what Kubernetes and OpenStack say, as a policy; a policy, for nftables. Pure.

What cannot be expressed is a loss with a name. Nothing is opened for want of an expression.
"""

from zethane.convert.imported import Imported
from zethane.convert.kubernetes import import_kubernetes
from zethane.convert.loss import Loss
from zethane.convert.nftables import Exported, Known, export_nftables
from zethane.convert.openstack import import_openstack

__all__ = ["Exported", "Imported", "Known", "Loss", "export_nftables", "import_kubernetes", "import_openstack"]

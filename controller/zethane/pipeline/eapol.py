"""EAPOL in the table `port`: up to the controller where hosts authenticate by IEEE 802.1X, and no further.

At all other ports it is one of the EtherTypes that no host may send.
"""

from __future__ import annotations

from collections.abc import Iterator

from zethane.net.eapol import ETH_EAPOL, PAE_GROUP
from zethane.pipeline.fields import Reason, cookie, protocol_meter
from zethane.pipeline.flow import Flow, ToController, match
from zethane.pipeline.tables import Priority, Table

AUTHENTICATOR_MAC = 0x027A65746803
"""The source of what the authenticator sends: locally administered, nobody's card. Supplicants may answer to it."""


def supplicants(port: int) -> Iterator[Flow]:
    """What supplicants behind a port say to the PAE group address, or to the authenticator itself."""
    for destination in (int.from_bytes(PAE_GROUP, "big"), AUTHENTICATOR_MAC):
        yield Flow(
            Table.PORT,
            Priority.PORT_EAPOL,
            match(in_port=port, vlan_vid=0, eth_type=ETH_EAPOL, eth_dst=destination),
            cookie(0, 0, Reason.EAPOL),
            actions=(ToController(),),
            meter=protocol_meter(port),
        )

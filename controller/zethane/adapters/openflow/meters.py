"""A switch's meters, made to be as they should be (OpenFlow 1.3.5 §7.3.4.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.requests import Requests
from zethane.adapters.openflow.writer import Writer
from zethane.service.switch import MeterState

_ADD, _MODIFY, _DELETE = 0, 1, 2


class Meters:
    """Of one connection."""

    def __init__(self, writer: Writer, requests: Requests) -> None:
        self._writer = writer
        self._requests = requests

    async def set(self, meters: Mapping[int, tuple[int, int]], stale: Collection[int]) -> dict[int, MeterState]:
        """Make meters be like this: id to (packets per second, burst); and remove the `stale` ones.

        All others are left alone. Returns what was wrong. Raises ChannelError.
        """
        present = decode.read_meters(await self._requests.ask(encode.meter_config_request))
        wrong: dict[int, MeterState] = {}
        for meter, (rate, burst) in meters.items():
            if present.get(meter) != (rate, burst):
                wrong[meter] = "altered" if meter in present else "missing"
                self._modify(_MODIFY if meter in present else _ADD, meter, rate, burst)
        for meter in sorted(present.keys() & {*stale}):
            wrong[meter] = "stale"
            self._modify(_DELETE, meter, 0, 0)
        await self._requests.barrier()
        return wrong

    def _modify(self, command: int, meter: int, rate: int, burst: int) -> None:
        self._writer.send(encode.meter_mod(command, meter, rate, burst, self._writer.next_xid()))

    async def read_drops(self) -> dict[int, int]:
        """Packets that each meter has left out since it was made. Raises ChannelError."""
        return decode.read_meter_drops(await self._requests.ask(encode.meter_stats_request))

"""A site with somebody who signs, for the tests of what others report of sessions and devices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fakes.issuer import Issuer, issuer
from fakes.signals_site import NOW, SignalsSite, signals_site


@pytest.fixture
def signer() -> Iterator[Issuer]:
    with issuer() as made:
        yield made


@pytest.fixture
async def here(signer: Issuer, tmp_path: Path) -> AsyncIterator[SignalsSite]:
    async with signals_site(signer, NOW, tmp_path) as made:
        yield made

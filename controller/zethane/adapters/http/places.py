"""The places for connections, and how many of them one address may take."""

from __future__ import annotations

from collections import Counter


class Places:
    """Counts live connections. One is counted from the moment it is accepted, before TLS or HTTP have begun."""

    def __init__(self, total: int, per_remote: int) -> None:
        self._total = total
        self._per_remote = per_remote
        self._taken: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, remote: str) -> bool:
        """Take a place for an address; False if there is none for it."""
        if self._count >= self._total or self._taken[remote] >= self._per_remote:
            if not self._taken[remote]:
                del self._taken[remote]
            return False
        self._taken[remote] += 1
        self._count += 1
        return True

    def free(self, remote: str) -> None:
        """Give a place back that was taken."""
        self._taken[remote] -= 1
        self._count -= 1
        if not self._taken[remote]:
            del self._taken[remote]

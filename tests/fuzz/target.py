"""What a target is: a property of one parser, as a function of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""Inputs that once showed something, a folder for each target."""

Check = Callable[[bytes], None]
"""Raises if the parser breaks its property on these bytes. What the parser may raise, the check expects itself."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser under test. `seeds` are valid inputs by name; inputs longer than `max_length` bytes teach nothing."""

    name: str
    check: Check
    seeds: Callable[[], dict[str, bytes]]
    max_length: int = 2048

    def corpus(self) -> Iterator[tuple[str, bytes]]:
        """The names and bytes of the seeds and of all that was kept."""
        yield from self.seeds().items()
        for path in sorted((CORPUS / self.name).glob("*")):
            yield path.name, path.read_bytes()

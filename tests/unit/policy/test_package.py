"""The package's own map: every module has a place on it, and nothing else has."""

from __future__ import annotations

import pkgutil
import re

import zethane.policy


def test_the_map_names_every_module_and_nothing_else() -> None:
    named = re.findall(r"`(\w+)`", zethane.policy.__doc__ or "")
    modules = sorted(module.name for module in pkgutil.iter_modules(zethane.policy.__path__))
    assert sorted(set(named)) == modules

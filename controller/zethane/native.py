"""Modules that are compiled: used where they were built, left alone where ZETHANE_PURE=1 says so.

Each has a twin in Python that does the same; tests hold the two together.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

PURE = "ZETHANE_PURE"
"""The environment variable that keeps compiled modules from being used, if it is neither empty nor 0."""

HOT_PATH = "zethane.adapters.openflow.fast_path"
"""The module with the compiled half of the hot path."""


def native(name: str) -> Any:
    """The compiled module of this name; None if it was not built, or Python alone is wanted."""
    if os.environ.get(PURE, "0") not in ("", "0"):
        return None
    try:
        return import_module(name)
    except ImportError:
        return None

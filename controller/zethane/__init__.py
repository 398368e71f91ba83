"""Zethane: zero-trust microsegmentation for Open vSwitch."""

__version__ = "0.1.0"

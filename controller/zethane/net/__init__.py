"""Addresses, frames and flow keys: bytes to values. Pure."""

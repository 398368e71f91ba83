"""Principals, credentials and sessions. Pure."""

"""Recorded traffic held against a policy: packets in, flows and verdicts out."""

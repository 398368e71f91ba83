"""Composition: settings, wiring, the event loop."""

"""RADIUS over UDP: authentication, accounting, and dynamic authorization."""

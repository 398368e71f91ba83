"""Shared signals (OpenID SSF 1.0, CAEP 1.0): what a Security Event Token says, whom it is about, what follows. Pure."""

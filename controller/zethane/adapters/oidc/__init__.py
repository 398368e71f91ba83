"""OpenID providers: what the controller says to them, and how their tokens are checked."""

"""Decision records. Pure."""

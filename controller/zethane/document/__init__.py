"""YAML text to validated models, with the position of every value. Pure."""

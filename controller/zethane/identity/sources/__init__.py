"""sources.yaml: the systems outside that say who somebody is, and how long their word holds. Pure."""

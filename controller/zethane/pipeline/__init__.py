"""The OpenFlow tables of an enforcement point: declared, compiled, simulated. Pure."""

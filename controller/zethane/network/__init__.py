"""The network description of a topology: switches, links, hosts, portal, and the port plan. Pure."""

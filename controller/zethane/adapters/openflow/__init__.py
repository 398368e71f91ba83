"""The OpenFlow channel: the only package that imports os_ken."""

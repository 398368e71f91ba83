"""Traffic replayed in the lab: scenarios of crafted traffic with what is to come of it, and captures, rewritten for the
lab's hosts.

Both build the network of a topology, log its hosts in, send, and judge by captures at every host.
"""

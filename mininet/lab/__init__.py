"""The lab: a topology as a Mininet network on Open vSwitch, under Zethane's control.

network     builds the network and takes down exactly what it built
legacy      switches without Zethane between a port and several hosts, or hosts with a VLAN
openvswitch talks to the daemons; ledger remembers what was made; names keeps runs apart
processes   the controller and the portal
doors       logs hosts in: login at the portal, codes are their second factors; supplicant below IP
sources     who vouches for hosts during a run: freeradius, and certificates
servers     dnsmasq for the network's own DHCP and DNS; addressing lets hosts get their addresses from it
agent/      runs inside a host: serves, probes and listens; prober drives the agents
verdicts    what was observed against what the policy says; view and report show it
stream      numbered packets with times, to prove when traffic stopped and what was lost
command     ./run lab; prompt is Mininet's prompt with Zethane's words, tables are what both show
"""

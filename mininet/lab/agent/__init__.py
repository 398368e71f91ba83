"""The lab's process inside a host. Standard library only, so that a host starts one in a few milliseconds.

It reads commands as JSON lines and answers in any order, by `id`:

{"id": 1, "do": "serve", "addresses": [IP, …], "services": [[PROTO, PORT], …]}
{"id": 2, "do": "probe", "proto": "tcp", "source": IP, "target": IP, "port": 443, "timeout": 2.5}
{"id": 3, "do": "seen"}      what arrived: [[PROTO, SOURCE, TARGET, PORT], …]
{"id": 4, "do": "forget"}    what arrived until now

The end of its standard input ends it. `dhcp` beside it is a DHCP client, which runs once and says what it got.
"""

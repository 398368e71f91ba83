"""The attacks: what a hostile host tries on a running network, watched with captures as evidence.

scenario    an attack as a value, and the registry; scenarios/ has them, a module per group
cast        who plays which part in a topology, by its policy
arena       the running network with taps on every cable; trial is one attempt in it
evidence    what is known after an attempt, and the judges that say what of it got through
runner      tries, collects, judges, and makes sure that nobody else was harmed
coverage    the list of what has to be covered, and by which scenarios it is
capture     AF_PACKET taps; namespace runs code inside a host; frames builds frames with scapy
command     ./run attack; view shows the results
"""

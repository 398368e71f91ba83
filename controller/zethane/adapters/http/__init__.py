"""HTTP to the outside: a server that bounds everything its clients can draw out, and a client that fetches JSON."""

"""A client of OVSDB (RFC 7047): what the platform says about the interfaces of its bridges."""

"""Pictures and pages of a policy as text: SVG and HTML. Values in, text out; everything from a file is escaped."""

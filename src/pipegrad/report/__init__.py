"""Pictures and tables for people: text, rich, SVG and HTML."""

"""Display of graphs as text, rich tables, SVG and HTML."""

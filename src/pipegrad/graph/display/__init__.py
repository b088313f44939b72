"""Graphs for people: text, rich tables, SVG and HTML."""

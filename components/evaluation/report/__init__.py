"""The HTML report of an evaluation: one self-contained file, plots as inline SVG."""

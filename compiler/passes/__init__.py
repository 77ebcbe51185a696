"""Passes over the graph: one file each, one registry grouped by phase."""

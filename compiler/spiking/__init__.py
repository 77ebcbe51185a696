"""Spiking networks: description, lowering to the graph, and programs for the spiking core."""

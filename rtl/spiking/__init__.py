"""The spiking core in Amaranth."""

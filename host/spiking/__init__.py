"""Loading, running and reading back a spiking core over the link."""

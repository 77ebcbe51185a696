"""Ways to look at networks: what a spiking network is made of, what it does on data, and where two networks differ."""

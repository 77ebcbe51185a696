"""Example networks: one folder per network, and the training kit they share."""

"""Bit-exact simulation: the reference interpreter, which defines the graph, and fast engines with the same bits."""

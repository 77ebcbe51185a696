"""Readers of trained networks, and writers of exchange files."""

"""Gated networks on devices: which engine, loading, running."""

"""NIR files and graphs to spiking networks: ``load_nir`` (graph) and ``import_nir`` (network)."""

from .importer import import_nir, load_nir

__all__ = ["import_nir", "load_nir"]

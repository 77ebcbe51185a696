"""Live snnTorch modules to spiking networks: ``load_snntorch`` (graph) and ``import_snntorch`` (network).

Modules are read, never exported: snnTorch's NIR export loses the reset rule. torch is imported only when a module comes.
"""

from .importer import import_snntorch, load_snntorch

__all__ = ["import_snntorch", "load_snntorch"]

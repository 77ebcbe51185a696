"""ONNX out: writing logic networks as files that stock runtimes run."""

from .writer import LogicModelWriter, Value

__all__ = ["LogicModelWriter", "Value"]

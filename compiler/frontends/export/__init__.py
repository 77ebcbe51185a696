"""ONNX out: logic and spiking networks as files that stock runtimes run, written by hand or from live objects."""

from .dispatch import export
from .evaluate import evaluate
from .model_under_way import Value
from .writer import LogicModelWriter

__all__ = ["LogicModelWriter", "Value", "evaluate", "export"]

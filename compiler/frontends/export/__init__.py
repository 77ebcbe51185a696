"""ONNX out: logic networks as files that stock runtimes run, written by hand or from torch modules."""

from .evaluate import evaluate
from .model_under_way import Value
from .torch_modules import export
from .writer import LogicModelWriter

__all__ = ["LogicModelWriter", "Value", "evaluate", "export"]

"""Fixtures of the examples' tests: the one for tools that may be absent is that of the main test suite."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # behind everything else: the examples import each other as examples.<folder>


def _main_conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("neuroloom_tests_conftest", ROOT / "tests" / "conftest.py")
    if spec is None or spec.loader is None:
        raise ImportError("tests/conftest.py must be readable")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


require_tool = _main_conftest().require_tool


@pytest.fixture(scope="session")
def onnx_scores(require_tool):
    """Return ``scores(path, images) -> (scores, labels)``: stock onnxruntime, one thread, 250 images at a time."""
    require_tool("onnxruntime")
    import numpy as np
    import onnxruntime

    def run(path: Path, images: np.ndarray, input_name: str = "image") -> tuple[np.ndarray, np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        parts = [
            session.run(["scores", "label"], {input_name: images[start : start + 250]})
            for start in range(0, len(images), 250)
        ]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    return run

"""Other engines on the same network, each from images uint8 [N, 784] to classes int64 [N], on one core.

difflogic 0.1.0 installs only where CUDA is, and torchlogix 0.2.2 imports only from Python 3.12 on; where they are missing,
difflogic's compiled engine is stood in for by C of the same form, generated here: one assignment per gate on 64-bit words,
inputs packed and group sums counted bit by bit, built by gcc.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Classify = Callable[[np.ndarray], np.ndarray]


class Layers:
    """A network of :func:`bench.networks.random_onnx`'s form, read back into arrays."""

    def __init__(self, path: Path) -> None:
        from examples.training.onnx_file import read

        encoder, *tables, groups = read(path).layers
        self.thresholds = np.asarray(encoder.thresholds).reshape(784, -1)
        self.indices = [t.indices for t in tables]
        self.tables = [(t.tables.astype(np.int64) << np.arange(4)).sum(axis=1) for t in tables]
        self.groups = groups.groups

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Thermometer bits bool [N, 784 * T], feature-major."""
        return (images[:, :, None] >= self.thresholds.astype(np.int16)).reshape(len(images), -1)


def onnxruntime(path: Path) -> Classify:
    """Stock onnxruntime on the same file, one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def classify(images: np.ndarray) -> np.ndarray:
        parts = [session.run(["label"], {"image": images[i : i + 64]})[0] for i in range(0, len(images), 64)]
        return np.concatenate(parts)

    return classify


_OPERATIONS: dict[int, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    0: lambda a, b: np.zeros_like(a),
    1: lambda a, b: ~(a | b),
    2: lambda a, b: a & ~b,
    3: lambda a, b: ~b,
    4: lambda a, b: ~a & b,
    5: lambda a, b: ~a,
    6: lambda a, b: a ^ b,
    7: lambda a, b: ~(a & b),
    8: lambda a, b: a & b,
    9: lambda a, b: ~(a ^ b),
    10: lambda a, b: a,
    11: lambda a, b: a | ~b,
    12: lambda a, b: b,
    13: lambda a, b: ~a | b,
    14: lambda a, b: a | b,
    15: lambda a, b: ~np.zeros_like(a),
}


def numpy_sorted(path: Path, block: int = 512) -> Classify:
    """Plain numpy: gates of a layer sorted by operation, ``block`` samples packed per wire."""
    net = Layers(path)
    plan = [[(op, np.flatnonzero(table == op)) for op in np.unique(table)] for table in net.tables]

    def classify(images: np.ndarray) -> np.ndarray:
        out = np.empty(len(images), np.int64)
        for start in range(0, len(images), block):
            part = images[start : start + block]
            x = np.packbits(net.encode(part).T, axis=1, bitorder="little")
            x = np.ascontiguousarray(np.pad(x, ((0, 0), (0, -x.shape[1] % 8)))).view(np.uint64)
            for indices, runs in zip(net.indices, plan, strict=True):
                h = np.empty((len(indices), x.shape[1]), np.uint64)
                for op, rows in runs:
                    h[rows] = _OPERATIONS[int(op)](x[indices[rows, 0]], x[indices[rows, 1]])
                x = h
            bits = np.unpackbits(x.view(np.uint8), axis=1, count=len(part), bitorder="little")
            out[start : start + block] = bits.reshape(net.groups, -1, len(part)).sum(axis=1).argmax(axis=0)
        return out

    return classify


_EXPRESSIONS = {
    0: "0", 1: "~({a}|{b})", 2: "{a}&~{b}", 3: "~{b}", 4: "~{a}&{b}", 5: "~{a}", 6: "{a}^{b}", 7: "~({a}&{b})",
    8: "{a}&{b}", 9: "~({a}^{b})", 10: "{a}", 11: "{a}|~{b}", 12: "{b}", 13: "~{a}|{b}", 14: "{a}|{b}", 15: "~(W)0",
}  # fmt: skip

_DRIVER = """
void classify(const uint8_t *bits, int32_t *sums, size_t words) {
    W in[INPUTS], out[OUTPUTS];
    for (size_t w = 0; w < words; w++) {
        for (size_t i = 0; i < INPUTS; i++) {
            W word = 0;
            for (size_t n = 0; n < 64; n++) word |= (W)bits[(w * 64 + n) * INPUTS + i] << n;
            in[i] = word;
        }
        net(in, out);
        for (size_t c = 0; c < CLASSES; c++)
            for (size_t n = 0; n < 64; n++) {
                int32_t sum = 0;
                for (size_t i = 0; i < OUTPUTS / CLASSES; i++) sum += out[c * (OUTPUTS / CLASSES) + i] >> n & 1;
                sums[(w * 64 + n) * CLASSES + c] = sum;
            }
    }
}
"""


def straight_line_c(path: Path, folder: Path, optimise: str, piece: int = 0) -> tuple[Classify, float]:
    """gcc's ``optimise`` on one assignment per gate; returns the engine and gcc's seconds.

    ``piece`` 0 is difflogic's form, one function; otherwise functions of that many gates on an array of wires, which
    gcc optimises in linear time.
    """
    net = Layers(path)
    inputs = net.thresholds.size
    first = np.cumsum([inputs, *(len(i) for i in net.indices)])
    lines, below = [], np.arange(inputs)
    for indices, table, start in zip(net.indices, net.tables, first, strict=False):
        for number, (pair, op) in enumerate(zip(below[indices].tolist(), table.tolist(), strict=True)):
            a, b = (_wire(w, inputs, piece) for w in pair)
            target = _wire(start + number, inputs, piece)
            lines.append(f"{'' if piece else 'const W '}{target}={_EXPRESSIONS[op].format(a=a, b=b)};")
        below = np.arange(start, start + len(indices))
    results = "".join(f"out[{k}]={_wire(w, inputs, piece)};\n" for k, w in enumerate(below.tolist()))
    head = "#include <stddef.h>\n#include <stdint.h>\ntypedef uint64_t W;\n"
    head += f"#define INPUTS {inputs}\n#define OUTPUTS {len(below)}\n#define CLASSES {net.groups}\n"
    if piece:
        parts = [lines[i : i + piece] for i in range(0, len(lines), piece)]
        body = "".join(
            f"static __attribute__((noinline)) void p{i}(const W *restrict in, W *restrict g) {{\n"
            + "\n".join(p)
            + "\n}\n"
            for i, p in enumerate(parts)
        )
        calls = "".join(f"p{i}(in,g);" for i in range(len(parts)))
        body += f"static void net(const W *in, W *out) {{ static W g[{first[-1] - inputs}];\n{calls}\n{results}}}\n"
    else:
        body = "static void net(const W *in, W *out) {\n" + "\n".join(lines) + f"\n{results}}}\n"
    stem = f"{path.stem}{optimise}{piece}"  # the loader would return an older library of the same name
    source, library = folder / f"{stem}.c", folder / f"{stem}.so"
    source.write_text(head + body + _DRIVER)
    started = time.perf_counter()
    command = ["gcc", optimise, "-march=native", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=900)
    seconds = time.perf_counter() - started
    run = ctypes.CDLL(str(library)).classify

    def classify(images: np.ndarray) -> np.ndarray:
        words = -(-len(images) // 64)
        bits = np.zeros((words * 64, inputs), np.uint8)
        bits[: len(images)] = net.encode(images)
        sums = np.empty((words * 64, net.groups), np.int32)
        run(bits.ctypes.data_as(ctypes.c_void_p), sums.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(words))
        return sums[: len(images)].argmax(axis=1)

    return classify, seconds


def _wire(number: int, inputs: int, piece: int) -> str:
    if number < inputs:
        return f"in[{number}]"
    return f"g[{number - inputs}]" if piece else f"g{number}"

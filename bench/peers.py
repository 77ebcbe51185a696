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
        thresholds = np.asarray(encoder.thresholds).reshape(784, -1)
        if thresholds.max() > 255:
            raise ValueError(f"thresholds must be bytes, not {thresholds.max()}")
        self.thresholds = thresholds.astype(np.uint8)
        self.indices = [t.indices for t in tables]
        self.tables = [(t.tables.astype(np.int64) << np.arange(4)).sum(axis=1) for t in tables]
        self.groups = groups.groups


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
            columns = np.zeros((784, -(-len(part) // 64) * 64), np.uint8)
            columns[:, : len(part)] = part.T
            bits = columns[:, None] >= net.thresholds[:, :, None]
            x = np.packbits(bits.reshape(-1, columns.shape[1]), axis=1, bitorder="little").view(np.uint64)
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
void net(const W *in, W *out);

void classify(const uint8_t *images, const uint8_t *thresholds, int32_t *sums, size_t words) {
    W in[INPUTS], out[OUTPUTS];
    for (size_t w = 0; w < words; w++, images += 64 * PIXELS) {
        for (size_t f = 0; f < PIXELS; f++)
            for (size_t l = 0; l < LEVELS; l++) {
                W word = 0;
                for (size_t n = 0; n < 64; n++) word |= (W)(images[n * PIXELS + f] >= thresholds[f * LEVELS + l]) << n;
                in[f * LEVELS + l] = word;
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
    """gcc's ``optimise`` on one assignment per gate, -O3 on packing and group sums; returns the engine and gcc's seconds.

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
    sizes = {"INPUTS": inputs, "PIXELS": 784, "LEVELS": inputs // 784, "OUTPUTS": len(below), "CLASSES": net.groups}
    head += "".join(f"#define {name} {size}\n" for name, size in sizes.items())
    if piece:
        parts = [lines[i : i + piece] for i in range(0, len(lines), piece)]
        body = "".join(
            f"static __attribute__((noinline)) void p{i}(const W *restrict in, W *restrict g) {{\n"
            + "\n".join(p)
            + "\n}\n"
            for i, p in enumerate(parts)
        )
        calls = "".join(f"p{i}(in,g);" for i in range(len(parts)))
        body += f"void net(const W *in, W *out) {{ static W g[{first[-1] - inputs}];\n{calls}\n{results}}}\n"
    else:
        body = "void net(const W *in, W *out) {\n" + "\n".join(lines) + f"\n{results}}}\n"
    stem = f"{path.stem}{optimise}{piece}"  # the loader would return an older library of the same name
    library, objects = folder / f"{stem}.so", []
    started = time.perf_counter()
    for part, text, level in (("gates", body, optimise), ("driver", _DRIVER, "-O3")):
        source = folder / f"{stem}.{part}.c"
        source.write_text(head + text)
        objects.append(str(source.with_suffix(".o")))
        command = ["gcc", level, "-march=native", "-fPIC", "-c", "-o", objects[-1], str(source)]
        subprocess.run(command, check=True, timeout=900)
    subprocess.run(["gcc", "-shared", "-o", str(library), *objects], check=True, timeout=60)
    seconds = time.perf_counter() - started
    run = ctypes.CDLL(str(library)).classify

    def classify(images: np.ndarray) -> np.ndarray:
        words = -(-len(images) // 64)
        padded = np.zeros((words * 64, 784), np.uint8)
        padded[: len(images)] = images
        sums = np.empty((words * 64, net.groups), np.int32)
        run(*(ctypes.c_void_p(a.ctypes.data) for a in (padded, net.thresholds, sums)), ctypes.c_size_t(words))
        return sums[: len(images)].argmax(axis=1)

    return classify, seconds


def _wire(number: int, inputs: int, piece: int) -> str:
    if number < inputs:
        return f"in[{number}]"
    return f"g[{number - inputs}]" if piece else f"g{number}"

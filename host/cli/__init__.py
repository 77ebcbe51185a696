"""The command line: one module per command, ``cmd_NAME.py``, listed in :data:`COMMANDS`."""

COMMANDS = {
    "compile": "ONNX, torch, NIR or a described network to .nloom",
    "inspect": "layers, types, ranges, sizes, cycles; spikes and energy on data",
    "simulate": "exact outputs for samples",
    "eval": "accuracy, confusion matrix, first divergences",
    "compare": "where two networks differ",
    "verify": "bit-exactness, rung by rung",
    "build": "bitstream or vendor project, resources, Fmax, latency",
    "emulate": "a virtual board on a serial port",
    "flash": "write images to a board, over its serial port or by cable",
    "run": "answers from a board",
    "load": "a spiking network into a board's core",
    "learn": "samples to a loaded network, which keeps what it learns",
    "readback": "weights from a board",
    "ping": "who is on the port",
    "replay": "a recorded session to a board",
    "report": "one HTML page about a network",
    "boards": "the supported boards",
    "passes": "the compiler's passes",
    "doctor": "tools of this machine; a board's first-day check",
}
"""Commands in the order of ``--help``, with one line each; their modules are imported only when they run."""

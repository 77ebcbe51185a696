"""Starts a WebAssembly tool from PyPI with a larger stack: ``python -P wasm_launcher.py MODULE:FUNCTION ARGUMENTS…``.

Yosys sorts cells recursively, as deep as the longest path through cells and registers; with WebAssembly's default of
2 MiB it dies on designs of a few thousand registers in a row. Run as a script, so that nothing else is imported.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading

STACK_BYTES = 512 << 20
"""Stack of the tool's thread. It is address space only: memory is taken as it is used."""


def _end_with_parent(lifeline: int) -> None:
    """Wait until the other end of the pipe closes: whoever started this tool is gone, and nobody wants its result."""
    try:
        os.read(lifeline, 1)
    except OSError:
        return  # the number is not ours: started by hand from inside another tool's environment
    os._exit(1)


def main() -> int:
    """Run the tool with the remaining arguments and return its status."""
    module, _, function = sys.argv[1].partition(":")
    sys.argv = [module, *sys.argv[2:]]
    lifeline = os.environ.get("NEUROLOOM_LIFELINE")
    if lifeline is not None:
        threading.Thread(target=_end_with_parent, args=(int(lifeline),), daemon=True).start()
    try:
        import wasmtime
    except ImportError:
        pass  # a tool in Python, which needs no larger stack
    else:
        threading.stack_size(STACK_BYTES)
        plain = wasmtime.Config

        def roomy() -> wasmtime.Config:
            config = plain()
            limit = STACK_BYTES - (16 << 20)  # the rest is for the runtime itself
            try:
                # the Python package has no setter for this one, and the stack may not be larger than it
                wasmtime._bindings.dll.wasmtime_config_async_stack_size_set(config.ptr(), ctypes.c_size_t(STACK_BYTES))
                config.max_wasm_stack = limit
            except AttributeError:
                pass  # another version of wasmtime: its default stack must do
            return config

        wasmtime.Config = roomy  # type: ignore[assignment,misc]
    return int(getattr(importlib.import_module(module), function)() or 0)


if __name__ == "__main__":
    sys.exit(main())

"""ABC, run through Yosys: SAT sweeping certified by combinational equivalence checking.

Inside Yosys ABC's messages are not always shown, so every answer comes back as a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from neuroloom.boards import toolchain
from neuroloom.compiler.errors import NeuroloomError

from .aig import Aig, read_outputs

_CARRIER = "module carrier(input a, input b, output y); assign y = a & b; endmodule\n"
"""Yosys runs ABC on a module; ABC's script then leaves it for the files."""


def _abc(commands: Sequence[str], files: dict[str, bytes], wanted: Sequence[str], timeout: float) -> dict[str, bytes]:
    """Run ABC commands in a folder holding ``files``; returns the contents of the ``wanted`` files that appeared."""
    with tempfile.TemporaryDirectory(prefix="neuroloom-") as folder:
        here = Path(folder)
        for name, data in files.items():
            (here / name).write_bytes(data)
        (here / "carrier.v").write_text(_CARRIER)
        (here / "commands.abc").write_text("\n".join(commands) + "\n")
        # Yosys reads ABC's result back from what the script leaves: the carrier, stored first
        script = "read_verilog carrier.v; proc; techmap; abc -script commands.abc"
        toolchain.run("yosys", ["-q", "-p", script], cwd=here, timeout=timeout, check=False)
        return {name: (here / name).read_bytes() for name in wanted if (here / name).is_file()}


def sweep(aig: Aig, outputs: Sequence[int], timeout: float) -> list[int]:
    """For each output literal a number that equal outputs share: 2 * class + phase, 0 and 1 the constants.

    ``&fraig`` merges what it proves equal. What it leaves is certified: the miter of it and of the netlist given must fall to
    constant zeros when it is swept in turn. (``&cec`` does the same with an older engine, which on the 790,000 gates of a
    convolutional network had not finished after seven minutes; natively, sweep and miter together take two.) Raises
    NeuroloomError when ABC gives no such proof.
    """
    commands = [
        "&r given.aig",
        "&fraig -x",
        "&w swept.aig",
        "&r given.aig",
        "&miter swept.aig",
        "&fraig -x",
        "&w miter.aig",
    ]
    found = _abc(commands, {"given.aig": aig.aiger(outputs)}, ("swept.aig", "miter.aig"), timeout)
    if found.keys() != {"swept.aig", "miter.aig"}:
        raise NeuroloomError("ABC must sweep the netlist and its miter, but left no answer")
    left = sum(map(bool, read_outputs(found["miter.aig"], len(aig.inputs), len(outputs))))
    if left:
        raise NeuroloomError(f"ABC must prove its swept netlist equal to the one given, not leave {left} outputs open")
    return read_outputs(found["swept.aig"], len(aig.inputs), len(outputs))


def satisfy(aig: Aig, literal: int, timeout: float) -> list[int] | None:
    """Values of the inputs that make ``literal`` 1, or None when ABC proves that there are none.

    Raises NeuroloomError when it can do neither.
    """
    found = _abc(
        ["read_aiger miter.aig", "iprove", "write_status status.txt", "write_cex -n -f cex.txt"],
        {"miter.aig": aig.aiger([literal])},
        ("status.txt", "cex.txt"),
        timeout,
    )
    lines = found.get("status.txt", b"").decode().splitlines()
    answer = lines[0].split()[0] if lines else "nothing"
    if answer == "snl_UNSAT":
        return None
    bits = [line for line in lines[1:] if line and set(line) <= {"0", "1"} and len(line) == len(aig.inputs)]
    if answer != "snl_SAT" or not bits:
        raise NeuroloomError(f"ABC must prove or refute that two bits are equal, not answer {answer}")
    return [int(c) for c in bits[-1]]

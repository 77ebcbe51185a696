"""A netlist as one flat Verilog module that Verilator and Icarus run: scalar wires, flip-flops grouped by control."""

from __future__ import annotations

from .module import ONE, ZERO, Control, Flop, Module


def write(netlist: Module, module: str, comment: str) -> str:
    """The module's text. Parameter ``SEED`` varies the initial words of memories without content."""
    inputs = [port.input for port in netlist.ports.values() if port.input]
    outputs = [name for port in netlist.ports.values() for name in (port.output, port.enable) if name]
    header = [f"  input wire {name}" for name in inputs] + [f"  output wire {name}" for name in outputs]
    lines = [
        f"// {comment}",
        "`timescale 1ns / 1ps",
        "`default_nettype none",
        f"module {module} #(parameter [31:0] SEED = 32'd1) (",
    ]
    lines.append(",\n".join(header))
    lines.append(");")
    lines += [f"  wire {name};" for name, _ in netlist.wires]
    for group in netlist.flops.values():
        lines += [f"  reg {flop.name} = 1'b{flop.start};" for flop in group]
    lines += netlist.declarations + netlist.blocks
    lines += [f"  assign {name} = {text};" for name, text in netlist.wires]
    for key, group in sorted(netlist.flops.items()):
        lines += _flops(key, group)
    lines += [f"  assign {name} = {text};" for name, text in netlist.outputs]
    lines += ["endmodule", "`default_nettype wire", ""]
    return "\n".join(lines)


def _flops(key: Control, group: list[Flop]) -> list[str]:
    edge, clock, enable, reset, acts = key
    load = " ".join(f"{flop.name} <= {flop.data};" for flop in group)
    preset = " ".join(f"{flop.name} <= 1'b{flop.preset};" for flop in group)
    if enable == ZERO:
        load = ""
    guarded = load if enable == ONE else f"if ({enable}) begin {load} end"
    if acts == "async":
        return [
            f"  always @({edge} {clock} or posedge {reset})",
            f"    if ({reset}) begin {preset} end else begin {guarded} end",
        ]
    if acts == "always":
        guarded = preset if reset == ONE else f"if ({reset}) begin {preset} end else begin {guarded} end"
    elif reset == ONE:
        guarded = preset if enable == ONE else f"if ({enable}) begin {preset} end"
    elif reset != ZERO:
        body = f"if ({reset}) begin {preset} end else begin {load} end"
        guarded = body if enable == ONE else f"if ({enable}) begin {body} end"
    return [f"  always @({edge} {clock}) begin {guarded} end"]

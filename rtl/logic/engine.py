"""The logic engine: a whole network as one pipeline, one inference per clock."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.schedule import Schedule, schedule
from neuroloom.compiler.wire import Field

from . import ops_arith, ops_bits, ops_choose, ops_shape
from .lower import COMPONENTS, Lowered, lower
from .verilog import emit

SUPPORTED = frozenset(COMPONENTS)
"""Operations that the engine has hardware for."""

_FAMILIES = (ops_arith, ops_bits, ops_choose, ops_shape)  # importing them fills the registry


@dataclass(frozen=True)
class Plan:
    """A network ready to be written: its netlist, its schedule and where inputs and outputs lie on the ports."""

    graph: Graph
    lowered: Lowered
    schedule: Schedule

    @property
    def latency(self) -> int:
        """Clock cycles from the edge that takes a sample to the edge at which its answer can be taken."""
        return self.schedule.latency

    @property
    def registers(self) -> int:
        """Flip-flops of the pipeline, those for valid included."""
        return self.schedule.registers + self.latency


def plan(graph: Graph, register_interval: int, *, lut_size: int = 4) -> Plan:
    """Lower and schedule a graph with at most ``register_interval`` LUT levels (of ``lut_size`` inputs) between registers.

    0 puts all logic between the input port and one row of output registers. Raises UnsupportedError for what a spatial
    pipeline cannot do.
    """
    lowered = lower(graph, lut_size=lut_size, interval=register_interval)
    return Plan(graph, lowered, schedule(lowered.netlist.cells(lowered.output_bits), register_interval))


def module_name(graph: Graph) -> str:
    """A Verilog identifier made from the graph's name."""
    word = re.sub(r"\W+", "_", graph.name, flags=re.ASCII).strip("_") or "network"
    return f"nl_{word}"[:60]


def write_verilog(graph: Graph, register_interval: int, *, lut_size: int = 4, name: str | None = None) -> str:
    """The network as one Verilog-2001 module without vendor primitives, for any design; its header documents the ports."""
    return write_plan(plan(graph, register_interval, lut_size=lut_size), name)


def write_plan(ready: Plan, name: str | None = None) -> str:
    """As :func:`write_verilog`, of a network already planned."""
    return emit(ready.lowered, ready.schedule, name or module_name(ready.graph), ready.graph.name)


def _layout(fields: Sequence[Field]) -> data.StructLayout:
    return data.StructLayout(
        {
            f.name: data.ArrayLayout(signed(f.type.width) if f.type.signed else unsigned(f.type.width), f.count)
            for f in fields
        }
    )


class LogicEngine(wiring.Component):
    """A framed graph as a pipeline.

    Latency: ``latency`` clock cycles, from the edge that takes a sample to the edge at which its answer can be taken, as the
    schedule predicts. Throughput: one sample per clock. Back-pressure: while an answer waits (``o.valid`` without
    ``o.ready``) the whole pipeline stands still and ``i.ready`` is low; bubbles are kept. ``i.ready`` depends
    combinationally on ``o.ready``, and ``i.payload`` reaches the first registers through up to ``register_interval`` LUT
    levels.

    Parameters
    ----------
    plan : :class:`Plan`
        From :func:`plan`.

    Members
    -------
    i : ``In(stream.Signature(StructLayout))``
        One sample: a field per input with its elements in row-major order, each as wide as its bounds need.
    o : ``Out(stream.Signature(StructLayout))``
        One answer, likewise.
    reset : ``In(1)``
        Synchronous: drops the samples on their way, as the domain's reset does.

    Attributes
    ----------
    extra_files : ``dict[str, str]``
        Verilog files by name that the component instantiates; synthesise or simulate them with it.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.latency = plan.latency
        text = write_plan(plan, "core")
        # the module is named after its content, so that two engines in one design never meet
        self.module = f"{module_name(plan.graph)}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        self.extra_files = {f"{self.module}.v": text.replace("module core (", f"module {self.module} (", 1)}
        super().__init__(
            {
                "i": In(stream.Signature(_layout(plan.lowered.inputs))),
                "o": Out(stream.Signature(_layout(plan.lowered.outputs))),
                "reset": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        add_file = getattr(platform, "add_file", None)
        if add_file is not None:
            for name, text in self.extra_files.items():
                add_file(name, text)
        m.submodules.core = Instance(
            self.module,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(allow_reset_less=True) | self.reset,
            i_i_valid=self.i.valid,
            o_i_ready=self.i.ready,
            i_i_data=self.i.payload.as_value(),
            o_o_valid=self.o.valid,
            i_o_ready=self.o.ready,
            o_o_data=self.o.payload.as_value(),
        )
        return m

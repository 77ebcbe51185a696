"""Bit Budget and energy of a spiking network on measured activity, from documented constants.

Bit Budget: weight bits × activation bits × time steps, what one synapse may cost in a sample, comparable with quantised networks
without time (Shen et al., *Is Conventional SNN Really Efficient?*, arXiv 2311.10802). Bit operations: the same counted over the
synaptic operations that really happened. The energy follows what STEP counts (spike sparsity, bit widths, memory access) and is
an estimate of arithmetic and memory alone, not a measurement of a board.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from neuroloom.compiler.spiking.recognise import Network

from .activity import Activity
from .network import weight_bits

SPIKE_BITS = 1
"""Activation bits of a spike."""


@dataclass(frozen=True)
class Constant:
    """A number that the estimate stands on, and where it is from."""

    name: str
    value: float
    unit: str
    source: str


HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, 45 nm, 0.9 V"

CONSTANTS = {
    c.name: c
    for c in (
        Constant("addition", 0.1 / 32, "pJ per bit", f"{HOROWITZ}: 32-bit integer addition 0.1 pJ"),
        Constant("multiplication", 3.1 / 1024, "pJ per bit × bit", f"{HOROWITZ}: 32-bit integer multiplication 3.1 pJ"),
        Constant("memory", 10 / 64, "pJ per bit", f"{HOROWITZ}: 64-bit access to an 8 kB memory 10 pJ"),
        Constant("state additions", 2, "per neuron and step", "assumed: current, threshold"),
        Constant("state multiplications", 1, "per neuron and step, 17 bits × state", "assumed: the leak"),
        Constant("state accesses", 2, "per neuron, step and state word", "assumed: one read, one write"),
    )
}
"""Everything the estimate assumes. An FPGA spends more: its routing, clock tree and leakage are not in these figures."""

FACTOR_BITS = 17
"""Bits of a decay factor 0..65536."""

REFERENCE = (
    "for comparison: ODIN (28 nm) 12.7 pJ per synaptic operation, all included; NeuroCoreX 0.305 W at 1,042 steps/s"
)
"""What others report."""


@dataclass(frozen=True)
class Energy:
    """Picojoules per sample, by what they are spent on, and the bit figures of the projections."""

    synapses_pj: float
    weights_pj: float
    neurons_pj: float
    states_pj: float
    bit_budget: dict[str, int]
    bit_operations: dict[str, int]

    @property
    def total_pj(self) -> float:
        """All of it, per sample."""
        return self.synapses_pj + self.weights_pj + self.neurons_pj + self.states_pj

    def to_json(self) -> dict[str, Any]:
        """Plain form with the assumptions."""
        return {
            **asdict(self),
            "total_pj_per_sample": self.total_pj,
            "assumptions": [asdict(c) for c in CONSTANTS.values()],
        }


def estimate(net: Network, activity: Activity) -> Energy:
    """Energy per sample: additions and weight reads per synaptic operation, updates and state accesses per neuron and step."""
    add, multiply, access = (CONSTANTS[k].value for k in ("addition", "multiplication", "memory"))
    values = net.graph.values()
    synapses = weights = neurons = states = 0.0
    budget, operations = {}, {}
    for p in net.projections.values():
        bits = weight_bits(p)
        count = float(activity.operations[p.name].sum()) / activity.samples
        width = values[net.populations[p.target].node.inputs[0]].type.width
        synapses += count * add * width
        weights += count * access * bits
        budget[p.name] = bits * SPIKE_BITS * activity.steps
        operations[p.name] = int(activity.operations[p.name].sum()) * bits * SPIKE_BITS
    for population in net.populations.values():
        updates = population.size * activity.steps
        widths = [values[name].type.width for name in (*population.states.values(), *population.traces)]
        first = widths[0]
        neurons += updates * (
            CONSTANTS["state additions"].value * add * first
            + CONSTANTS["state multiplications"].value * multiply * FACTOR_BITS * first
        )
        states += updates * CONSTANTS["state accesses"].value * access * sum(widths)
    return Energy(synapses, weights, neurons, states, budget, operations)

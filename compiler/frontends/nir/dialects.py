"""The discrete update of each tool that reads NIR: NIR's equations are continuous in time and leave it open.

``docs/nir.md`` writes every update out with its source. A dialect turns a node's parameters into the numbers of a
:class:`~neuroloom.compiler.frontends.spiking.layers.Layer`: the gain of its drive, the decays, threshold and reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.spiking.layers import per_neuron

from .read import Node

RESETS = ("value", "zero", "subtract", "none")
DT_SNNTORCH = 1e-4
"""dt that snnTorch 1.0.0's export_to_nir and import_from_nir have written into their source (seconds)."""


@dataclass
class Settings:
    """What the user said beside the file; ``used`` collects what was applied, for the graph's records.

    ``dt`` in seconds, ``reset`` one of value, zero, subtract, none, ``reset_delay`` snnTorch's flag, ``refractory`` in steps. None:
    not given.
    """

    dialect: str
    dt: float | None = None
    reset: str | None = None
    reset_delay: bool | None = None
    refractory: int | None = None
    used: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dialect not in DIALECTS:
            raise InputError(f"dialect must be one of {', '.join(DIALECTS)}, not {self.dialect!r}")
        if self.dt is not None and not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be a time above 0 s, not {self.dt!r}")
        if self.reset is not None and self.reset not in RESETS:
            raise InputError(f"reset must be one of {', '.join(RESETS)}, not {self.reset!r}")
        if self.reset_delay is not None and self.dialect != "snntorch":
            raise InputError(f"reset_delay is snnTorch's and must not be given with the dialect {self.dialect}")
        if self.refractory is not None and (not isinstance(self.refractory, int) or self.refractory < 0):
            raise InputError(f"refractory must be a number of steps of at least 0, not {self.refractory!r}")
        self.used["dialect"] = self.dialect

    def step(self, node: Node) -> float:
        """dt for a node that needs it. Raises InputError when it was not given."""
        dt = self.dt
        if dt is None and self.dialect == "snntorch":
            dt = DT_SNNTORCH
        if dt is None:
            raise InputError(f"{node} has time constants and the file carries no time step; give dt in seconds")
        self.used["dt"] = dt
        return dt

    def need_reset(self, node: Node, choices: tuple[str, ...], default: str | None) -> str:
        """The reset rule; where the file does not carry it and nothing is given, InputError."""
        reset = self.reset if self.reset is not None else default
        if reset is None:
            raise InputError(
                f"{node}: a NIR file does not carry snnTorch's reset_mechanism; give reset ({', '.join(choices)})"
            )
        if reset not in choices:
            raise InputError(
                f"reset of {node} must be {' or '.join(choices)} in the dialect {self.dialect}, not {reset}"
            )
        self.used["reset"] = reset
        return reset

    def need_reset_delay(self, node: Node) -> bool:
        """snnTorch's reset_delay. Raises InputError when it was not given."""
        if self.reset_delay is None:
            raise InputError(
                f"{node}: a NIR file does not carry snnTorch's reset_delay; give reset_delay (true is snnTorch's own "
                "default, false what its NIR import builds)"
            )
        self.used["reset_delay"] = self.reset_delay
        return self.reset_delay


@dataclass
class Cell:
    """A neuron node in numbers, float64 [n]: ``drive`` is multiplied by ``gain``; the rest as in ``Layer``."""

    gain: np.ndarray
    beta: np.ndarray
    threshold: np.ndarray
    alpha: np.ndarray | None = None
    bias: np.ndarray | None = None
    lift: np.ndarray | None = None
    v_reset: np.ndarray | None = None
    v_init: np.ndarray | None = None
    reset: str = "none"
    reset_mode: str = "immediate"
    refractory: int = 0
    spiking: bool = True


@dataclass
class Parameters:
    """The fields of a neuron node as float64 [n], 0 or 1 where the type has none of them."""

    node: Node
    size: int
    r: np.ndarray
    tau_mem: np.ndarray | None
    tau_syn: np.ndarray | None
    v_leak: np.ndarray
    v_reset: np.ndarray
    threshold: np.ndarray
    w_in: np.ndarray
    spiking: bool

    def fraction(self, dt: float, key: str) -> np.ndarray:
        """dt / tau. Raises InputError unless it is in 0..1, so that the decay 1 − dt/tau is a decay."""
        tau = self.tau_syn if key == "tau_syn" else self.tau_mem
        assert tau is not None
        if (tau <= 0).any():
            raise InputError(f"{key} of {self.node} must be above 0 s, not {tau[tau <= 0][0]:.6g}")
        part = dt / tau
        if (part > 1 + 1e-6).any():  # snnTorch writes tau = dt for a decay of 0, in float32
            raise InputError(
                f"dt must be at most {key} of {self.node}, not {dt:g} s above {tau.min():.6g} s; give a smaller dt"
            )
        return np.minimum(part, 1.0)


def parameters(node: Node, size: int) -> Parameters:
    """Read a neuron node for ``size`` neurons. Raises InputError on sizes that do not fit."""
    cuba = node.type.startswith("Cuba")

    def read(key: str, default: float) -> np.ndarray:
        value = node.get(key)
        return per_neuron(default if value is None else value, size, f"{key} of {node}")

    tau = "tau_mem" if cuba else "tau"
    return Parameters(
        node,
        size,
        read("r", 1.0),
        read(tau, 0.0) if tau in node.fields else None,
        read("tau_syn", 0.0) if cuba else None,
        read("v_leak", 0.0),
        read("v_reset", 0.0),
        read("threshold" if node.type == "Threshold" else "v_threshold", 0.0),
        read("w_in", 1.0),
        node.type in ("IF", "LIF", "CubaLIF", "Threshold"),
    )


def _only(p: Parameters, values: np.ndarray, key: str, expected: float, why: str) -> None:
    if not np.allclose(values, expected):
        bad = float(values[~np.isclose(values, expected)][0])
        raise UnsupportedError(f"{key} of {p.node} must be {expected:g}, not {bad:.6g}: {why}")


def _numbers(p: Parameters, s: Settings, *, unit_gain_if: bool) -> Cell:
    """Forward Euler of NIR's equations, the new synaptic current acting on the membrane in the same step.

    ``unit_gain_if``: I and IF add r times their input in every step, without dt.
    """
    one = np.ones(p.size)
    if p.node.type == "Threshold":
        return Cell(one, np.zeros(p.size), p.threshold)
    if p.tau_mem is None:  # I and IF: v' = r i
        return Cell(p.r if unit_gain_if else p.r * s.step(p.node), one, p.threshold)
    dt = s.step(p.node)
    leak = p.fraction(dt, "tau_mem" if p.tau_syn is not None else "tau")
    if p.tau_syn is None:
        return Cell(p.r * leak, 1 - leak, p.threshold, bias=p.v_leak * leak)
    decay = p.fraction(dt, "tau_syn")
    return Cell(p.w_in * decay * p.r * leak, 1 - leak, p.threshold, alpha=1 - decay, lift=p.v_leak * leak)


def _immediate(p: Parameters, s: Settings, cell: Cell) -> Cell:
    """NIR's own reset in the step of the spike: v ← v_reset, unless ``reset`` says otherwise."""
    cell.spiking = p.spiking
    if not p.spiking or p.node.type == "Threshold":
        return cell
    cell.refractory = s.refractory or 0
    if s.refractory is not None:
        s.used["refractory"] = s.refractory
    cell.reset = s.need_reset(p.node, RESETS, "value")
    cell.v_reset = p.v_reset
    if cell.reset == "value" and not p.v_reset.any():
        cell.reset = "zero"
    return cell


def nir_euler(p: Parameters, s: Settings) -> Cell:
    """NIR's equations in forward Euler steps; the membrane starts at 0."""
    return _immediate(p, s, _numbers(p, s, unit_gain_if=False))


def norse(p: Parameters, s: Settings) -> Cell:
    """Norse 1.1's ``from_nir``: LIFBox, LIBox and IAF cells; the membrane starts at v_leak."""
    ignored = "Norse's import does not use it; choose the dialect nir-euler, which does"
    if p.spiking and p.node.type != "Threshold":
        _only(p, p.v_reset, "v_reset", 0, ignored)
    if p.tau_syn is None:
        _only(p, p.r, "r", 1, ignored)
    else:
        _only(p, p.v_leak, "v_leak", 0, "Norse adds it to the synaptic current too; choose the dialect nir-euler")
    cell = _immediate(p, s, _numbers(p, s, unit_gain_if=True))
    if p.tau_mem is not None:
        cell.v_init = p.v_leak
    return cell


def snntorch(p: Parameters, s: Settings) -> Cell:
    """snnTorch 1.0.0's ``import_from_nir``: Leaky and Synaptic (RLeaky and RSynaptic in a loop with their own weights).

    The drive is not scaled; the threshold is divided by the gain instead, as snnTorch does, so membranes are in snnTorch's unit.
    """
    why = "snnTorch's import has no such parameter; choose the dialect nir-euler"
    _only(p, p.v_leak, "v_leak", 0, why)
    _only(p, p.v_reset, "v_reset", 0, why)
    if p.node.type == "Threshold":
        return Cell(np.ones(p.size), np.zeros(p.size), p.threshold)
    if p.tau_mem is None:
        _only(p, p.r, "r", 1, "snnTorch's import takes no other; choose the dialect nir-euler")
        cell = Cell(np.ones(p.size), np.ones(p.size), p.threshold)
    else:
        dt = s.step(p.node)
        leak = p.fraction(dt, "tau_mem" if p.tau_syn is not None else "tau")
        alpha, gain = None, p.r * leak
        if p.tau_syn is not None:
            _only(p, gain, "r·dt/tau_mem", 1, "snnTorch's import takes no other; choose the dialect nir-euler")
            decay = p.fraction(dt, "tau_syn")
            alpha, gain = 1 - decay, p.w_in * decay
        gain = np.where(np.isclose(gain, 1), 1.0, gain)
        if (gain <= 0).any():
            raise InputError(f"gain of {p.node} must be above 0, not {gain.min():.6g}: snnTorch divides by it")
        cell = Cell(np.ones(p.size), 1 - leak, p.threshold / gain, alpha=alpha)
    cell.spiking = p.spiking
    if p.spiking:
        reset = s.need_reset(p.node, ("zero", "subtract", "none"), None)
        cell.reset, cell.reset_mode = reset, "delayed" if s.need_reset_delay(p.node) else "undelayed"
        cell.refractory = s.refractory or 0
        s.used["refractory"] = cell.refractory
    return cell


@dataclass(frozen=True)
class Dialect:
    """``cell`` gives the numbers; ``lag``: every connection is one step late; ``integers``: Loihi's fixed point."""

    cell: Callable[[Parameters, Settings], Cell]
    lag: int = 0
    integers: bool = False
    snntorch: bool = False


def _lava(p: Parameters, s: Settings) -> Cell:
    from .lava import lava

    return lava(p, s)


DIALECTS: dict[str, Dialect] = {
    "snntorch": Dialect(snntorch, snntorch=True),
    "norse": Dialect(norse),
    "nir-euler": Dialect(nir_euler),
    "lava": Dialect(_lava, lag=1, integers=True),
}
"""Every dialect by its name."""

"""Learning in the clocked graph: traces and rules, behind all spikes of the step. Part of lowering a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from neuroloom.compiler.ir import Builder, Type

from .network import Network, Projection
from .plasticity import Learning

COUNT = Type(32)
TRACE = Type(16)
SIGNED8 = Type(8, True)


class Rules:
    """Writes the rules of ``network`` behind its ``spikes``; ``weights`` are the states of the plastic projections."""

    def __init__(self, network: Network, b: Builder, spikes: Mapping[str, str], weights: Mapping[str, str]) -> None:
        self.net, self.b, self.spikes, self.weights = network, b, spikes, weights

    def run(self, projections: list[Projection], reward: str) -> None:
        """Traces and rules, behind all spikes of the step."""
        b, lfsr = self.b, ""
        traces: dict[tuple[object, ...], str] = {}
        if any(p.plasticity.rounding == "stochastic" for p in projections if isinstance(p.plasticity, Learning)):
            lfsr = b.state(np.array(self.net.seed), COUNT, "persistent", name="lfsr")
            b.update(lfsr, b.node("lfsr", [lfsr], name="lfsr.next"))
        for p in projections:
            rule = p.plasticity
            assert isinstance(rule, Learning)
            x, y = self.trace(traces, p.source, "x", rule), self.trace(traces, p.target, "y", rule)
            inputs = [self.weights[p.name], self.spikes[p.source], self.spikes[p.target], x, y]
            if rule.rounding == "stochastic":
                inputs.append(lfsr)
            if rule.eligibility:
                state = b.state(np.zeros(p.size, np.int64), SIGNED8, "sample", name=f"{p.name}.eligibility")
                inputs += [state, reward]
            outputs = b.nodes(
                "stdp",
                inputs,
                name=f"{p.name}.weights.next",
                source=p.origin or p.name,
                pre=p.pre,
                post=p.post,
                enable=None if rule.enable is None else rule.enable.astype(np.int8),
                w_min=rule.w_min,
                w_max=rule.w_max,
                f=rule.f,
                soft=rule.soft,
                window=rule.window,
                pot=rule.pot if rule.window else None,
                dep=rule.dep if rule.window else None,
                rounding=rule.rounding,
                eligibility=rule.eligibility,
                e_decay=rule.e_decay if rule.eligibility else None,
                g=rule.g if rule.eligibility else None,
            )
            b.update(self.weights[p.name], outputs[0])
            if rule.eligibility:
                b.update(state, outputs[1])

    def trace(self, made: dict[tuple[object, ...], str], name: str, side: str, rule: Learning) -> str:
        """The trace state of a source (x) or target (y); equal ones are shared."""
        decay, step = (rule.pre_decay, rule.pre_step) if side == "x" else (rule.post_decay, rule.post_step)
        key = (name, side, rule.kind, None if rule.window else decay, step)
        if key not in made:
            zeros = np.zeros(self.net.size_of(name), np.int64)
            state = self.b.state(zeros, TRACE, "sample", name=f"{name}.{side}")
            value = self.b.node(
                "trace",
                [self.spikes[name], state],
                kind=rule.kind,
                decay=None if rule.window else decay,
                step=step,
                name=f"{state}.next",
            )
            self.b.update(state, value)
            made[key] = state
        return made[key]

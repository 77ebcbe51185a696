"""How far a fixed-point graph may be from its float program on given samples, worked out from the formats in the graph.

Every value gets a bound on |graph - real|, element by element: rounding to a format adds half its step, weights add what their
own rounding does, functions the most that they change within the bound of their argument. Integers that hang on a comparison
closer than its bound get an infinite one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.real.functions import FUNCTIONS
from neuroloom.compiler.real.program import Program, RealNode, RealRegion
from neuroloom.compiler.real.registry import OPERATIONS, aligned

Pair = tuple[np.ndarray, np.ndarray]
"""A value in float64 and the bound of its error, both [N, ...]."""

MOVES = ("reshape", "transpose", "slice", "gather", "broadcast")


class Budget:
    """Bounds for one graph, its program and the samples given at :meth:`run`."""

    def __init__(self, program: Program, graph: Graph) -> None:
        self.program = program
        self.types = {n: v.type for n, v in graph.values().items()}
        self.nodes = {n.name: n for n in graph.walk()}
        rows = graph.records["fixed_point"]["values"]
        self.steps = {n: 2.0 ** -int((r["type"].split(".") + ["0"])[1]) for n, r in rows.items() if "type" in r}
        self.consts: dict[str, list[np.ndarray]] = {}
        for node in graph.walk():
            if node.op == "const":
                real = np.ldexp(node.attrs["data"].astype(np.float64), -node.outputs[0].type.frac)
                self.consts.setdefault(node.name, []).append(real)
        self.count = 0

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Pair]:
        """Value and bound of every output."""
        env: dict[str, Pair] = {}
        self.count = len(next(iter(inputs.values())))
        for value in self.program.inputs:
            x = np.asarray(inputs[value.name], np.float64 if value.kind == "real" else np.int64)
            env[value.name] = x, np.full(x.shape, self.half(value.name) if value.kind == "real" else 0.0)
        self.block(self.program.nodes, env)
        return {o.name: self.settled(o.value, env[o.value]) for o in self.program.outputs}

    def half(self, name: str) -> float:
        """Half the step of a value's format; none when it was never rounded to one."""
        return self.steps.get(name, 0.0) / 2

    def settled(self, name: str, pair: Pair) -> Pair:
        """The value after rounding to its format."""
        return pair[0], pair[1] + self.half(name)

    def block(self, nodes: list[RealNode], env: dict[str, Pair]) -> None:
        for node in nodes:
            if node.op == "const":
                data = np.broadcast_to(node.attrs["data"][None], (self.count, *node.attrs["data"].shape))
                env[node.name] = data, np.broadcast_to(self.constant(node), data.shape)
            elif node.op == "when":
                self.when(node, env)
            elif node.op == "scan":
                self.scan(node, env)
            else:
                values = [env[i][0] for i in node.inputs]
                result = OPERATIONS[node.op](node, *values)
                results = [result] if isinstance(result, np.ndarray) else list(result)
                with np.errstate(invalid="ignore"):  # an infinite bound times 0
                    errors = [np.where(np.isnan(e), np.inf, e) for e in self.error(node, env, results)]
                for value, x, e in zip(node.outputs, results, errors, strict=True):
                    env[value.name] = x, np.broadcast_to(e, x.shape)

    def constant(self, node: RealNode) -> np.ndarray:
        """The worst rounding of a constant among the forms in which the graph holds it."""
        data = node.attrs["data"].astype(np.float64)
        found = [
            c for n, forms in self.consts.items() if n == node.name or n.startswith(node.name + ".") for c in forms
        ]
        errors = [np.abs(c - data) for c in found if c.shape == data.shape]
        errors = [
            e for e in errors if e.max(initial=0) <= 0.02 * np.abs(data).max(initial=0)
        ]  # others have a name like it
        return np.max(errors, axis=0) if errors else np.zeros(data.shape)

    def error(self, node: RealNode, env: dict[str, Pair], results: list[np.ndarray]) -> list[np.ndarray]:
        pairs = [env[i] for i in node.inputs]
        rounded = [self.settled(i, p) for i, p in zip(node.inputs, pairs, strict=True)]
        op = node.op
        if op in MOVES:
            return [np.asarray(OPERATIONS[op](node, np.ascontiguousarray(rounded[0][1])))]
        if op in ("linear", "conv"):
            return [self.weighted(node, *rounded[0])]
        if op in ("add", "sub"):
            a, b = aligned(pairs[0][1], pairs[1][1])
            return [a + b + self.either(node.inputs)]
        if op in ("max", "min"):
            a, b = aligned(pairs[0][1], pairs[1][1])
            return [np.maximum(a, b) + self.coarsest(node.inputs)]
        if op == "mul":
            (a, ea), (b, eb) = rounded
            a, ea, b, eb = aligned(a, ea, b, eb)
            return [np.abs(a) * eb + np.abs(b) * ea + ea * eb]
        if op == "contract":
            (a, ea), (b, eb) = ((np.abs(x), e) for x, e in rounded)
            run = OPERATIONS["contract"]
            return [np.asarray(run(node, a, eb)) + np.asarray(run(node, ea, b)) + np.asarray(run(node, ea, eb))]
        if op in ("sum", "mean"):
            return [np.asarray(OPERATIONS[op](node, rounded[0][1]))]
        if op in ("reduce_max", "reduce_min"):
            axes = tuple(a + 1 for a in node.attrs["axes"])
            return [rounded[0][1].max(axis=axes)]
        if op == "function":
            return [self.function(node, *pairs[0])]
        if op == "concat":
            errors = [np.broadcast_to(e, x.shape) for x, e in pairs]
            return [np.concatenate(errors, axis=node.attrs["axis"] + 1) + self.half(node.name)]
        if op == "select":
            (_, doubt), (_, a), (_, b) = pairs
            doubt, a, b = aligned(doubt, a, b)
            return [np.maximum(a, b) + self.half(node.name) + doubt]
        if op == "relation":
            (a, ea), (b, eb) = pairs
            coarse = self.coarsest(node.inputs)
            a, ea, b, eb = aligned(a, ea + coarse, b, eb + coarse)
            exact = (ea + eb) == 0
            return [np.where(exact | (np.abs(a - b) > ea + eb), 0.0, np.inf)]
        if op == "argmax":
            axis = node.attrs["axis"] + 1
            x, e = pairs[0]
            top = np.sort(x, axis=axis)
            gap = np.take(top, -1, axis) - np.take(top, -2, axis) if x.shape[axis] > 1 else np.inf
            return [np.where(np.asarray(gap) > 2 * e.max(axis=axis), 0.0, np.inf)]
        if op == "topk":
            axis = node.attrs["axis"] + 1
            x, e = pairs[0]
            gaps = np.diff(np.sort(x, axis=axis), axis=axis).min(axis=axis, initial=np.inf, keepdims=True)
            sure = np.where(gaps > 2 * e.max(axis=axis, keepdims=True), 0.0, np.inf)
            return [
                np.broadcast_to(e.max(axis=axis, keepdims=True), results[0].shape),
                np.broadcast_to(sure, results[1].shape),
            ]
        if op == "take":
            (_, e), (_, doubt) = pairs
            return [np.full(results[0].shape, e.max() + doubt.max() + self.half(node.inputs[0]))]
        worst = max((float(e.max(initial=0)) for _, e in pairs), default=0.0)
        return [np.full(r.shape, worst) for r in results]  # logic, number, integers

    def either(self, names: tuple[str, ...]) -> float:
        """Sums too wide to stay exact round their operands first."""
        return sum(self.half(n) for n in names)

    def coarsest(self, names: tuple[str, ...]) -> float:
        """Values that are compared are rounded alike, none more finely than the coarsest; a sum may be rounded before that too."""
        return 2 * max((self.half(n) for n in names), default=0.0)

    def weighted(self, node: RealNode, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        made = self.nodes[f"{node.name}.sum"]
        real = node.attrs["weights"]
        near = np.ldexp(made.attrs["weights"].astype(np.float64), -made.attrs["weight_frac"])
        plain = {k: v for k, v in node.attrs.items() if k != "bias"}
        run = OPERATIONS[node.op]

        def apply(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
            return np.asarray(run(RealNode(node.op, (), node.outputs, {**plain, "weights": weights}), values))

        out = apply(np.abs(near), np.ascontiguousarray(e)) + apply(np.abs(near - real), np.abs(x))
        if "bias" in node.attrs:
            frac = made.outputs[0].type.frac
            bias = np.abs(np.ldexp(made.attrs["bias"].astype(np.float64), -frac) - node.attrs["bias"])
            out = out + (bias if node.op == "linear" else bias.reshape(-1, *[1] * (x.ndim - 2)))
        return out

    def function(self, node: RealNode, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        table = self.nodes[node.name]
        e = e + 2.0 ** -self.types[table.inputs[0]].frac / 2
        f = FUNCTIONS[node.attrs["function"]].real
        params = tuple(map(float, node.attrs.get("params", ())))
        least = FUNCTIONS[node.attrs["function"]].least
        worst = np.zeros(x.shape)
        with np.errstate(all="ignore"):
            middle = f(x, *params)
            for share in np.linspace(-1, 1, 33):
                near = x + share * e
                near = near if least is None else np.maximum(near, least)
                worst = np.fmax(worst, np.abs(f(near, *params) - middle))
        worst = np.where(np.isfinite(e), worst, np.inf)
        return worst * 1.02 + 2.0 ** -self.types[node.name].frac  # half a step of the table, half of where it is flat

    def when(self, node: RealNode, env: dict[str, Pair]) -> None:
        decision, doubt = env[node.inputs[0]]
        rows = decision.reshape(-1)
        sides = [self.region(r, env) for r in node.regions]
        for number, value in enumerate(node.outputs):
            shape = (-1, *[1] * len(value.shape))
            pick = rows.reshape(shape) == 1
            (a, ea), (b, eb) = (s[number] for s in sides)
            error = np.where(pick, ea, eb) + self.half(value.name) + doubt.reshape(shape)
            env[value.name] = np.where(pick, a, b), error

    def region(self, region: RealRegion, env: dict[str, Pair]) -> list[Pair]:
        inner = dict(env)
        self.block(region.nodes, inner)
        return [inner[r] for r in region.results]

    def scan(self, node: RealNode, env: dict[str, Pair]) -> None:
        count, first, reverse = node.attrs["count"], node.attrs["carried"], node.attrs["reverse"]
        (region,) = node.regions
        names = {
            (n.op, n.attrs.get("index", 0)): n.name for n in region.nodes if n.op in ("carried", "scanned", "step")
        }
        halves = [self.half(names.get(("carried", k), node.outputs[k].name)) for k in range(first)]
        carried = [(env[i][0], env[i][1] + h) for i, h in zip(node.inputs[:first], halves, strict=False)]
        sequences = [self.settled(i, env[i]) for i in node.inputs[first:]]
        stacks: list[list[Pair]] = [[(np.zeros(0), np.zeros(0))] * count for _ in node.outputs[first:]]
        for t in range(count):
            at = [count - 1 - t if r else t for r in reverse]
            inner = dict(env)
            for (op, k), name in names.items():
                if op == "carried":
                    inner[name] = carried[k]
                elif op == "scanned":
                    inner[name] = tuple(p[:, at[k]] for p in sequences[k])  # type: ignore[assignment]
                else:
                    inner[name] = np.full(self.count, t), np.zeros(self.count)
            body = RealRegion([n for n in region.nodes if n.op not in ("carried", "scanned", "step")], region.results)
            results = self.region(body, inner)
            carried = [(x, e + h) for (x, e), h in zip(results[:first], halves, strict=True)]
            for stack, pair, value, i in zip(
                stacks, results[first:], node.outputs[first:], at[len(sequences) :], strict=True
            ):
                stack[i] = pair[0], pair[1] + self.half(value.name)
        for value, pair in zip(node.outputs[:first], carried, strict=True):
            env[value.name] = pair
        for value, stack in zip(node.outputs[first:], stacks, strict=True):
            env[value.name] = (
                np.stack([p[0] for p in stack], 1),
                np.stack([np.broadcast_to(p[1], p[0].shape) for p in stack], 1),
            )

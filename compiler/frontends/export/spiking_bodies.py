"""A function body of standard operators on int64 tensors, written line by line like the arithmetic it stands for.

Everything is exact: a right shift is ``(p − Mod(p, 2**k)) / 2**k``, because BitShift is for unsigned types only and Div truncates.
Truth values are bool tensors; every other value is int64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BOOL, INT64 = TensorProto.BOOL, TensorProto.INT64


class Body:
    """The nodes of one function; methods append a node and return the name of its result.

    ``attributes`` are the function's: None for one that every call gives, else its default (an integer, a string, an integer
    array).
    """

    def __init__(
        self,
        domain: str,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, Any],
    ) -> None:
        self.domain, self.name = domain, name
        self.inputs, self.outputs, self.attributes = list(inputs), list(outputs), dict(attributes)
        self.nodes: list[onnx.NodeProto] = []
        self.known: dict[Any, str] = {}

    def op(self, op_type: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        """Append a standard operator; its result is named ``to`` where given."""
        out = to or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [out], name=f"{self.name}/{out}", **attributes))
        return out

    def out(self, name: str, value: str) -> None:
        """Make ``value`` the function's output ``name``."""
        self.op("Identity", value, to=name)

    # ---- constants and attributes

    def const(self, value: int | Sequence[int]) -> str:
        """An integer, or a list of them (axes, shapes)."""
        key = ("const", value if isinstance(value, int) else tuple(value))
        if key not in self.known:
            data = numpy_helper.from_array(np.asarray(value, np.int64))
            self.known[key] = self.op("Constant", value=data)
        return self.known[key]

    def scalar(self, name: str) -> str:
        """The integer attribute ``name``, of shape []."""
        return self._reference(name, "value_int", onnx.AttributeProto.INT)

    def list(self, name: str) -> str:
        """The integers attribute ``name``, of shape [count]."""
        return self._reference(name, "value_ints", onnx.AttributeProto.INTS)

    def tensor(self, name: str) -> str:
        """The tensor attribute ``name``, as int64."""
        if ("int64", name) not in self.known:
            stored = self._reference(name, "value", onnx.AttributeProto.TENSOR)
            self.known["int64", name] = self.op("Cast", stored, to_type=INT64)
        return self.known["int64", name]

    def _reference(self, name: str, key: str, kind: int) -> str:
        if ("attribute", name) not in self.known:
            out = f"{name}_"
            node = helper.make_node("Constant", [], [out], name=f"{self.name}/{out}")
            node.attribute.add(name=key, type=kind, ref_attr_name=name)
            self.nodes.append(node)
            self.known["attribute", name] = out
        return self.known["attribute", name]

    # ---- arithmetic

    def add(self, a: str, b: str) -> str:
        return self.op("Add", a, b)

    def sub(self, a: str, b: str) -> str:
        return self.op("Sub", a, b)

    def times(self, a: str, b: str) -> str:
        return self.op("Mul", a, b)

    def least(self, a: str, b: str) -> str:
        """The smaller of both; onnxruntime 1.31's own Min and Max of int64 are wrong where values differ by 2**31 or more."""
        return self.where(self.op("Less", a, b), a, b)

    def most(self, a: str, b: str) -> str:
        """The greater of both, as :meth:`least`."""
        return self.where(self.op("Less", a, b), b, a)

    def power(self, exponent: str) -> str:
        """2**exponent."""
        return self.op("Pow", self.const(2), exponent)

    def where(self, condition: str, yes: str, no: str) -> str:
        return self.op("Where", condition, yes, no)

    def choose(self, condition: str, yes: str, no: str) -> str:
        """:meth:`where` of truth values, which onnxruntime's Where does not take."""
        return self.either(self.both(condition, yes), self.both(self.no(condition), no))

    def both(self, a: str, *rest: str) -> str:
        for b in rest:
            a = self.op("And", a, b)
        return a

    def either(self, a: str, *rest: str) -> str:
        for b in rest:
            a = self.op("Or", a, b)
        return a

    def no(self, a: str) -> str:
        return self.op("Not", a)

    def is_(self, a: str, value: int) -> str:
        return self.op("Equal", a, self.const(value))

    def over(self, a: str, value: int) -> str:
        return self.op("Greater", a, self.const(value))

    def integer(self, truth: str) -> str:
        return self.op("Cast", truth, to_type=INT64)

    def floor_shift(self, x: str, divisor: str) -> str:
        """x >> k for a ``divisor`` 2**k."""
        return self.op("Div", self.sub(x, self.op("Mod", x, divisor)), divisor)

    def rounded(self, product: str, divisor: str, rounding: str) -> str:
        """``product / divisor``, rounded by the code in ``rounding``: 0 floor, 1 half_up, 2 toward_zero."""
        zero = self.const(0)
        half = self.op("Div", divisor, self.const(2))
        negative = self.op("Less", product, zero)
        up = self.where(negative, self.sub(divisor, self.const(1)), zero)
        h = self.where(self.is_(rounding, 1), half, self.where(self.is_(rounding, 2), up, zero))
        return self.floor_shift(self.add(product, h), divisor)

    def saturating(self, width: str) -> Callable[[str], str]:
        """A function that brings its argument into a signed type of ``width`` bits."""
        top = self.power(self.sub(width, self.const(1)))
        low, high = self.op("Neg", top), self.sub(top, self.const(1))
        return lambda x: self.most(self.least(x, high), low)

    def winner(self, spike: str, margin: str) -> str:
        """Of the neurons with ``spike`` only that of the largest ``margin``, the lowest index of equals: bool [N, n]."""
        seen = self.where(spike, margin, self.const(-(1 << 40)))
        best = self.op("ArgMax", seen, axis=1, keepdims=1, select_last_index=0)
        return self.both(spike, self.op("Equal", self.positions(spike), best))

    def positions(self, x: str) -> str:
        """0..n-1 for ``x`` of shape [N, n]."""
        size = self.op("Squeeze", self.op("Shape", x, start=1, end=2))
        return self.op("Range", self.const(0), size, self.const(1))

    def proto(self, opset: int) -> onnx.FunctionProto:
        """The function."""
        defaults = [
            helper.make_attribute(key, numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value)
            for key, value in self.attributes.items()
            if value is not None
        ]
        for node in self.nodes:
            for attribute in node.attribute:
                if attribute.name == "to_type":  # ``to`` names results here
                    attribute.name = "to"
        return helper.make_function(
            self.domain,
            self.name,
            self.inputs,
            self.outputs,
            self.nodes,
            [helper.make_opsetid("", opset)],
            [key for key, value in self.attributes.items() if value is None],
            defaults,
        )

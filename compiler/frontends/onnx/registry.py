"""The operator registry, and what a handler sees of the node that it imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError, UnsupportedError
from onnx import AttributeProto, defs, helper

from .tensors import Const, Opaque, Sym, Tensor

if TYPE_CHECKING:
    from .importer import Importer

Handler = Callable[["Call"], "Tensor | Sequence[Tensor]"]

HANDLERS: dict[tuple[str, str], Handler] = {}
"""One handler per operator, by (domain, name); the default domain is ""."""

WHOLE: set[tuple[str, str]] = set()
"""Handlers that also take calls whose inputs are all constant (others are folded)."""


FORMS: dict[tuple[str, str], tuple[int, int, tuple[str, ...]]] = {}
"""Least and most inputs, and the attributes, of operators outside ONNX's own domain (which brings its schemas)."""


def operator(
    *names: str,
    domain: str = "",
    whole: bool = False,
    inputs: tuple[int, int] = (1, 1),
    attributes: tuple[str, ...] = (),
) -> Callable[[Handler], Handler]:
    """Register the decorated function for one or more operators; ``inputs`` and ``attributes`` matter outside ONNX's domain."""

    def register(handler: Handler) -> Handler:
        for name in names:
            if (domain, name) in HANDLERS:
                raise ValueError(f"operator {domain}.{name} is registered twice")
            HANDLERS[domain, name] = handler
            if domain:
                FORMS[domain, name] = (*inputs, attributes)
            if whole:
                WHOLE.add((domain, name))
        return handler

    return register


class Call:
    """One node of the source model: its inputs as imported so far, its attributes, and how to report about it."""

    def __init__(
        self,
        importer: Importer,
        node: onnx.NodeProto,
        inputs: list[Tensor | None],
        source: str,
        version: int,
    ) -> None:
        self.importer = importer
        self.node = node
        self.op = node.op_type
        self.domain = "" if node.domain == "ai.onnx" else node.domain
        self.inputs = inputs
        self.source = source
        self.version = version
        self.attributes = {a.name: a for a in node.attribute}
        self._defaults: dict[str, AttributeProto] = {}
        if not self.domain:
            self._check_schema()
        elif (self.domain, self.op) in FORMS:
            self._check_form(*FORMS[self.domain, self.op])

    # ---- reporting

    @property
    def where(self) -> str:
        """How messages name the node."""
        op = f"{self.domain}.{self.op}" if self.domain else self.op
        return f"node {self.source!r} ({op})"

    def refuse(self, reason: str, hint: str = "") -> NoReturn:
        """The model is legal, but this cannot be carried exactly."""
        raise UnsupportedError(f"{self.where}: {reason}" + (f"; {hint}" if hint else ""))

    def bad(self, reason: str) -> NoReturn:
        """The model is broken."""
        raise InputError(f"{self.where}: {reason}")

    def record(self, text: str) -> None:
        """Keep a note about how this node was read in the graph's records."""
        self.importer.note(f"{self.where}: {text}")

    # ---- inputs

    def _check_form(self, least: int, most: int, attributes: tuple[str, ...]) -> None:
        given = len(self.inputs)
        if not least <= given <= most:
            self.bad(f"{self.op} must have {least if least == most else f'{least} to {most}'} inputs, not {given}")
        for name in self.attributes:
            if name not in attributes:
                self.refuse(f"{self.op} has no attribute {name!r}", f"known are {', '.join(attributes)}")

    def _check_schema(self) -> None:
        try:
            schema = defs.get_schema(self.op, self.version, "")
        except defs.SchemaError:
            return  # an unknown operator is reported by the importer
        count = len(self.inputs)
        if not schema.min_input <= count <= schema.max_input:
            least, most = schema.min_input, schema.max_input
            wanted = f"{least}" if least == most else f"{least} to {most}" if most < 1 << 20 else f"at least {least}"
            self.bad(f"{self.op} must have {wanted} inputs, not {count}")
        for number, formal in enumerate(schema.inputs[:count]):
            if formal.option == defs.OpSchema.FormalParameterOption.Single and self.inputs[number] is None:
                self.bad(f"input {formal.name} must be given")
        for name in self.attributes:
            if name not in schema.attributes:
                self.bad(f"{self.op} of opset {self.version} has no attribute {name!r}")
        self._defaults = {n: a.default_value for n, a in schema.attributes.items() if a.default_value.name}

    def has(self, number: int) -> bool:
        """Whether input ``number`` is given."""
        return number < len(self.inputs) and self.inputs[number] is not None

    def tensor(self, number: int) -> Const | Sym:
        """Input ``number``; one that could not be carried is refused here, where it is used."""
        if not self.has(number):
            self.bad(f"input {number} must be given")
        value = self.inputs[number]
        if isinstance(value, Opaque):
            raise UnsupportedError(value.reason)
        assert value is not None
        return value

    def sym(self, number: int) -> Sym:
        """Input ``number`` as integers of the graph (a constant is refused)."""
        value = self.tensor(number)
        if isinstance(value, Const):
            self.refuse(f"input {number} must depend on the model's inputs, not be constant")
        return value

    def const(self, number: int, what: str) -> np.ndarray:
        """Input ``number``, which must be constant (``what`` names it in the message)."""
        value = self.tensor(number)
        if isinstance(value, Sym) and value.data is None:
            self.refuse(f"{what} must be constant, not computed from the model's inputs", "store it as an initializer")
        if isinstance(value, Sym):
            self.refuse(f"{what} must be constant without a batch axis")
        return value.array

    def const_ints(self, number: int, what: str) -> list[Any]:
        """Input ``number`` as a flat list of constant integers (or batch sizes)."""
        array = self.const(number, what)
        if array.dtype != object and array.dtype.kind not in "iub":
            self.bad(f"{what} must be integers, not {array.dtype}")
        return array.reshape(-1).tolist()

    # ---- attributes

    def _attribute(self, name: str, kind: int) -> AttributeProto | None:
        found = self.attributes.get(name) or self._defaults.get(name)
        if found is None:
            return None
        if found.type != kind:
            wanted = AttributeProto.AttributeType.Name(kind)
            self.bad(f"attribute {name!r} must be {wanted}, not {AttributeProto.AttributeType.Name(found.type)}")
        return found

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute; without a value and a default it is an error."""
        found = self._attribute(name, AttributeProto.INT)
        if found is None and default is None:
            self.bad(f"attribute {name!r} must be given")
        return default if found is None else found.i  # type: ignore[return-value]

    def real(self, name: str, default: float) -> np.float32:
        """A float attribute, a float32 as the file stores it."""
        found = self._attribute(name, AttributeProto.FLOAT)
        return np.float32(default if found is None else found.f)

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        found = self._attribute(name, AttributeProto.STRING)
        return default if found is None else found.s.decode("utf-8", "replace")

    def ints(self, name: str) -> list[int] | None:
        """An attribute of integers, None without."""
        found = self._attribute(name, AttributeProto.INTS)
        return None if found is None else list(found.ints)

    def ints_either(self, number: int, name: str) -> list[Any] | None:
        """Constant integers from input ``number``, or from the attribute ``name`` of older operator sets."""
        if self.has(number):
            return self.const_ints(number, name)
        return self.ints(name)

    def value(self, name: str) -> Any:
        """Any attribute as Python or numpy data, None without."""
        found = self.attributes.get(name)
        if found is None:
            return None
        if found.type == AttributeProto.TENSOR:
            return self.importer.stored(found.t, f"{self.where}: attribute {name!r}")
        return helper.get_attribute_value(found)

    # ---- shapes

    def shape(self, tensor: Const | Sym) -> list[Any]:
        """Shape of a source tensor, the batch axis as N when its size is not fixed."""
        if isinstance(tensor, Const):
            return list(tensor.array.shape)
        return tensor.full_shape(self.importer.batch_size)

    def axis(self, axis: int, rank: int, what: str = "axis") -> int:
        """A source axis counted from 0; raises InputError outside the rank."""
        if not -rank <= axis < rank:
            self.bad(f"{what} must be in {-rank}..{rank - 1}, not {axis}")
        return axis % rank

    def sample_axis(self, x: Sym, axis: int, doing: str) -> int:
        """The graph's axis for a source axis; the batch axis is refused, since samples are independent."""
        at = self.axis(axis, x.rank)
        if x.batch is None:
            return at
        if at == x.batch:
            self.refuse(
                f"{doing} axis {axis} would mix samples, because that is the batch axis",
                "choose another axis, or give the batch axis if it is not this one",
            )
        return at - (at > x.batch)

"""The readable text form of a graph, and its reader. Tensors stand beside, as @0, @1, ...

::

    graph "digits" framed
    input %image : u8[64] bounds 0..16 {"affine":{"scale":"1/16","offset":"0"},"source":"image"}
    %encoder = compare(%image) indices=@0<int32[192]> thresholds=@1<int64[192]> : bit[192] from "encoder"
    %taken = when(%open) {
      ...
      yield %a
    } else {
      yield %b
    } : s16[64] from "If_3"
    output "scores" = %sum {"scale":"1/10","offset":"0"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError

from .affine import IDENTITY, Affine
from .graph import Attr, Graph, Input, Node, Output, Region, Value
from .types import Type

NAME = r"[A-Za-z0-9_./-]+"
MAX_AXES = 16
MAX_DEPTH = 64


def to_text(graph: Graph) -> tuple[str, list[np.ndarray]]:
    """Return the text of ``graph`` and the tensors that it refers to, in order of first use."""
    writer = _Writer()
    return writer.graph(graph), writer.tensors


def format_graph(graph: Graph) -> str:
    """The text alone, for people (``--dump-after``)."""
    return to_text(graph)[0]


class _Writer:
    def __init__(self) -> None:
        self.tensors: list[np.ndarray] = []
        self.numbers: dict[int, int] = {}

    def graph(self, graph: Graph) -> str:
        lines = [f"graph {_string(graph.name)} {'clocked' if graph.clocked else 'framed'}"]
        for item in graph.inputs:
            bounds = f" bounds {item.bounds[0]}..{item.bounds[1]}" if item.bounds else ""
            extra = _json({"affine": item.affine.to_json(), "source": item.source})
            lines.append(f"input {self.value(item.value)}{bounds} {extra}")
        lines += self.block(graph.nodes, "")
        for out in graph.outputs:
            affine = "" if out.affine == IDENTITY else f" {_json(out.affine.to_json())}"
            lines.append(f"output {_string(out.name)} = %{out.value}{affine}")
        return "\n".join(lines) + "\n"

    def block(self, nodes: Iterable[Node], indent: str) -> Iterator[str]:
        for node in nodes:
            left = ", ".join(f"%{v.name}" for v in node.outputs)
            head = f"{left} = " if left else ""
            inputs = ", ".join(f"%{i}" for i in node.inputs)
            attrs = "".join(f" {k}={self.attr(v)}" for k, v in sorted(node.attrs.items()))
            types = ", ".join(f"{v.type}{_shape(v.shape)}" for v in node.outputs)
            tail = (f" : {types}" if types else "") + (f" from {_string(node.source)}" if node.source else "")
            line = f"{indent}{head}{node.op}({inputs}){attrs}"
            if not node.regions:
                yield line + tail
                continue
            for number, region in enumerate(node.regions):
                yield f"{line} {{" if number == 0 else f"{indent}}} else {{"
                yield from self.block(region.nodes, indent + "  ")
                yield f"{indent}  yield {', '.join(f'%{r}' for r in region.results)}".rstrip()
            yield f"{indent}}}{tail}"

    def value(self, value: Value) -> str:
        return f"%{value.name} : {value.type}{_shape(value.shape)}"

    def attr(self, value: Attr) -> str:
        if not isinstance(value, np.ndarray):
            return _json(value)
        number = self.numbers.get(id(value))
        if number is None:
            number = self.numbers[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return f"@{number}<{value.dtype.name}{_shape(value.shape)}>"


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _string(value: str) -> str:
    return json.dumps(value)


def from_text(text: str, tensors: list[np.ndarray]) -> Graph:
    """Read a graph back; raises GraphError with the line number on anything malformed. The result is not yet verified."""
    return _Reader(text, tensors).graph()


class _Reader:
    def __init__(self, text: str, tensors: list[np.ndarray]) -> None:
        self.lines = text.splitlines()
        self.tensors = tensors
        self.at = 0
        self.decoder = json.JSONDecoder()

    def fail(self, what: str) -> GraphError:
        return GraphError(f"line {self.at + 1} of the graph text must be {what}, not {self.line()[:80]!r}")

    def line(self) -> str:
        return self.lines[self.at] if self.at < len(self.lines) else "the end"

    def graph(self) -> Graph:
        match = re.fullmatch(r'graph (".*") (framed|clocked)', self.line())
        if not match:
            raise self.fail('graph "name" framed|clocked')
        graph = Graph(self.json(match[1], str), clocked=match[2] == "clocked")
        self.at += 1
        while self.at < len(self.lines) and self.line().startswith("input "):
            graph.inputs.append(self.input())
            self.at += 1
        graph.nodes = self.block(0, ("output ",))
        while self.at < len(self.lines):
            graph.outputs.append(self.output())
            self.at += 1
        return graph

    def json(self, text: str, kind: type) -> Any:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise self.fail("valid") from None
        if not isinstance(value, kind):
            raise self.fail(kind.__name__)
        return value

    def input(self) -> Input:
        match = re.fullmatch(
            rf"input %({NAME}) : (\S+?)\[([\d,]*)\](?: bounds (-?\d{{1,20}})\.\.(-?\d{{1,20}}))? (\{{.*\}})",
            self.line(),
        )
        if not match:
            raise self.fail("an input")
        extra = self.json(match[6], dict)
        value = Value(match[1], Type.parse(match[2]), self.shape(match[3]))
        bounds = (int(match[4]), int(match[5])) if match[4] else None
        return Input(value, Affine.from_json(extra.get("affine", {})), bounds, str(extra.get("source", "")))

    def output(self) -> Output:
        match = re.fullmatch(rf'output ("(?:[^"\\]|\\.)*") = %({NAME})(?: (\{{.*\}}))?', self.line())
        if not match:
            raise self.fail("an output")
        affine = Affine.from_json(self.json(match[3], dict)) if match[3] else IDENTITY
        return Output(self.json(match[1], str), match[2], affine)

    def shape(self, text: str) -> tuple[int, ...]:
        parts = text.split(",") if text else []
        if len(parts) > MAX_AXES or any(not p or len(p) > 12 for p in parts):
            raise self.fail(f"a shape of at most {MAX_AXES} axes")
        return tuple(int(p) for p in parts)

    def block(self, depth: int, ends: tuple[str, ...]) -> list[Node]:
        if depth > MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} regions deep")
        nodes: list[Node] = []
        while self.at < len(self.lines):
            text = self.line().strip()
            if text.startswith(ends):
                return nodes
            nodes.append(self.node(text, depth))
            self.at += 1
        if depth:
            raise self.fail("yield")
        return nodes

    def node(self, text: str, depth: int) -> Node:
        match = re.match(rf"(?:((?:%{NAME}(?:, )?)+) = )?([a-z_0-9]+)\(((?:%{NAME}(?:, )?)*)\)", text)
        if not match:
            raise self.fail("a node")
        names = re.findall(f"%({NAME})", match[1] or "")
        inputs = tuple(re.findall(f"%({NAME})", match[3]))
        attrs, rest = self.attrs(text[match.end() :])
        regions: list[Region] = []
        if rest == " {":
            rest = self.regions(regions, depth)
        types, source = self.tail(rest)
        if len(types) != len(names):
            raise self.fail(f"a node with {len(names)} types")
        outputs = tuple(Value(n, t, s) for n, (t, s) in zip(names, types, strict=True))
        return Node(match[2], inputs, outputs, attrs, tuple(regions), source)

    def attrs(self, text: str) -> tuple[dict[str, Attr], str]:
        attrs: dict[str, Attr] = {}
        while match := re.match(r" ([a-z_0-9]+)=", text):
            text = text[match.end() :]
            tensor = re.match(r"@(\d{1,9})<[a-z0-9]+\[[\d,]*\]>", text)
            if tensor:
                number = int(tensor[1])
                if number >= len(self.tensors):
                    raise self.fail(f"a node whose tensors are below @{len(self.tensors)}")
                attrs[match[1]] = self.tensors[number]
                text = text[tensor.end() :]
                continue
            try:
                value, end = self.decoder.raw_decode(text)
            except (ValueError, RecursionError):
                raise self.fail("a node with valid attributes") from None
            attrs[match[1]] = self.scalar(value)
            text = text[end:]
        return attrs, text

    def scalar(self, value: object) -> Attr:
        if isinstance(value, list):
            return tuple(self.scalar(v) for v in value)
        if isinstance(value, (bool, int, str)):
            return value
        raise self.fail("a node with integer, string or list attributes")

    def regions(self, regions: list[Region], depth: int) -> str:
        while True:
            self.at += 1
            nodes = self.block(depth + 1, ("yield",))
            results = tuple(re.findall(f"%({NAME})", self.line()))
            regions.append(Region(nodes, results))
            self.at += 1
            text = self.line().strip()
            if text == "} else {":
                continue
            if not text.startswith("}"):
                raise self.fail("}")
            return text[1:]

    def tail(self, text: str) -> tuple[list[tuple[Type, tuple[int, ...]]], str]:
        source = ""
        if match := re.search(r' from ("(?:[^"\\]|\\.)*")$', text):
            source = str(self.json(match[1], str))
            text = text[: match.start()]
        if not text:
            return [], source
        if not text.startswith(" : "):
            raise self.fail("a node")
        types = []
        for part in text[3:].split(", "):
            match = re.fullmatch(r"([a-z0-9.-]+)\[([\d,]*)\]", part)
            if not match:
                raise self.fail("a node with types")
            types.append((Type.parse(match[1]), self.shape(match[2])))
        return types, source

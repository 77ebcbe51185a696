"""Moves of bits become wires, and ``bits`` of what was just joined from bits disappears."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node
from neuroloom.compiler.netlist.rewrite import MOVES, Rewriter, move_indices

from .manager import Options, PassResult, register


def _move(node: Node, rewriter: Rewriter) -> bool:
    if not rewriter.all_bits(node.inputs):
        return False
    indices = move_indices(node, [rewriter.values[i] for i in node.inputs])
    constants = [rewriter.constant(i) for i in node.inputs]
    if all(c is not None for c in constants):
        data = np.concatenate([c.reshape(-1) for c in constants if c is not None])[indices]
        rewriter.emit("const", [], {"data": data, "type": str(BIT)}, node.outputs[0], node.source)
        return True
    rewriter.wires(node.inputs, indices, node.outputs[0], node.source)
    return True


def _bits(node: Node, rewriter: Rewriter) -> bool:
    (name,) = node.inputs
    producer = rewriter.producers.get(name)
    crossed = producer is not None and (producer.op in ("unbits", "const") or producer.op in MOVES)
    if not crossed and not rewriter.all_bits([name]):
        return False
    source = name if rewriter.all_bits([name]) else rewriter.bits(name, node.source)
    rewriter.wires([source], np.arange(node.outputs[0].size), node.outputs[0], node.source)
    return True


def _unbits(node: Node, rewriter: Rewriter) -> bool:
    if not rewriter.all_bits([node.outputs[0].name]):
        return False
    rewriter.wires(node.inputs, np.arange(node.outputs[0].size), node.outputs[0], node.source)
    return True


@register("lower-moves", "canonicalise", order=30)
def run(graph: Graph, options: Options) -> PassResult:
    """Turn gather, concat, slice, reshape, transpose and broadcast of bits into wires, across bits and unbits too."""
    lowerings = {**dict.fromkeys(MOVES, _move), "bits": _bits, "unbits": _unbits}
    return PassResult(*Rewriter(graph, options).run(lowerings))

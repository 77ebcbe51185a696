"""Boards that need no host: designs that load the network in the flash at their start, and networks as they stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroloom.boards.board import Board
from neuroloom.boards.boot_policy import with_boot
from neuroloom.boards.build import BuildResult, build
from neuroloom.compiler.errors import DoesNotFitError, InputError
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.compiler.spiking.core import CORES
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.rtl.flash.network import NetworkImage, network_image
from neuroloom.rtl.flash.starter import StandaloneEngine
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.spiking.engine import model_hash

from .engines import Design, engine_of
from .gated.choose import RECORD, candidates
from .gated.loading import load_commands as gated_commands
from .spiking.loading import load_commands as spiking_commands

STANDALONE = "standalone"
"""The boot policy of a design that loads its network from the flash."""


def booted_design(design: Design, board: Board, boot: str) -> tuple[Callable[[], Any], Identity, Board]:
    """A design and its board as a boot policy wants them: :mod:`neuroloom.boards.boot_policy`, and the flash where it is read.

    Raises InputError for a policy that the board or the engine cannot have.
    """
    factory, identity = design
    identity = with_boot(identity, board, boot)
    if boot != STANDALONE:
        return factory, identity, board
    if identity.engine not in COMMANDS:
        raise InputError(
            f"boot must not be standalone for a {identity.engine} engine, whose bitstream holds the network itself; build it with"
            " --boot unattended"
        )
    layout, clock_hz, engine_hash = board.layout, identity.clock_hz, identity.model_hash
    if not layout.network_room:
        raise InputError(
            f"boot must not be standalone for {board.name}, whose flash has no partition for a network; give its board file"
            " network_bytes, or take --boot unattended"
        )
    return lambda: StandaloneEngine(factory(), layout, engine_hash, clock_hz), identity, board.with_flash_pins()


def build_booted(design: Design, board: Board, boot: str, **options: Any) -> BuildResult:
    """Build a design with a boot policy; options and errors as of :func:`neuroloom.boards.build.build`."""
    try:
        factory, identity, target = booted_design(design, board, boot)
        return build(factory, identity, target, **options)
    except DoesNotFitError as error:
        if boot != STANDALONE:
            raise
        raise DoesNotFitError(
            f"{error}; loading a network from the flash takes some 200 logic cells beside the engine: take a smaller engine, or"
            " --boot unattended and load over the link"
        ) from None


# ---------------------------------------------------------------------- networks


def _spiking(graph: Graph, board: Board, engine_hash: bytes) -> bytes | None:
    for config in CORES.get(board.name, ()):
        if model_hash(config) == engine_hash:
            return spiking_commands(map_graph(graph, config))
    return None


def _gated(graph: Graph, board: Board, engine_hash: bytes) -> bytes | None:
    for config in [*board.gated, *candidates(board, graph.records.get(RECORD, {}))]:
        if config.hash() == engine_hash:
            content, seal = gated_commands(compile_program(graph, config))
            return b"".join(content) + seal
    return None


COMMANDS: dict[str, Callable[[Graph, Board, bytes], bytes | None]] = {"spiking": _spiking, "gated": _gated}
"""What loads a network into an engine of a kind with a hash on a board; None where this host does not know that engine."""


def network_for(graph: Graph, board: Board, engine: str, engine_hash: bytes) -> NetworkImage:
    """A network as the flash holds it for the engine of a kind (``spiking``, ``gated``) with a hash.

    Raises InputError for a network of another kind of engine or an engine that this host does not know, and DoesNotFitError or
    UnsupportedError for one that the engine cannot hold.
    """
    kind = engine_of(graph).name
    if kind != engine:
        raise InputError(
            f"network must be one for the {engine} engine of the slot's image, and {graph.name!r} is for a {kind} one"
        )
    commands = COMMANDS[engine](graph, board, engine_hash)
    if commands is None:
        raise InputError(
            f"image in the slot must have an engine that this host knows, not {engine} {engine_hash.hex()[:12]}; build it again and"
            " flash it"
        )
    return network_image(commands, engine_hash, graph_hash(graph), graph.name, board.layout.network_room)


def is_network(path: Path) -> bool:
    """Whether a file that is to be flashed is a compiled network, and no image."""
    return path.suffix == ".nloom"

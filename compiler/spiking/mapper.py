"""From a clocked graph to the program of a spiking core: numbers for neurons, memory for synapses and state, the step program.

Where everything stands is decided in ``placement.py``, the commands are written in ``step_program.py``; the result's ``maps``
(``maps.py``; JSON-able but for the arrays under ``projections``) lead back from the core's memories to the graph's names.
"""

from __future__ import annotations

from collections.abc import Callable

from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph

from .bounds import idle_cycles
from .checks import check_network
from .cluster import ClusterProgram, cluster_programs
from .core import CORES, CoreConfig, CoreProgram
from .maps import maps_of
from .placement import EVEN, FAST, SMALL, Placement
from .recognise import Network, recognise
from .step_program import StepProgram


def map_graph(
    graph: Graph, config: CoreConfig, *, keep_words: bool = False, raster_steps: int = 0
) -> CoreProgram | ClusterProgram:
    """The program of ``graph`` for a core, or the programs for a build of several.

    ``keep_words`` gives thresholds and biases that the graph has per neuron a state word even when they are equal, so
    that they can be written one by one later. ``raster_steps`` input steps must fit behind the network in the pool.
    Raises UnsupportedError for what the core cannot compute and DoesNotFitError for what is too large; both name the
    node and the core that would do.
    """
    network = recognise(graph)
    try:
        return map_recognised(network, config, keep_words, raster_steps)
    except DoesNotFitError as error:
        raise DoesNotFitError(f"{error}; {where_it_fits(network, config)}") from None


def choose_core(
    graph: Graph, board: str, *, keep_words: bool = False, raster_steps: int = 0
) -> CoreProgram | ClusterProgram:
    """The program for the smallest core of ``board`` that holds ``graph``; the last core's refusal when none does."""
    network = recognise(graph)
    if board not in CORES:
        raise UnsupportedError(f"board must be one with a spiking core ({', '.join(CORES)}), not {board!r}")
    refusal: UnsupportedError | DoesNotFitError | None = None
    for config in CORES[board]:
        try:
            return map_recognised(network, config, keep_words, raster_steps)
        except (UnsupportedError, DoesNotFitError) as error:
            refusal = error
    assert refusal is not None
    if isinstance(refusal, DoesNotFitError):
        raise DoesNotFitError(f"{refusal}; {where_it_fits(network, CORES[board][-1])}")
    raise refusal


def where_it_fits(network: Network, config: CoreConfig) -> str:
    """The cores that would hold the network, in words."""
    fitting = []
    for board, cores in CORES.items():
        for other in cores:
            if other == config:
                continue
            try:
                map_recognised(network, other, False, 0)
            except (DoesNotFitError, UnsupportedError):
                continue
            fitting.append(f"{board} with profile {other.profile}")
            break
    return f"it fits {', '.join(fitting)}" if fitting else "no core of the boards holds it, so make the network smaller"


def map_recognised(
    network: Network, config: CoreConfig, keep_words: bool = False, raster_steps: int = 0
) -> CoreProgram | ClusterProgram:
    """Map with dense rows where they are faster; if that does not fit, with the smaller form of each projection.

    Builds of several cores get a program for each: the network is shared out over as many as make a silent step shortest, the
    fewest of those that are equal. Raises UnsupportedError and DoesNotFitError as :func:`map_graph`, without
    looking at other cores.
    """

    def on_core(part: Network, steps: Steps) -> CoreProgram:
        for preference in (FAST, EVEN):
            try:
                return _map(part, config, keep_words, raster_steps, preference, steps)
            except DoesNotFitError:
                continue
        return _map(part, config, keep_words, raster_steps, SMALL, steps)

    if config.cores == 1:
        return on_core(network, StepProgram)
    return min(cluster_programs(network, config, on_core), key=idle_cycles)


Steps = Callable[[Placement], StepProgram]


def _map(
    network: Network, config: CoreConfig, keep_words: bool, raster_steps: int, preference: float, make: Steps
) -> CoreProgram:
    """Check, place, write the program, and say how to read it back."""
    check_network(network, config)
    place = Placement(network, config, keep_words, preference)
    steps = make(place)
    words = steps.encode()
    if place.pool.used > config.pool_words:
        raise DoesNotFitError(
            f"network {network.graph.name!r} must fit the {config.pool_words} pool words of profile {config.profile!r}, "
            f"not need {place.pool.used}"
        )
    return CoreProgram(config, words, place.pool.words.copy(), maps_of(place, place.raster(raster_steps), steps.sizes))

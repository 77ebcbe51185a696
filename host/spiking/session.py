"""A spiking core on a device: load a network, run it, learn, and read back what it has learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import DeviceError, DoesNotFitError, InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking import layout
from neuroloom.compiler.spiking.bounds import cycle_bounds
from neuroloom.compiler.spiking.core import CORES, CoreConfig, CoreProgram
from neuroloom.compiler.spiking.image import patch_weights, read_synapses, state_place
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.recognise import recognise
from neuroloom.host.device import Device
from neuroloom.rtl.flash.network import Start
from neuroloom.sim.inputs import prepare

from .loading import STAMP_WORDS, load_calls, stamp
from .loop import Loop
from .pool import GAP, fill, read_words, spans, words_of, write_words
from .protocol import RECORD_BYTES, Call, Control, Space, Status, control, query, read, status
from .sample import SampleRun
from .streaming import OneByOne, Stream

Progress = Callable[[int, int], None]


class SpikingDevice:
    """A session with a spiking core behind an open :class:`~neuroloom.host.device.Device`.

    Raises DeviceError unless the device has a spiking core. Attributes: ``config``, the core as it says itself; ``program``, what
    it was loaded with; ``facts``, what :meth:`run` measured: ``cycles``, ``stalls`` (per sample) and ``saturated`` (texts).
    """

    def __new__(cls, device: Device) -> SpikingDevice:
        """A session with several cores where the device has them: they are loaded and read together."""
        if cls is SpikingDevice and device.identity.engine == "spiking":
            from .cluster import ClusterDevice

            answer = device.stream([(query().data, RECORD_BYTES)])
            if CoreConfig.from_bytes(answer).cores > 1:
                return super().__new__(ClusterDevice)
        return super().__new__(cls)

    def __init__(self, device: Device) -> None:
        identity = device.identity
        if identity.engine != "spiking":
            raise DeviceError(
                f"the device on {device.name} must have a spiking core, but it has a {identity.engine} engine; build one with"
                f" `neuroloom build --core PROFILE --board {identity.board}` and flash it"
            )
        self.device = device
        self.limit = identity.max_payload
        self.config: CoreConfig = _config(self.call([query()]), identity.board)
        self.graph: Graph | None = None
        self.program: CoreProgram | None = None
        self.facts: dict[str, Any] = {}
        self._patience: tuple[CoreProgram | None, int] = (None, 0)

    def call(self, calls: Iterable[Call]) -> bytes:
        """Send calls; returns their answers behind one another. Raises DeviceError."""
        return self.device.stream((call.data, call.answer) for call in calls)

    def status(self) -> Status:
        """The core's registers, at any time."""
        return Status.from_bytes(self.call([status()]))

    # ------------------------------------------------------------------ loading

    def map(self, graph: Graph) -> CoreProgram:
        """The program of ``graph`` for this very core; raises DoesNotFitError or UnsupportedError naming a core that would do."""
        try:
            program: Any = map_graph(graph, self.config)  # for several cores in a session with several
            return program
        except DoesNotFitError as error:
            hint = _hint(graph, self.device.identity.board, self.config)
            raise DoesNotFitError(f"{error}{hint}") from None

    def load(self, graph: Graph, *, check: bool = True) -> CoreProgram:
        """Load a network: program, synapses, initial state, LFSR seed; all that was learnt before is gone.

        ``check`` reads everything back. Raises what :meth:`map` raises, and DeviceError when the memory does not hold what was
        written.
        """
        program = self.map(graph)
        self.load_program(program, check=check)
        self.graph, self.program = graph, program
        return program

    def load_program(self, program: CoreProgram, *, check: bool = True) -> None:
        """Load the program of one core; raises DeviceError when the memory does not hold what was written."""
        content, seal = load_calls(self.config, program, self.limit)
        self.call(content)
        if check:
            self._compare(Space.PROGRAM, np.ascontiguousarray(program.program, "<u4").tobytes())
            self._compare(Space.POOL, layout.pool_bytes(program.pool))
        self.call(seal)

    def _compare(self, space: Space, data: bytes) -> None:
        got = self.call(read(space, 0, len(data), self.limit))
        if got != data:
            at = next(n for n, (x, y) in enumerate(zip(got, data, strict=True)) if x != y)
            raise DeviceError(
                f"the {space.name.lower()} memory on {self.device.name} must hold {data[at]:#04x} at byte {at}, not"
                f" {got[at]:#04x}; load again, and if it repeats the board is faulty"
            )

    def attach(self, graph: Graph) -> CoreProgram:
        """Go on with a network that was loaded before, with what it has learnt; raises DeviceError when it is not there."""
        if not self.has(graph):
            raise DeviceError(
                f"the core on {self.device.name} must be loaded with {graph.name!r} first;"
                f" run `neuroloom load` with this model and --port {self.device.name}"
            )
        assert self.program is not None
        return self.program

    def has(self, graph: Graph) -> bool:
        """Whether the core was loaded with ``graph``; if so, the session goes on with it."""
        program = self.map(graph)
        if not self.holds(program) or self.device.network() == Start.CHANGED:
            return False
        self.graph, self.program = graph, program
        return True

    def holds(self, program: CoreProgram) -> bool:
        """Whether the core was loaded with a program."""
        image = np.ascontiguousarray(program.program, "<u4").tobytes()
        stamp_at, mark = 4 * (self.config.program_words - STAMP_WORDS), stamp(program)
        want = image + mark if len(image) <= stamp_at else image
        calls = read(Space.PROGRAM, 0, len(image), self.limit)
        if len(image) <= stamp_at:
            calls += read(Space.PROGRAM, stamp_at, 4 * STAMP_WORDS, self.limit)
        return self.call(calls) == want

    def _loaded(self) -> CoreProgram:
        if self.program is None:
            raise InputError("a network must be loaded first, with load or attach")
        return self.program

    # ------------------------------------------------------------------ running

    def run(
        self,
        inputs: Mapping[str, np.ndarray] | np.ndarray,
        *,
        raster: bool | None = None,
        trace: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, np.ndarray]:
        """Run samples [N, T, ...] and return the graph's outputs, int64 [N, T, ...], as the simulators do.

        Learning goes on from sample to sample and from run to run; everything else starts afresh with each sample. ``raster``
        plays input spikes from the core's pool (default: when they fit there), else they are sent step by step. ``trace`` runs
        step by step and puts the cycles of every step into ``facts["step_cycles"]`` [N, T]. Raises InputError for arrays that do
        not fit the network, DeviceError when line or core fail.
        """
        program = self._loaded()
        assert self.graph is not None
        arrays = prepare(self.graph, inputs)
        count = len(next(iter(arrays.values())))
        samples = [{name: array[number] for name, array in arrays.items()} for number in range(count)]
        recordings = self.sequence(self.runner(program, raster=raster, trace=trace)).run(samples, progress)
        self.facts = {
            "cycles": np.array([r.cycles for r in recordings]),
            "stalls": np.array([r.stalls for r in recordings]),
            "saturated": sorted({text for r in recordings for text in r.saturated}),
        }
        if trace:
            self.facts["step_cycles"] = np.array([r.step_cycles for r in recordings])
        return {name: np.stack([r.outputs[name] for r in recordings]) for name in recordings[0].outputs}

    def decide(
        self, inputs: Mapping[str, np.ndarray] | np.ndarray, *, progress: Progress | None = None
    ) -> dict[str, np.ndarray]:
        """Classify samples [N, T, ...] and stop each at its decision: arrays [N] ``winner``, ``done``, ``at`` (step), ``cycles``.

        ``winner`` and ``at`` equal the graph's ``decision.winner`` and ``decision.at`` behind the last step; where the core was
        not sure (``done`` 0) the winner is the leader. Raises InputError when the network has no decision.
        """
        program = self._loaded()
        assert self.graph is not None
        if not program.maps["decision"]:
            raise InputError(f"network {self.graph.name!r} must have a decision to stop at; run it instead")
        arrays = prepare(self.graph, inputs)
        count = len(next(iter(arrays.values())))
        samples = [{name: array[number] for name, array in arrays.items()} for number in range(count)]
        found = self.sequence(self.runner(program)).decide(samples, progress)
        return {
            "winner": np.array([s.winner for s in found]),
            "done": np.array([int(s.decided) for s in found]),
            "at": np.array([s.decided_at if s.decided else 0 for s in found]),
            "cycles": np.array([s.cycles for s in found]),
        }

    def runner(self, program: CoreProgram, *, raster: bool | None = None, trace: bool = False) -> SampleRun:
        """What runs samples of a loaded program."""
        return SampleRun(self, program, raster=raster, trace=trace)

    def sequence(self, runner: SampleRun) -> OneByOne:
        """What runs several samples one after the other."""
        return Stream(runner)

    def patience(self, program: CoreProgram) -> int:
        """Steps that certainly end before the link's watchdog gives a silent core up, with a half to spare."""
        if self._patience[0] is not program:
            identity = self.device.identity
            cycles = identity.watchdog_ms * identity.clock_hz // 2000
            self._patience = (program, cycles // cycle_bounds(program).worst)
        return self._patience[1]

    def loop(self) -> Loop:
        """A sample that is run piece by piece, each piece's inputs made of what the last one gave; see :class:`.loop.Loop`."""
        self._loaded()
        assert self.graph is not None
        return Loop(self, self.graph)

    def set_reward(self, reward: int) -> None:
        """Set the reward, -128..127, until the next run sets it from its inputs."""
        if not -128 <= reward <= 127:
            raise InputError(f"reward must be in -128..127, not {reward}")
        self.call([control(Control.REWARD, reward)])

    # ------------------------------------------------------------------ states

    def states(self) -> list[str]:
        """Names of the neurons' states that :meth:`state` reads: membranes, currents, thresholds' adaptations, counters."""
        maps: Any = self._loaded().maps
        assert self.graph is not None
        lagging = {node.inputs[1] for node in self.graph.walk() if node.op == "trace"}
        return [state for place in maps["populations"].values() for state in place["states"] if state not in lagging]

    def state(self, name: str) -> np.ndarray:
        """A state of neurons as it is on the board now, int64 [n], by the graph's name: ``POPULATION.v``, ``.a`` and so on.

        Raises InputError for other names, those of traces among them (the core keeps them as learning last read them).
        """
        program, known = self._loaded(), self.states()
        if name not in known:
            raise InputError(f"state must be one of {', '.join(known) or '(none)'}, not {name!r}")
        at, bits = state_place(program, name)
        return layout.read_fields(self.pool(words_of(self.config, at, bits)), at, bits)

    def thresholds(self, population: str) -> np.ndarray:
        """Thresholds of a population as they are now, int64 [n]: its own, and what adaptation has added to them.

        Raises InputError for a population without thresholds.
        """
        program = self._loaded()
        assert self.graph is not None
        maps: Any = program.maps
        nodes = {name: p.node for name, p in recognise(self.graph).populations.items()}
        able = [name for name, node in nodes.items() if "threshold" in node.attrs]
        if population not in able:
            raise InputError(f"population must be one of {', '.join(able) or '(none)'}, not {population!r}")
        place = maps["populations"][population]
        own = np.broadcast_to(np.asarray(nodes[population].attrs["threshold"], np.int64), (place["size"],))
        adapted = [state for state, word in place["states"].items() if word == "a" and state in self.states()]
        return own + sum((self.state(state) for state in adapted), np.zeros(place["size"], np.int64))

    # ------------------------------------------------------------------ synapses

    def projections(self) -> list[str]:
        """Names of the projections."""
        maps: Any = self._loaded().maps
        return list(maps["projections"])

    def plastic(self) -> list[str]:
        """Names of the projections that learn."""
        maps: Any = self._loaded().maps
        return [name for name, place in maps["projections"].items() if place["state"]]

    def weights(self, name: str) -> np.ndarray:
        """Weights of projection ``name`` as they are on the board now, int64 [synapses] in the graph's order."""
        return self._synapses(name, "weights")

    def initial(self, program: CoreProgram) -> dict[str, np.ndarray]:
        """Weights of every projection as a fresh load writes them."""
        maps: Any = program.maps
        places = maps["projections"].items()
        return {name: read_synapses(program.config, place, program.pool, "weights") for name, place in places}

    def eligibility(self, name: str) -> np.ndarray:
        """Eligibilities of projection ``name``, int64 [synapses]; 0 where the rule has none."""
        return self._synapses(name, "eligibility")

    def _synapses(self, name: str, kind: str) -> np.ndarray:
        place = self._projection(name)
        width = self.config.weight_bits if kind == "weights" else 8
        at = place["at" if kind == "weights" else "eligibility_at"]
        return read_synapses(self.config, place, self.pool(words_of(self.config, at, width)), kind)

    def _projection(self, name: str) -> Mapping[str, Any]:
        maps: Any = self._loaded().maps
        if name not in maps["projections"]:
            raise InputError(f"projection must be one of {', '.join(maps['projections'])}, not {name!r}")
        return maps["projections"][name]

    def set_weights(self, name: str, weights: np.ndarray) -> None:
        """Replace the weights of projection ``name``; raises InputError when they do not fit where the old ones stand."""
        program, place = self._loaded(), self._projection(name)
        words = words_of(self.config, place["at"], self.config.weight_bits)
        now = replace(program, pool=self.pool(words))
        changed = patch_weights(now, name, weights)
        calls = []
        for first, end in spans(words):
            calls += write_words(self.config, first, changed.pool[first:end], self.limit)
        self.call(calls)

    def pool(self, words: np.ndarray) -> np.ndarray:
        """The pool with the content of ``words`` as it is on the board, zeros elsewhere; uint32 [words, lanes]."""
        out = np.zeros((len(self._loaded().pool), self.config.lanes), np.uint32)
        known = spans(words, GAP)
        calls = [call for span in known for call in read_words(self.config, span, self.limit)]
        fill(out, known, self.call(calls), self.config)
        return out


def _config(data: bytes, board: str) -> CoreConfig:
    """The core's configuration, by the name of the board's profile when it is one."""
    config = CoreConfig.from_bytes(data)
    named = {c.to_bytes(): c for c in CORES.get(board, ())}
    return named.get(data, config)


def _hint(graph: Graph, board: str, config: CoreConfig) -> str:
    """Which profile of the same board would do, as a continuation of a sentence."""
    for other in CORES.get(board, ()):
        if other == config:
            continue
        try:
            map_graph(graph, other)
        except InputError:
            continue
        except DoesNotFitError:
            continue
        return f"; build it with `neuroloom build --core {other.profile} --board {board}` and flash that"
    return ""

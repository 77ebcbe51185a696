"""Several spiking cores on one device, used as one: see "Several cores" in ``docs/spiking-core.md``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.cluster import ClusterProgram, joined
from neuroloom.compiler.spiking.core import CoreProgram
from neuroloom.compiler.spiking.image import read_synapses
from neuroloom.host.device import Device

from .cluster_run import ClusterRun
from .protocol import ALL, ENVELOPE_BYTES, Call, Control, Status, control, status, to_core
from .session import SpikingDevice
from .streaming import OneByOne

if TYPE_CHECKING:
    from neuroloom.compiler.ir import Graph


class CoreView(SpikingDevice):
    """One of the cores of a :class:`ClusterDevice`: its program is the part of the network that it runs."""

    def __init__(self, owner: ClusterDevice, number: int) -> None:
        self.device, self.config = owner.device, owner.config
        self.owner, self.number = owner, number
        self.limit = owner.limit - ENVELOPE_BYTES
        self.graph: Graph | None = None
        self.program: CoreProgram | None = None
        self.facts: dict[str, Any] = {}

    def __new__(cls, owner: ClusterDevice, number: int) -> CoreView:
        """No device is asked what it is."""
        return object.__new__(cls)

    def call(self, calls: Iterable[Call]) -> bytes:
        """Calls for this core."""
        return self.owner.call(to_core(self.number, calls))


class ClusterDevice(SpikingDevice):
    """A session with the cores of a build; ``members`` are the cores, each with its part of the network.

    What :class:`SpikingDevice` says holds for the whole network; ``program`` is a
    :class:`~neuroloom.compiler.spiking.cluster.ClusterProgram`.
    """

    program: ClusterProgram | None  # type: ignore[assignment]

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.members = [CoreView(self, number) for number in range(self.config.cores)]

    def status(self) -> Status:
        """The registers of all cores: flags and saturations of any, all events, the decision of the one that decides."""
        data = self.call(call for k in range(len(self.members)) for call in to_core(k, [status()]))
        size = len(data) // len(self.members)
        return merged([Status.from_bytes(data[k * size : (k + 1) * size]) for k in range(len(self.members))])

    # ------------------------------------------------------------------ loading

    def load_program(self, program: ClusterProgram, *, check: bool = True) -> None:  # type: ignore[override]
        """Load the programs of all cores."""
        for member, part in zip(self.members, program.parts, strict=True):
            member.load_program(part, check=check)
            member.program = part

    def holds(self, program: ClusterProgram) -> bool:  # type: ignore[override]
        """Whether the cores were loaded with the programs."""
        if not all(member.holds(part) for member, part in zip(self.members, program.parts, strict=True)):
            return False
        for member, part in zip(self.members, program.parts, strict=True):
            member.program = part
        return True

    # ------------------------------------------------------------------ running

    def runner(  # type: ignore[override]
        self, program: ClusterProgram, *, raster: bool | None = None, trace: bool = False
    ) -> ClusterRun:
        """What runs samples of a loaded program."""
        return ClusterRun(self, program, raster=raster, trace=trace)

    def sequence(self, runner: ClusterRun) -> OneByOne:  # type: ignore[override]
        """The cores are looked at in turn, so each sample waits for the one before."""
        return OneByOne(runner)

    def set_reward(self, reward: int) -> None:
        """Set the reward of all cores."""
        if not -128 <= reward <= 127:
            raise InputError(f"reward must be in -128..127, not {reward}")
        self.call(to_core(ALL, [control(Control.REWARD, reward)]))

    # ------------------------------------------------------------------ states and synapses

    def states(self) -> list[str]:
        """Names of the neurons' states that :meth:`state` reads."""
        return [state for place in self._loaded().maps["populations"].values() for state in place["states"]]  # type: ignore[attr-defined]

    def state(self, name: str) -> np.ndarray:
        """A state of neurons as it is on the board now, joined from the cores that hold it."""
        program: Any = self._loaded()
        for population, place in program.maps["populations"].items():
            if name in place["states"]:
                cores = [f.core for f in program.maps["fragments"][population]]
                return joined(program, population, {core: self._state(core, name) for core in cores})
        raise InputError(f"state must be one of {', '.join(self.states()) or '(none)'}, not {name!r}")

    def _state(self, core: int, name: str) -> np.ndarray:
        member = self.members[core]
        member.graph = self.graph
        return member.state(name)

    def initial(self, program: ClusterProgram) -> dict[str, np.ndarray]:  # type: ignore[override]
        """Weights of every projection as a fresh load writes them."""
        out = {}
        for name, place in program.maps["projections"].items():
            out[name] = np.zeros(place["synapses"], np.int64)
            for piece in place["pieces"]:
                maps: Any = program.parts[piece.core].maps
                words = program.parts[piece.core].pool
                out[name][piece.index] = read_synapses(self.config, maps["projections"][piece.name], words, "weights")
        return out

    def _synapses(self, name: str, kind: str) -> np.ndarray:
        place = self._projection(name)
        out = np.zeros(place["synapses"], np.int64)
        for piece in place["pieces"]:
            out[piece.index] = self.members[piece.core]._synapses(piece.name, kind)
        return out

    def set_weights(self, name: str, weights: np.ndarray) -> None:
        """Replace the weights of projection ``name``; raises InputError when they do not fit where the old ones stand."""
        place, values = self._projection(name), np.asarray(weights, np.int64)
        if values.shape != (place["synapses"],):
            raise InputError(
                f"weights of {name!r} must be {place['synapses']}, one per synapse, not {list(values.shape)}"
            )
        for piece in place["pieces"]:
            self.members[piece.core].set_weights(piece.name, values[piece.index])

    def pool(self, words: np.ndarray) -> np.ndarray:
        """Refused: every core has a pool of its own."""
        raise InputError("pool must be read core by core; use members[NUMBER].pool")


def merged(found: list[Status]) -> Status:
    """The registers of all cores as those of one: the cycles are core 0's, as they are the same in all."""
    first = found[0]
    decider = next((s for s in found if s.decided), first)
    return Status(
        running=any(s.running for s in found),
        stalled=any(s.stalled for s in found),
        stopped=first.stopped,
        decided=decider.decided,
        saturated=int(np.bitwise_or.reduce([s.saturated for s in found])),
        events=sum(s.events for s in found),
        step=first.step,
        cycles=first.cycles,
        stalls=first.stalls,
        decided_at=decider.decided_at,
        winner=decider.winner,
    )

"""One sample on a core in pieces, for closed loops: the next inputs may depend on the last outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.sim.inputs import prepare

if TYPE_CHECKING:
    from .session import SpikingDevice


class Loop:
    """One sample of a loaded network: ``run`` after ``run`` gives what one call with all steps would give.

    The counterpart of :class:`neuroloom.sim.spiking.Session`, with the same methods. ``step`` is the number of the next step.
    Only the loop may run the device while a sample goes on; weights and states can be read in between.
    """

    def __init__(self, device: SpikingDevice, graph: Graph) -> None:
        self.device, self.graph = device, graph
        assert device.program is not None
        self.program = device.program
        self._runner = device.runner(self.program)
        self.new_sample()

    @property
    def step(self) -> int:
        """Number of the next step within the sample."""
        return self._runner.now.step

    def new_sample(self) -> None:
        """Begin another sample: states of lifetime sample start afresh, learnt weights and other persistent states stay."""
        self._check()
        self._runner.start()

    def run(self, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs, int64 [T, ...], of the next T steps with ``inputs`` [T, ...].

        ``device.facts`` gets ``cycles``, ``stalls`` and ``saturated`` of these steps (``saturated`` of the whole sample). Raises
        InputError for arrays that do not fit the graph, DeviceError when line or core fail.
        """
        self._check()
        if isinstance(inputs, Mapping):
            arrays = prepare(self.graph, {name: np.asarray(given)[None] for name, given in inputs.items()})
        else:
            arrays = prepare(self.graph, np.asarray(inputs)[None])
        recording = self._runner.proceed({name: array[0] for name, array in arrays.items()})
        self.device.facts = {
            "cycles": np.array([recording.cycles]),
            "stalls": np.array([recording.stalls]),
            "saturated": sorted(recording.saturated),
        }
        return recording.outputs

    def state(self, name: str) -> np.ndarray:
        """``PROJECTION.weights`` or a state of neurons, int64, as it is on the board now."""
        projection, _, word = name.rpartition(".")
        if word == "weights" and projection in self.device.projections():
            return self.device.weights(projection)
        return self.device.state(name)

    def _check(self) -> None:
        if self.device.program is not self.program:
            raise InputError(
                "the loop's network must still be on the device, but another one was loaded; begin a new loop"
            )

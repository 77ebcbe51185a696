"""Spiking networks, from ``neuroloom.Network`` or from YAML and JSON files, to graphs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.quantise import quantise
from neuroloom.compiler.spiking.real import measure_peaks


def network_graph(
    network: Network,
    *,
    weight_bits: int | None = None,
    state_bits: int | None = None,
    scales: Mapping[str, float] | None = None,
    shifts: Mapping[str, int] | None = None,
    calibrate: Mapping[str, np.ndarray] | np.ndarray | None = None,
) -> Graph:
    """Quantise ``network`` where it has real numbers, and lower it.

    ``calibrate`` are input arrays [samples, steps, n] by input name (or one array when there is one input): membranes
    get room for twice the peaks that they reach on it. The other options are those of
    :func:`neuroloom.compiler.spiking.quantise.quantise`.
    """
    peaks = None if calibrate is None else measure_peaks(network, calibrate)
    exact, _ = quantise(
        network, weight_bits=weight_bits, state_bits=state_bits, scales=scales, shifts=shifts, peaks=peaks
    )
    return lower_network(exact)


def load_network_graph(path: str | os.PathLike[str], **options: Any) -> Graph:
    """Read a network file and lower it; options as for :func:`network_graph`."""
    return network_graph(Network.load(path), **options)

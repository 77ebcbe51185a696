"""The report: one self-contained HTML page about a compiled network."""

from __future__ import annotations

from .page import Facts, render
from .spiking_facts import SpikingFacts, collect
from .spiking_page import render_spiking

__all__ = ["Facts", "SpikingFacts", "collect", "render", "render_spiking"]

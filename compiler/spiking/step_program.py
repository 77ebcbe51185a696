"""The step program of a placed network: its commands in order, its microprograms behind them, the decision's table at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError

from .core import SPIKE_WORD
from .isa import Step, assemble, command_words, encode_command
from .placement import Placement
from .recognise import Projection, Source
from .rows import Part

ROUNDINGS = {"floor": 0, "half_up": 1, "stochastic": 2}


class StepProgram:
    """Writes the program of a placement; ``sizes`` tells the words of its parts. The passes' addresses go to ``Placed.pcs``."""

    def __init__(self, placement: Placement) -> None:
        self.place = placement
        self.net, self.config, self.placed = placement.net, placement.config, placement.placed
        self.programs: dict[tuple[int, ...], int] = {}
        self.sizes: dict[str, int] = {}

    def encode(self) -> np.ndarray:
        """All words, uint32; raises DoesNotFitError when they are too many."""
        commands = list(self.commands())
        length = sum(command_words(step) for step, _ in commands)
        code: list[int] = []
        for place in self.placed.values():
            if place.code:
                programs = [assemble(items, large=self.config.large) for items in place.code.passes]
                place.pcs = [self.microprogram(words, code, length) for words in programs]
        table = []
        if self.net.decision and self.net.decision.node.attrs["mode"] == "confidence":
            table = [int(v) for v in self.net.decision.node.attrs["table"]]
        total = length + len(code) + len(table)
        if total > self.config.program_words:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must need at most {self.config.program_words} program words "
                f"on this core, not {total} "
                f"({length} of step commands, {len(code)} of microcode, {len(table)} of the decision's table); "
                f"merge populations of "
                "equal parameters"
            )
        words: list[int] = []
        for step, fields in commands:
            if step is Step.SCAN:
                name, number = fields.pop("_of"), fields.pop("_pass")
                fields["pc"] = self.placed[name].pcs[number]
            if fields.pop("_table", False):
                fields["table"] = length + len(code)
            words += encode_command(step, fields)
        self.sizes = {"commands": length, "microcode": len(code), "table": len(table)}
        return np.array(words + code + table, np.uint32)

    def microprogram(self, words: list[int], code: list[int], start: int) -> int:
        """Program address of a microprogram; equal ones are stored once."""
        key = tuple(words)
        if key not in self.programs:
            self.programs[key] = start + len(code)
            code += words
        return self.programs[key]

    def commands(self) -> list[tuple[Step, dict[str, Any]]]:
        """The step program; addresses of microcode and tables are filled in later."""
        out = self.before()
        for name in self.net.populations:
            out += self.of_population(name)
        return out + self.after()

    def before(self) -> list[tuple[Step, dict[str, Any]]]:
        """What a step begins with: the inputs and their traces."""
        out: list[tuple[Step, dict[str, Any]]] = []
        if self.place.input_words:
            base = self.place.pool.used
            out.append(
                (
                    Step.INPUTS,
                    {
                        "words": self.place.input_words,
                        "raster_base": min(base, 65535),
                        "first_word": self.config.neurons // SPIKE_WORD,
                    },
                )
            )
        for name, source in self.net.inputs.items():
            if source.traces:
                out += self.scans(name, source, False)
        return out

    def of_population(self, name: str) -> list[tuple[Step, dict[str, Any]]]:
        """What a population takes: deliveries, then its neurons."""
        out: list[tuple[Step, dict[str, Any]]] = []
        for p in self.net.projections.values():
            if p.target == name:
                out += [self.delivery(p, part) for part in self.place.parts[p.name]]
        return out + self.scans(name, self.net.populations[name], name in self.place.watched)

    def after(self) -> list[tuple[Step, dict[str, Any]]]:
        """What a step ends with: learning and the decision."""
        out: list[tuple[Step, dict[str, Any]]] = []
        for p in self.net.projections.values():
            out += [self.learning(p, part) for part in self.place.parts[p.name] if part.learns]
        if self.net.decision:
            out.append(self.decision())
        out.append((Step.END, {}))
        return out

    def scans(self, name: str, source: Source, watch: bool) -> list[tuple[Step, dict[str, Any]]]:
        """SCAN commands of a source, one per pass."""
        place = self.placed[name]
        assert place.code is not None
        last = len(place.code.passes) - 1
        return [
            (
                Step.SCAN,
                {
                    "first_group": place.first // self.config.lanes,
                    "groups": -(-source.size // self.config.lanes),
                    "neurons": source.size,
                    "state_base": place.base,
                    "stride": place.stride,
                    "watch": int(watch and number == last),
                    "reset_best": int(number == 0),
                    "_of": name,
                    "_pass": number,
                },
            )
            for number in range(last + 1)
        ]

    def source_fields(self, name: str) -> dict[str, int]:
        """Spike words of a source."""
        return {
            "first_word": self.placed[name].first // SPIKE_WORD,
            "words": -(-self.net.sources[name].size // SPIKE_WORD),
        }

    def delivery(self, p: Projection, part: Part) -> tuple[Step, dict[str, Any]]:
        """A DENSE or SPARSE command."""
        fields = {**self.source_fields(p.source), **part.fields}
        if part.step is Step.DENSE:
            fields["target"] = self.placed[p.target].first
        return part.step, fields

    def learning(self, p: Projection, part: Part) -> tuple[Step, dict[str, Any]]:
        """A LEARN command."""
        assert p.learn is not None and part.learns is not None
        a = p.learn.node.attrs
        source, target = self.placed[p.source], self.placed[p.target]
        assert source.words and target.words
        fields = {
            **self.source_fields(p.source),
            **part.learns,
            "target": target.first,
            "targets": self.net.populations[p.target].size,
            "sources": self.net.sources[p.source].size,
            "x_base": source.base,
            "x_k": source.words[self.place.trace_words(self.net.sources[p.source])[p.learn.x].word],
            "x_stride": source.stride,
            "y_base": target.base,
            "y_k": target.words[self.place.trace_words(self.net.populations[p.target])[p.learn.y].word],
            "y_stride": target.stride,
            "w_min": a["w_min"],
            "w_max": a["w_max"],
            "f": a["f"],
            "soft": int(a.get("soft", False)),
            "window": int(a.get("window", False)),
            "rounding": ROUNDINGS[a.get("rounding", "floor")],
            "pot": a.get("pot", 0),
            "dep": a.get("dep", 0),
            "eligible": int(a.get("eligibility", False)),
            "g": a.get("g", 0),
            "e_decay": a.get("e_decay", 256),
            **self.first_random(p),
        }
        return Step.LEARN_DENSE if part.step is Step.DENSE else Step.LEARN_SPARSE, fields

    def first_random(self, p: Projection) -> dict[str, int]:
        """Where the random numbers of a rule begin: nothing to say where both sides are whole populations."""
        return {}

    def decision(self) -> tuple[Step, dict[str, Any]]:
        """The DECIDE command."""
        d = self.net.decision
        assert d is not None
        place, a = self.placed[d.population], d.node.attrs
        assert place.words is not None
        fields: dict[str, Any] = {
            "neurons": self.net.populations[d.population].size,
            "state_base": place.base,
            "stride": place.stride,
            "k": place.words["count"],
        }
        if a["mode"] == "margin":
            fields |= {"mode": 0, "margin": a["margin"]}
        else:
            fields |= {"mode": 1, "margin": a["limit"], "entries": len(a["table"]), "_table": True}
        return Step.DECIDE, fields

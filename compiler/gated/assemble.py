"""Jobs and control to program words: delays filled in, jumps resolved."""

from __future__ import annotations

from dataclasses import dataclass

from neuroloom.compiler.errors import UnsupportedError

from .code import Branch, Fields, Halt, Item, Job, Load, Loop, Main, Stream
from .isa import MAX_DELAY, Op, encode
from .schedule import Block


@dataclass
class Label:
    """A place in the program."""

    at: int = -1


Word = tuple[Op, Fields, Label | None]


class Assembler:
    """Collects words; ``multiplies`` counts the multiplications of each word's job, for utilisation."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.blocks: list[tuple[int, int, int]] = []
        """(first word, cycles, multiplications) of every straight piece."""
        self.main = Label()
        self.put(Op.JUMP, None, self.main)

    def put(self, op: Op, fields: Fields | None = None, label: Label | None = None) -> None:
        """One word; ``label`` fills its target."""
        self.words.append((op, dict(fields or {}), label))

    def mark(self, label: Label) -> None:
        """The label stands here."""
        label.at = len(self.words)

    def items(self, items: list[Item]) -> None:
        """Everything in order."""
        straight: list[Job] = []
        for item in items:
            if isinstance(item, Job):
                straight.append(item)
                continue
            self.block(straight)
            straight = []
            self.control(item)
        self.block(straight)

    def block(self, jobs: list[Job]) -> None:
        """A straight piece, scheduled."""
        if not jobs:
            return
        block = Block(jobs)
        block.schedule()
        first, at = len(self.words), 0
        for index, (cycle, op, fields) in enumerate(block.placed):
            self._wait(cycle - at)
            follows = block.placed[index + 1][0] if index + 1 < len(block.placed) else max(block.end, cycle + 1)
            delay = follows - cycle - 1
            at = cycle + 1
            if op != Op.TERM:
                held = min(delay, MAX_DELAY)
                fields = {**fields, "delay": held}
                at += held
            self.put(op, fields)
        self._wait(block.end - at)
        self.blocks.append((first, max(block.end, at), sum(job.multiplies for job in jobs)))

    def _wait(self, cycles: int) -> None:
        while cycles > 0:
            held = min(cycles - 1, MAX_DELAY)
            self.put(Op.WAIT, {"delay": held})
            cycles -= held + 1

    def control(self, item: Item) -> None:
        """What is not a job."""
        if isinstance(item, Loop):
            top = Label()
            self.put(Op.LOOP, {"level": item.level, "count": item.count})
            self.mark(top)
            self.items(item.body)
            self.put(Op.END, {"level": item.level}, top)
        elif isinstance(item, Branch):
            end = Label()
            for number, body in enumerate(item.bodies):
                last = number == len(item.bodies) - 1
                beyond = Label()
                if not last:
                    self.put(Op.BR, {"addr": item.addr, "areg": item.reg, "imm": number, "unequal": 1}, beyond)
                self.items(body)
                if not last:
                    self.put(Op.JUMP, None, end)
                    self.mark(beyond)
            self.mark(end)
        elif isinstance(item, Stream):
            self.put(item.op, item.fields)
        elif isinstance(item, Load):
            self.put(Op.LDO, {"reg": item.reg, "addr": item.addr, "areg": item.areg})
        elif isinstance(item, Main):
            self.mark(self.main)
        else:
            assert isinstance(item, Halt)
            self.put(Op.HALT)

    def encoded(self) -> list[int]:
        """The program's words; raises UnsupportedError when a number does not fit its field."""
        out = []
        for op, fields, label in self.words:
            if label is not None:
                fields = {**fields, "target": label.at}
            try:
                out.append(encode(op, fields))
            except Exception as error:
                raise UnsupportedError(f"the program cannot be written: {error}; take a smaller network") from None
        return out

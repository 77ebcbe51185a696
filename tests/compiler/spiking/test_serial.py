"""The assembler of the serial learning unit: what no program may ask of it, and the words that it makes."""

from __future__ import annotations

import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.serial import ADDRESS_BITS, LAYOUT, POWERS, REGISTER_BITS, Assembler, Fn, Mem, When
from neuroloom.compiler.spiking.serial_program import program_of


def field(word: int, name: str) -> int:
    low, width = LAYOUT.fields[name]
    return word >> low & (1 << width) - 1


def test_a_register_is_named_one_instruction_ahead() -> None:
    i = Assembler()
    i()
    i("x", Fn.ADD, wr="y")
    i(jump="end", when=When.ZERO)
    i.label("end")
    i("y")
    words = i.words()
    assert [field(w, "next") for w in words] == [i.registers["x"], 0, i.registers["y"], 0]
    assert field(words[1], "place") == i.registers["y"] and field(words[2], "place") == 3


def test_constants_and_powers_of_two() -> None:
    i = Assembler()
    i(7)
    i(256)
    i(-1)
    initial = i.initial()
    assert len(initial) == 1 << REGISTER_BITS and initial[POWERS : POWERS + 16] == [1 << bit for bit in range(16)]
    assert (
        i.registers["#256"] == POWERS + 8
        and initial[i.registers["#7"]] == 7
        and initial[i.registers["#65535"]] == 65535
    )


def test_what_no_program_may_do() -> None:
    i = Assembler()
    i(wr="x")
    i("x")
    with pytest.raises(InputError, match="x must not be read while it is written"):
        i.words()
    i = Assembler()
    i(jump="end", when=When.ZERO)
    i("x")
    i.label("end")
    i("y")
    with pytest.raises(InputError, match=r"must read one register, not \['x', 'y'\]"):
        i.words()
    i = Assembler()
    i(mem=Mem.PROGRAM, word=4)
    i("x")
    with pytest.raises(InputError, match="behind a program word no register can be read"):
        i.words()
    with pytest.raises(InputError, match="must not write a register and jump"):
        i(wr="x", jump="end")
    with pytest.raises(InputError, match="label end must be used once"):
        i.label("end")
        i.label("end")


@pytest.mark.parametrize("neurons", [256, 1024, 4096])
def test_the_program_fits(neurons: int) -> None:
    config = CoreConfig("custom", lanes=1, learning="stdp", neurons=neurons)
    assert config.serial_learning
    assert len(program_of(config).words()) <= 1 << ADDRESS_BITS
    assert not CoreConfig("custom", lanes=1, learning="reward").serial_learning
    assert not CoreConfig("custom", lanes=1, learning="stdp", neurons=128).serial_learning

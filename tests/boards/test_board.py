"""Board files: strict reading, the messages, and every pin against amaranth-boards."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from neuroloom.boards import emit
from neuroloom.boards.board import Board, load_board_file
from neuroloom.boards.build import make_top
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.host.gated.flow import engine_design
from neuroloom.host.spiking.flow import core_design
from neuroloom.rtl.spiking.pins import SPIKE_PINS

GOOD = Path(importlib.import_module("neuroloom.boards").__file__).parent / "icebreaker.yaml"


def changed(tmp_path: Path, **changes: Any) -> Path:
    """A copy of a good board file with dotted keys replaced; the value ``...`` removes the key."""
    value = yaml.safe_load(GOOD.read_text(encoding="utf-8"))
    for dotted, new in changes.items():
        *path, last = dotted.split("__")
        node = value
        for key in path:
            node = node[key]
        if new is ...:
            del node[last]
        else:
            node[last] = new
    target = tmp_path / "icebreaker.yaml"
    target.write_text(yaml.safe_dump(value), encoding="utf-8")
    return target


CASES = [
    ({"colour": "red"}, r"Board file icebreaker\.yaml: key must be one of .*name.*, not 'colour'; correct it"),
    ({"clock__pinn": "3"}, r"Board file icebreaker\.yaml: clock: key must be one of .*, not 'pinn'"),
    ({"uart__tx": ...}, r"Board file icebreaker\.yaml: uart must have the key 'tx', and it is missing; add it"),
    ({"device": ...}, r"must have the key 'device', and it is missing"),
    ({"clock__pin": 35}, r"clock: pin must be a text, not 35"),
    ({"clock__input_hz": True}, r"clock: input_hz must be a whole number, not True"),
    ({"clock__input_hz": 0}, r"clock: input_hz must be at least 1, not 0"),
    ({"leds__active_low": "yes please"}, r"leds: active_low must be true or false, not 'yes please'"),
    ({"leds__pins": [11, 37]}, r"leds: pins must hold texts, not 11; put it in quotes"),
    ({"leds__pins": []}, r"leds: pins must name at least one pin, not none"),
    ({"family": "max10"}, r"family must be one of ice40, ecp5, gowin, xilinx7, not 'max10'"),
    ({"support": "soon"}, r"support must be one of bitstream, vendor-project, not 'soon'"),
    ({"platform": "icebreaker"}, r"platform must be module:Class of amaranth-boards, not 'icebreaker'"),
    ({"name": "other"}, r"name must be the file's, 'icebreaker', not 'other'"),
    ({"resources__luts": -1}, r"resources: luts must be at least 1, not -1"),
    ({"flash__command": ["openFPGALoader"]}, r"flash: command must hold \{bitstream\} once"),
    ({"clock__speeds": {}}, r"clock: speeds must have the key 'logic', and it is missing"),
    ({"clock__speeds__logic__hz": 25_000_000}, r"logic: Settings of SB_PLL40_PAD must give 25000000 Hz, not 24000000"),
    ({"clock__speeds__logic__baud": 2_500_000}, r"logic: baud must be within 1\.5% of clock / divisor"),
    ({"clock__speeds__logic__pll__primitive": "PLL9"}, r"PLL primitive must be one of SB_PLL40_PAD, .*, not 'PLL9'"),
    ({"clock__speeds__logic__pll__settings__DIVF": 10}, r"must run at 533 to 1066 MHz, not 132\.000 MHz"),
    ({"clock__speeds__logic__pll__settings__EXTRA": 1}, r"must be DIVF, DIVQ, DIVR, FILTER_RANGE, not"),
    ({"clock__speeds__logic__pll": ...}, r"Logic clock must be the oscillator's 12000000 Hz without a PLL"),
    ({"spike_pins__event_req": []}, r"spike_pins: event_req must name 1 pins, not 0"),
    ({"spike_pins__loop": ["4"]}, r"spike_pins: key must be one of .*, not 'loop'; correct it"),
    ({"family": "gowin"}, r"flash: slots must be left out for gowin, which cannot boot another image from a design"),
    ({"family": "ecp5"}, r"flash: pins must have the key 'flash_hold_n', and it is missing"),
    ({"flash__slots__network_bytes": 4096}, r"must have 0 to 255 whole 64 KiB blocks for a network, not 4,096 bytes"),
    ({"uart__attributes": {"PULLUP": [1]}}, r"uart: attributes must map names to texts or numbers"),
    ({"uart": "none"}, r"uart must be a mapping, not 'none'"),
    (
        {"clock__speeds__gated many": {"hz": 12_000_000, "baud": 10**6}},
        r"clock 'gated many' must be of a kind of engine, of a gated",
    ),
    (
        {"clock__speeds__logic infer": {"hz": 12_000_000, "baud": 10**6}},
        r"clock 'logic infer' must be of a kind of engine, of a gated",
    ),
]


@pytest.mark.parametrize(("changes", "message"), CASES, ids=[next(iter(case[0])) for case in CASES])
def test_bad_board_file_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_board_file(changed(tmp_path, **changes))
    assert re.search(message, str(caught.value)), str(caught.value)
    assert str(caught.value).startswith("Board file icebreaker.yaml")


def test_unchanged_copy_loads_equal(tmp_path: Path) -> None:
    assert load_board_file(changed(tmp_path)) == load_board("icebreaker")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "Key 'name' must be given once, not again at line 2"),
        ("name: [\n", "must be YAML"),
        ("- a\n", "must be a mapping"),
        ("", "must be a mapping, not None"),
        ("a: !!python/object:os.system x\n", "must be YAML"),
    ],
)
def test_text_that_is_no_board_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_board_file(path)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be readable text"):
        load_board_file(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match="must be readable text"):
        load_board_file(tmp_path / "binary.yaml")


def test_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="Board must be one of icebreaker, .*, not 'de10'"):
        load_board("de10")


def test_the_promised_boards_exist() -> None:
    names = {board.name: board.support for board in all_boards()}
    assert {"icebreaker", "ice40_hx8k_evn", "ulx3s_85f", "tang_nano_9k"} <= {
        name for name, support in names.items() if support == "bitstream"
    }
    assert names["arty_a7"] == names["cmod_a7"] == "vendor-project"


def test_an_engine_without_its_own_speed_runs_at_the_logic_clock() -> None:
    board = load_board("ulx3s_85f")
    hertz = {kind: board.speed(kind).plan.logic_hz for kind in ("logic", "spiking", "gated", "loopback")}
    assert hertz == {"logic": 40_000_000, "spiking": 20_000_000, "gated": 75_000_000, "loopback": 40_000_000}


def test_a_profile_with_its_own_clock_is_built_with_it(tmp_path: Path) -> None:
    board = load_board_file(changed(tmp_path, **{"clock__speeds__gated lanes8": {"hz": 12_000_000, "baud": 1_000_000}}))
    hertz = [board.speed("gated", profile).plan.logic_hz for profile in ("lanes8", "lanes8-4", "tables6", "")]
    assert hertz == [12_000_000, 12_000_000, 24_000_000, 24_000_000]
    factory, identity = engine_design(board.gated[0], board)
    assert board.gated[0].profile == "lanes8" and identity.clock_hz == 12_000_000
    top, own = make_top(factory(), identity, board)
    assert "SB_PLL40" not in emit.to_rtlil(top)
    assert (own.clock_hz, own.baud) == (12_000_000, 1_000_000)
    assert board.clocked("gated", own.clock_hz).speed("gated").plan.logic_hz == 12_000_000
    assert board.clocked("gated", 24_000_000) is board and board.clocked("spiking", 12_000_000) is board


def platform_of(board: Board) -> Any:
    module, name = board.platform.split(":")
    cls = getattr(importlib.import_module(f"amaranth_boards.{module}"), name)
    return cls(toolchain="Apicula") if board.family == "gowin" else cls()


def attributes_of(*owners: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for owner in owners:
        merged.update(owner.attrs)
    return merged


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.name)
def test_pins_agree_with_amaranth_boards(board: Board) -> None:
    resources = platform_of(board).resources
    kept = {"ice40": {"PULLUP"}}.get(board.family)  # the only attribute that the iCE40 flow passes on

    def wanted(attributes: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in attributes.items() if kept is None or key in kept}

    clock = resources[board.clock.resource, 0]
    assert clock.ios[0].names == list(board.clock.pins)
    assert clock.clock.frequency == board.speed().plan.input_hz
    assert wanted(attributes_of(clock)) == dict(board.clock.attributes)

    uart = resources["uart", 0]
    parts = {io.name: io for io in uart.ios}
    for pins, direction in ((board.uart_rx, "i"), (board.uart_tx, "o")):
        part = parts[pins.resource.split(".")[1]].ios[0]
        assert part.names == list(pins.pins) and part.dir == direction
        assert wanted(attributes_of(uart)) == dict(pins.attributes)

    for index, pin in enumerate(board.leds.pins):
        led = resources["led", index]
        assert led.ios[0].names == [pin] and led.ios[0].invert == board.leds.active_low
        assert wanted(attributes_of(led)) == dict(board.leds.attributes)
    assert ("led", len(board.leds.pins)) not in resources


@pytest.mark.parametrize("board", [b for b in all_boards() if b.spike_pins], ids=lambda board: board.name)
def test_spike_pins_are_on_connectors_and_in_the_design(board: Board) -> None:
    """Every bit has a pin of its own on a connector of the kind named; the constraints name the ports of the design."""
    platform = platform_of(board)
    kind = next(iter(board.spike_pins.values())).resource
    on_connectors = {pin for (name, _), c in platform.connectors.items() if name == kind for pin in c.mapping.values()}
    used = [pin for pins in board.spike_pins.values() for pin in pins.pins]
    taken = {*board.clock.pins, *board.uart_rx.pins, *board.uart_tx.pins, *board.leds.pins}
    assert len(set(used)) == len(used) == 13 and set(used) <= on_connectors and not set(used) & taken
    assert tuple(board.spike_pins) == tuple(SPIKE_PINS)

    wired = board.with_spike_pins()
    config = CoreConfig("custom", pool_words=256, neurons=64, inputs=32, slots=2, program_words=128, event_depth=8)
    factory, identity = core_design(config, wired)
    top, _ = make_top(factory(), identity, wired)
    text = FLOWS[board.family].constraints(wired, "spiking")
    for port, member in SPIKE_PINS.items():
        assert top.signature.members[port] == member
        for index, pin in enumerate(wired.spike_pins[port].pins):
            bit = f"{port}[{index}]" if member.shape > 1 else port
            assert re.search(rf'^(set_io|LOCATE COMP) .*{re.escape(bit)}"? .*"?{pin}"?;?$', text, re.MULTILINE), bit
    assert re.search(r"-pullup yes loop_n|\"loop_n\" .*PULLMODE=UP", text)
    assert "loop_n" not in FLOWS[board.family].constraints(board, "spiking")
    emit.to_rtlil(top)


def test_a_board_without_spike_pins_is_refused() -> None:
    with pytest.raises(InputError, match="tang_nano_9k has none; leave --spike-pins out"):
        load_board("tang_nano_9k").with_spike_pins()


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.name)
def test_device_agrees_with_amaranth_boards(board: Board) -> None:
    platform = platform_of(board)
    name = platform.part if board.family == "gowin" else f"{platform.device}{platform.package}"
    plain = name.lower().replace("-", "").replace("ice40", "").replace("lfe5u", "")
    if board.family == "gowin":
        assert board.package == platform.part and board.device == platform._chipdb_device
    elif board.family == "ecp5":
        assert plain == "85fbg381" and (board.device, board.package) == ("85k", "CABGA381")
    else:
        package, _, speed = board.package.partition("-")
        assert plain == board.device + package.lower()
        assert not speed or speed == platform.speed

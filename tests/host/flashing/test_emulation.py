"""``neuroloom emulate --flash``: the file made ready, and the power switch on standard input."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import image_name, install, slot_state, write_image
from neuroloom.boards.hold import held, hold
from neuroloom.boards.image_record import stamp
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.host.cli.app import main
from neuroloom.host.cli.emulate_control import execute
from neuroloom.host.device import connect
from neuroloom.host.flash_emulation import flash_board, wait_for_start
from neuroloom.rtl.flash.layout import golden_image

from .conftest import PATIENCE_S
from .test_command import bitstream, record

ICEBREAKER = load_board("icebreaker")


def test_golden_and_an_image_are_put_where_they_belong(tmp_path: Path) -> None:
    flash, golden, image = tmp_path / "flash.img", tmp_path / "golden.bin", tmp_path / "x.bin"
    golden.write_bytes(golden_image(ICEBREAKER.layout, stamp(bitstream(), record("golden"))))
    image.write_bytes(stamp(bitstream(), record("unattended")))
    flash_board(flash, "icebreaker", golden)
    assert flash.stat().st_size == 1 << 24 and flash.read_bytes().startswith(golden.read_bytes())
    flash_board(flash, "icebreaker", image)
    state = slot_state(flash, ICEBREAKER, 1)
    assert state.starts and state.flags == {"confirmed", "start"} and state.length == len(image.read_bytes())
    assert [image_name(ICEBREAKER.layout, at) for at in (256, 0x40000, 0x80000)] == ["golden", "slot 1", "slot 2"]
    before = flash.read_bytes()
    image.write_bytes(bitstream("8k"))
    with pytest.raises(InputError, match="not for another iCE40"):
        flash_board(flash, "icebreaker", image)
    with pytest.raises(
        InputError, match=r"board must be one that boots several images .*, not tang_nano_9k: it is cable only"
    ):
        flash_board(flash, "tang_nano_9k")
    with pytest.raises(InputError, match="flash file must have the 4,194,304 bytes of ice40_hx8k_evn's flash"):
        flash_board(flash, "ice40_hx8k_evn")
    with pytest.raises(InputError, match="--board must be given with --flash"):
        flash_board(flash, None)
    assert flash.read_bytes() == before
    with pytest.raises(InputError, match="must fit into the flash"):
        write_image(flash, (1 << 24) - 1, b"ab")


def test_the_power_switch(board: FlashBoard, images: dict[str, bytes], flash: Path) -> None:
    install(flash, ICEBREAKER, 1, images["unattended"], ("start", "confirmed"))
    board.start()
    board.wait_for("slot 1")
    assert execute(board, "power off") == "the power is off" and board.image == ""
    assert execute(board, "power on") == "the power is on: golden runs"
    execute(board, f"power off {board.cycles() + 100_000}")
    board.wait_for("")
    assert execute(board, "power on") == "the power is on: golden runs"
    assert execute(board, "power on") == f"the power is on: {board.image} runs"
    for text, why in (
        ("power", "power must be followed by on, off, or off CYCLE"),
        ("power off now", "not 'off now'"),
    ):
        with pytest.raises(InputError, match=why):
            execute(board, text)
    with pytest.raises(InputError, match="power must go with --flash"):
        execute(VirtualBoard({"x.v": ""}, "x", 8, 1), "power off")


def test_a_command_waits_until_golden_has_decided(board: FlashBoard, images: dict[str, bytes], flash: Path) -> None:
    board.start()
    wait_for_start(board)  # nothing is to start
    assert board.image == "golden"
    board.power_off()
    install(flash, ICEBREAKER, 1, images["unattended"], ("start", "confirmed"))
    board.power_on()
    wait_for_start(board)
    assert board.image == "slot 1"


def test_a_port_is_unplugged_and_the_board_is_reset(
    board: FlashBoard, images: dict[str, bytes], flash: Path, tmp_path: Path
) -> None:
    """The host that had the port gets an error, the image runs on; whoever connects then finds it. A reset boots anew."""
    install(flash, ICEBREAKER, 1, images["unattended"], ("start", "confirmed"))
    name = tmp_path / "port"

    def moved(port: str) -> None:
        name.unlink(missing_ok=True)
        name.symlink_to(port)

    board._on_port = moved
    moved(board.start())
    board.wait_for("slot 1")
    boots = board.boots
    with connect(name, timeout=PATIENCE_S) as device:
        assert device.identity.engine == "loopback"
        assert execute(board, "unplug 50ms").startswith(f"serial port {board.port} is back")
        with pytest.raises(DeviceError, match="went away"):
            device.ping()
        device.ping()
    assert (board.image, board.boots) == ("slot 1", boots)
    assert execute(board, "reset") == "the logic was reset"
    board.wait_for("slot 1")
    assert board.boots == boots + 2  # golden, which starts it
    board.power_off()
    board.unplug(1)
    board.power_on()
    board.wait_for("slot 1")
    with connect(name, timeout=PATIENCE_S) as device:
        device.ping()


def test_hosts_wait_while_an_image_is_compiled(
    board: FlashBoard, images: dict[str, bytes], flash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than their patience; and a note whose board has died holds nobody."""
    install(flash, ICEBREAKER, 1, images["unattended"], ("start", "confirmed"))
    board.start()
    board.wait_for("slot 1")
    port, load, said, waits = str(board.port), board._load, [], threading.Event()

    def waiting(sentence: str) -> None:
        said.append(sentence)
        waits.set()

    with connect(port, timeout=PATIENCE_S, on_wait=waiting) as device:

        def slow(number: int | None) -> None:
            device._link.timeout = 0.5
            assert waits.wait(PATIENCE_S)
            time.sleep(1)
            device._link.timeout = PATIENCE_S
            load(number)

        monkeypatch.setattr(board, "_load", slow)
        device.boot_golden()
        assert device.identity.engine in ("loader", "loopback")
    assert said and set(said) == {f"the virtual board on {port} compiles the image that boots; waiting"}
    assert not held(port)
    with hold(port, "compiles"):
        assert held(port) == "compiles"
        monkeypatch.setattr(os, "kill", lambda pid, number: (_ for _ in ()).throw(ProcessLookupError()))
        assert not held(port)


def test_a_flash_without_an_image_leaves_the_board_dark_until_golden_is_written(board: FlashBoard, flash: Path) -> None:
    golden = flash.read_bytes()[:512]
    write_image(flash, 0, b"\xff" * 512)
    with pytest.raises(
        DeviceError, match="stays dark: flash must hold an image or a boot header at address 0x0 at power-up"
    ):
        board.start()
    assert not board.running
    write_image(flash, 0, golden)
    board.start()
    assert board.image == "golden"
    board.power_off()
    write_image(flash, 0, b"\xff" * 512)
    with pytest.raises(DeviceError, match="stays dark"):
        board.power_on()
    board.power_off()
    write_image(flash, 0, golden)
    board.power_on()
    assert board.image == "golden"


def test_a_simulation_that_dies_is_noticed(board: FlashBoard) -> None:
    board.start()
    assert board._current is not None and board._current._process is not None
    board._current._process.kill()
    deadline = time.monotonic() + 20
    while not board.dark and time.monotonic() < deadline:
        time.sleep(0.05)
    assert board.dark == "the simulation ended" and board.image == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--flash", "f.img"), "--board must be given with --flash and no model"),
        (("--flash", "nowhere/f.img", "--board", "icebreaker"), "flash file must be in a folder that exists: nowhere"),
        (("--flash", "f.img", "--board", "tang_nano_9k"), "not tang_nano_9k: it is cable only"),
        (("--flash", "f.img", "--board", "icebreaker", "--core", "infer"), "--core must be left out with --flash"),
        (("--flash", "f.img", "--board", "icebreaker", "--flash-speed", "0"), "--flash-speed must be above 0, not 0"),
        (("x.bin", "--board", "icebreaker", "--fidelity", "rtl"), "Bitstream must be a file, not 'x.bin'"),
        (("--flash", "f.img", "--board", "icebreaker", "x.bin"), "x.bin must be a file, and is not"),
        (("x.fs", "--board", "tang_nano_9k"), "Bitstream must be a file, not 'x.fs'"),
        (("x.bit", "--board", "ulx3s_85f", "--fidelity", "netlist"), "gives the settings of tiles, not a netlist"),
    ],
)
def test_options(
    words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["emulate", *words, "-q"]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ") and not list(tmp_path.iterdir())

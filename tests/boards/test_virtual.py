"""The virtual board: an ordinary serial port with the design behind it, and clean ends in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial
from neuroloom.boards import cache
from neuroloom.boards.emulate import emulate
from neuroloom.boards.faults import PERFECT
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.rtl.link.protocol import Identity

ECHO = """
module echo(input clk, input rst, input rx, output tx, output [1:0] leds);
    // the line goes back one clock later; a memory without initial content shows on the LEDs
    reg line = 1; reg [1:0] seen; reg [1:0] store [0:1];
    always @(posedge clk) begin line <= rx | rst; seen <= store[rst]; end
    assign tx = line; assign leds = seen;
endmodule
"""


@pytest.fixture(scope="module")
def board(identity: Identity, loopback: Callable[[], Any]) -> Iterator[VirtualBoard]:
    with emulate(loopback, identity, load_board("icebreaker")) as running:
        yield running


@pytest.fixture
def echo() -> VirtualBoard:
    return VirtualBoard({"echo.v": ECHO}, "echo", 8_000_000, 1_000_000)


def open_port(board: VirtualBoard) -> serial.Serial:
    assert board.port is not None
    return serial.Serial(board.port, board.baud, timeout=20, exclusive=True)


def test_ping_identify_and_run_over_the_port(board: VirtualBoard, frames: Any, identity: Identity) -> None:
    with open_port(board) as port:
        assert frames.ask(port, frames.SYNC, 5, payload=b"nonce") == (0x81, 5, 0, b"nonce")
        payload = bytes(range(224)) * 2  # as long as a frame holds
        assert frames.ask(port, frames.PING, 6, payload=payload) == (0x82, 6, 0, payload)
        answer = Identity.from_bytes(frames.ask(port, frames.IDENTIFY, 7)[3])
        assert (answer.board, answer.clock_hz, answer.baud) == ("icebreaker", 24_000_000, 3_000_000)
        assert answer.model_hash == identity.model_hash
        assert frames.ask(port, frames.RUN, 8, len(payload), payload) == (0x90, 8, 0, payload)


def test_a_host_at_another_rate_is_not_understood(board: VirtualBoard, frames: Any) -> None:
    """As on a real port: the rate that the host sets is the one it sends and samples with."""
    with serial.Serial(board.port, 1_000_000, timeout=0.3) as port:
        port.write(frames.encode(frames.SYNC, 5, 0, b"nonce") * 3)
        assert frames.encode(0x81, 5)[:3] not in port.read(200)
    with serial.Serial(board.port, 2_950_000, timeout=20) as port:  # 1.7 % off
        port.write(b"\0\0")
        port.reset_input_buffer()
        while frames.ask(port, frames.SYNC, 6, payload=b"nonce") != (0x81, 6, 0, b"nonce"):
            pass  # answers to the broken frames before
        port.timeout = 0.3
        while port.read(4096):
            pass


def test_port_may_be_closed_and_opened_again(board: VirtualBoard, frames: Any) -> None:
    for sequence in (20, 40, 60):
        with open_port(board) as port:
            assert frames.ask(port, frames.SYNC, sequence, payload=b"x")[1] == sequence


def test_garbage_is_survived(board: VirtualBoard, frames: Any) -> None:
    with open_port(board) as port:
        port.write(bytes((i * 37 + 11) & 0xFF for i in range(3000)))
        port.write(b"\0")
        deadline = time.monotonic() + 20
        port.timeout = 0.3
        while port.read(4096) and time.monotonic() < deadline:
            pass  # answers to broken frames
        port.timeout = 20
        assert frames.ask(port, frames.SYNC, 9, payload=b"after")[3] == b"after"


def test_counters_and_speed(board: VirtualBoard, frames: Any) -> None:
    before = board.statistics()
    with open_port(board) as port:
        frames.ask(port, frames.SYNC, 1, payload=b"abc")
    after = board.statistics()
    assert after.sent - before.sent == len(frames.encode(frames.SYNC, 1, 0, b"abc"))
    assert after.received > before.received and after.framing_errors == before.framing_errors == 0
    assert after.cycles > before.cycles and after.cycles_per_second > 0


def test_reset_makes_the_device_forget_its_session(board: VirtualBoard, frames: Any) -> None:
    with open_port(board) as port:
        frames.ask(port, frames.SYNC, 1)
        board.reset()
        assert frames.ask(port, frames.PING, 2)[2] == 0x42  # NOT_SYNCED
        assert frames.ask(port, frames.SYNC, 3)[2] == 0


def test_unread_output_of_a_closed_port_is_lost_as_on_a_real_one(echo: VirtualBoard) -> None:
    with echo:
        with open_port(echo) as port:
            port.write(b"first")
            assert port.read(5) == b"first"
            port.write(b"lost" * 50)
        for _ in range(100):
            if (counts := echo.statistics()).received == counts.sent == 205:
                break
            time.sleep(0.05)
        with open_port(echo) as port:
            port.reset_input_buffer()
            port.write(b"second")
            assert port.read(6) == b"second"


def test_every_byte_value_and_full_speed_stream(echo: VirtualBoard) -> None:
    data = bytes(range(256)) * 64
    with echo, open_port(echo) as port:
        port.write(data)
        assert port.read(len(data)) == data
        assert echo.statistics().framing_errors == 0


def test_ratio_of_clock_and_baud_need_not_be_whole(loopback: Callable[[], Any]) -> None:
    data = bytes(range(256)) * 4
    with VirtualBoard({"echo.v": ECHO}, "echo", 40_000_000, 3_000_000) as echo, open_port(echo) as port:
        port.write(data)
        assert port.read(len(data)) == data


def test_memory_without_content_starts_random_by_seed() -> None:
    seen: dict[int, int] = {}
    for seed in range(1, 9):
        with VirtualBoard({"echo.v": ECHO}, "echo", 8_000_000, 1_000_000, seed=seed) as echo:
            seen[seed] = echo.statistics().leds
    assert len(set(seen.values())) > 1
    with VirtualBoard({"echo.v": ECHO}, "echo", 8_000_000, 1_000_000, seed=3) as echo:
        assert echo.statistics().leds == seen[3]


def test_led_changes_are_told(identity: Identity) -> None:
    told: list[int] = []
    blink = "module blink(input clk, input rx, output tx, output leds); reg [20:0] n = 0;\n"
    blink += "always @(posedge clk) n <= n + 1; assign leds = n[20]; assign tx = rx; endmodule\n"
    board = VirtualBoard({"blink.v": blink}, "blink", 8_000_000, 1_000_000, on_leds=told.append)
    with board, open_port(board):  # an open port makes the board run at full speed
        deadline = time.monotonic() + 20
        while len(told) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert told[:3] == [0, 1, 0]


def test_pace_holds_the_clock_back_to_real_time() -> None:
    board = VirtualBoard({"echo.v": ECHO}, "echo", 100_000, 10_000, pace=True)
    with board, open_port(board) as port:
        started, before = time.monotonic(), board.statistics().cycles
        port.write(bytes(50))
        assert port.read(50) == bytes(50)  # 500 bits at 10 kbaud
        assert time.monotonic() - started > 0.045
        assert (board.statistics().cycles - before) / 100_000 < time.monotonic() - started + 0.2


def test_second_start_finds_the_program_compiled(echo: VirtualBoard) -> None:
    echo.compile()
    started = time.monotonic()
    echo.compile()
    assert echo.cached and time.monotonic() - started < 5


def test_stop_ends_the_process_and_frees_the_port(echo: VirtualBoard) -> None:
    port = echo.start()
    assert os.path.exists(port) and echo.running
    last = echo.stop()
    assert last is not None and last.cycles > 0
    assert not echo.running and not os.path.exists(port) and echo.port is None
    assert echo.stop() == last
    assert echo.start()  # and it can be started again
    echo.stop()


def test_commands_to_a_stopped_board_are_refused(echo: VirtualBoard) -> None:
    with pytest.raises(DeviceError, match="Virtual board is not running"):
        echo.reset()
    echo.start()
    with pytest.raises(InputError, match="must be stopped before it is started again"):
        echo.start()
    echo.stop()


def test_killed_board_is_reported(echo: VirtualBoard) -> None:
    echo.start()
    assert echo._process is not None
    os.kill(echo._process.pid, signal.SIGKILL)
    assert echo.wait(10)
    with pytest.raises(DeviceError, match="not running"):
        echo.statistics()
    echo.stop()


def test_sigterm_ends_the_program_cleanly(echo: VirtualBoard) -> None:
    echo.start()
    assert echo._process is not None
    os.kill(echo._process.pid, signal.SIGTERM)
    assert echo.wait(10) and echo._process.returncode == 0
    assert echo.stop() is not None  # the last counters arrived


def test_board_dies_with_its_parent(echo: VirtualBoard) -> None:
    program = echo.compile()
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([{str(program)!r}, '--clock-hz', '8', '--baud', '1'], stdin=subprocess.PIPE)\n"
        "print(p.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = None
    while pid is None:
        line = parent.stdout.readline()
        assert line
        pid = int(line) if line.strip().isdigit() else None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and os.path.exists(f"/proc/{pid}") and not _is_zombie(pid):
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}") or _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_design_that_does_not_compile_quotes_the_tool() -> None:
    from neuroloom.boards.toolchain import ToolFailedError

    with pytest.raises(ToolFailedError, match="verilator failed with status"):
        VirtualBoard({"bad.v": "module bad(input clk; endmodule"}, "bad", 8, 1).compile()
    assert not list((cache.cache_root() / "virtual").glob("work-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, "top", 8, 1), "at least one Verilog file"),
        (({"a.v": ""}, "top", 1, 1), "at least twice the baud rate 1, not 1 Hz"),
        (({"a.v": ""}, "top", 8, 0), "at least twice"),
    ],
)
def test_arguments_are_checked(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        VirtualBoard(*arguments)


def test_two_threads_get_their_own_answers(echo: VirtualBoard) -> None:
    """Whoever asks a board that is just starting does not take the answer that the start waits for."""
    echo.compile()
    over = threading.Event()
    counted: list[int] = []

    def ask() -> None:
        while not over.is_set():
            try:
                counted.append(echo.statistics().cycles)
            except DeviceError:
                time.sleep(0)  # not running yet

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            echo.start()
            for _ in range(20):
                echo.set_faults(PERFECT)
            assert echo.stop() is not None
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert counted

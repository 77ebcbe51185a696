"""Recorded sessions: replayed to the host without a device, and to a device without the host."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from neuroloom.boards.faults import LineFaults
from neuroloom.compiler.errors import DeviceError, InputError, MismatchError
from neuroloom.host.cli.app import main
from neuroloom.host.device import Device, connect
from neuroloom.host.framing import FrameDecoder, encode
from neuroloom.host.record import Recorder
from neuroloom.host.replay import ReplayLine, replay_to_device
from neuroloom.host.session_file import read_session
from neuroloom.rtl.link.protocol import HEADER_BYTES, RESPONSE_BIT, Command, Status


def samples(lines, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, lines.BYTES_IN), np.uint8)


def record(lines, path, work, damage=None, timeout=5.0):
    """What ``work(device)`` gives over a recorded line."""
    line = Recorder(lines.FaultyLine(lines.TableModel(), damage, delay=0.001), path, timeout=timeout)
    with Device(line, timeout=timeout) as device:
        return work(device)


def replay(path, work):
    with connect(path) as device:
        return work(device)


@pytest.mark.parametrize("seed", range(6))
def test_a_session_on_a_bad_line_repeats_exactly(lines, tmp_path, seed):
    """Repetitions, errors and all: the host does the same again, byte for byte, from the file alone."""
    path = tmp_path / "s.nls"

    def work(device):
        found = []
        for turn in range(4):
            try:
                device.reset()
                found.append(device.run_bytes(samples(lines, 200, turn)).tobytes())
            except DeviceError as error:
                found.append(str(error))
        return found, device.repeats

    noise = lines.Noise(seed, flip=4e-4 * seed, drop=1e-3 * seed)
    noise.on = False  # a session begins on a good line, or there is none
    line = Recorder(lines.FaultyLine(lines.TableModel(), noise, delay=0.001), path, timeout=0.5)
    with Device(line, timeout=0.5) as device:
        noise.on = True
        first = work(device)
    assert first[1] > 0 or seed == 0
    name = line.name
    again = replay(path, work)
    assert again == (
        ([text.replace(name, str(path)) if isinstance(text, str) else text for text in first[0]]),
        first[1],
    )


def test_a_host_that_changed_is_told(lines, tmp_path):
    path = tmp_path / "s.nls"
    record(lines, path, lambda device: device.run_bytes(samples(lines, 20)))
    with pytest.raises(
        MismatchError, match=r"s.nls, line \d+: what the host sends differs at byte \d+ from what was recorded"
    ):
        replay(path, lambda device: device.run_bytes(samples(lines, 20, 1)))
    with pytest.raises(
        MismatchError, match=r"the host must do as it was recorded \(> .*, but it did something else \(begin"
    ):
        with connect(path) as device:
            device._link.end()
            device.ping()
    with pytest.raises(DeviceError, match="ends here, but the host goes on"):
        with connect(path) as device:
            device.run_bytes(samples(lines, 20))
            device.ping()


def test_a_port_that_was_lost_is_lost_again(lines, tmp_path):
    path = tmp_path / "s.nls"
    line = lines.FaultyLine(lines.TableModel())
    with Device(Recorder(line, path, timeout=5.0)) as device:

        def gone(data):
            raise DeviceError("the port went away")

        line.write = gone
        with pytest.raises(DeviceError, match="the port went away"):
            device.ping()
    with connect(path) as device:
        with pytest.raises(DeviceError, match="the port went away"):
            device.ping()


def test_a_file_cut_short_is_whole(lines, tmp_path):
    """A killed program leaves a file that ends somewhere; what it holds replays."""
    path, cut = tmp_path / "s.nls", tmp_path / "cut.nls"
    record(lines, path, lambda device: [device.run_bytes(samples(lines, 20)) for _ in range(3)])
    text = path.read_text().splitlines(keepends=True)
    cut.write_text("".join(text[:-3]))
    with connect(cut) as device:
        assert np.array_equal(device.run_bytes(samples(lines, 20)), lines.running_sum(samples(lines, 20)))
        with pytest.raises(DeviceError, match="ends here"):
            for _ in range(2):
                device.run_bytes(samples(lines, 20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line 'neuroloom session 1'"),
        ("\xff\xfe", "must begin with the line|must be text"),
        ("neuroloom session 1\n0.1 jump\n", r"line 2: an event must be 'SECONDS KIND DATA'"),
        ("neuroloom session 1\n0.1 > 0g\n", r"line 2: bytes must be hexadecimal, not '0g'"),
        ("neuroloom session 1\n0.2 > 00\n0.1 < 00\n", r"line 3: times must not go back, from 0.2 s to 0.1 s"),
        ("neuroloom session 1\n# nothing\n\n", "must have an 'open' event"),
    ],
)
def test_files_that_are_no_session(tmp_path, text, message):
    path = tmp_path / "x.nls"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        connect(path)


def test_a_session_replays_to_a_model(lines, tmp_path):
    """What a host sent on a bad line, sent to a device on a good one: the same answers."""
    path = tmp_path / "s.nls"
    noise = lines.Noise(3, flip=5e-4, double=1e-3)

    def work(device):
        device.reset()
        device.run_bytes(samples(lines, 300))
        return device.repeats

    assert record(lines, path, work, noise, timeout=20) > 0
    for noise in (None, lines.Noise(5, flip=2e-4)):
        found = replay_to_device(path, lines.FaultyLine(lines.TableModel(), noise, delay=0.01), timeout=20)
        assert found.requests > 8 and found.sessions == 1 and (found.repeats > 0) == (noise is not None)
    broken = lines.TableModel()
    broken.engine.__class__ = type(
        "Wrong", (lines.RunningSum,), {"__call__": lambda self, data: bytes(len(data) // 5 * 2)}
    )
    with pytest.raises(
        MismatchError, match=r"line \d+: the answer to RUN in session 1 differs on .*: byte \d+ is 0x00"
    ):
        replay_to_device(path, lines.FaultyLine(broken))
    dead = lines.TableModel()
    dead.dead = True
    with pytest.raises(DeviceError, match="did not answer for 5 s"):
        replay_to_device(path, lines.FaultyLine(dead))


def test_recorded_on_the_virtual_board_and_replayed_to_it(sum_board, tmp_path, capsys):
    path = tmp_path / "board.nls"
    x = np.random.default_rng(4).integers(0, 256, (60, 64), np.uint8)
    sum_board.set_faults(LineFaults.parse("ber=3e-4"))
    with connect(sum_board.port, timeout=10, record=path) as device:
        device.reset()
        y = device.run_bytes(x)
        repeats = device.repeats
    with connect(path) as device:
        device.reset()
        assert np.array_equal(device.run_bytes(x), y) and device.repeats == repeats
    sum_board.set_faults(LineFaults.parse("none"))
    assert main(["replay", str(path), "--port", sum_board.port, "--timeout", "60"]) == 0
    assert "all answers are the recorded ones" in capsys.readouterr().out
    # One bit of the last answer in the file turned over: its CRC is made right again, so only the comparison can tell.
    flip_last_answer(path)
    assert main(["replay", str(path), "--port", sum_board.port, "--timeout", "60"]) == 1
    assert "the answer to RUN in session 1 differs on" in capsys.readouterr().err


def flip_last_answer(path):
    """Turn a bit of the last answer to a RUN with data that always came in one piece, everywhere: the host takes one of them."""
    text = path.read_text().splitlines()
    chunks = [bytes.fromhex(line.partition(" < ")[2]) for line in text]
    decoder = FrameDecoder()
    came = Counter(
        body
        for chunk in chunks
        for body in decoder.feed(chunk)
        if body[0] == Command.RUN | RESPONSE_BIT and body[2] == Status.OK and len(body) > HEADER_BYTES
    )
    body = [b for b, n in came.items() if sum(chunk.count(encode(b)) for chunk in chunks) == n][-1]
    old, new = encode(body).hex(), encode(body[:-1] + bytes([body[-1] ^ 1])).hex()
    path.write_text("".join(line.replace(old, new) + "\n" if " < " in line else line + "\n" for line in text))


def test_the_clock_stands_still_between_events(lines, tmp_path):
    line = lines.FaultyLine(lines.TableModel())
    recorder = Recorder(line, tmp_path / "s.nls", timeout=5.0)
    line.clock += 1.0
    assert recorder.now() == 0.0
    recorder.read(0.0)
    assert recorder.now() == pytest.approx(1.0, abs=1e-5)
    recorder.close()
    recorder.close()
    assert [event.kind for event in read_session(tmp_path / "s.nls")] == ["open", "<", "close"]
    assert line.closed


def test_where_recording_is_refused(sum_board, tmp_path):
    with pytest.raises(InputError, match="--record must name a file that can be written"):
        connect(sum_board.port, record=tmp_path / "absent" / "s.nls")
    with pytest.raises(InputError, match="cannot be recorded again"):
        connect(tmp_path / "s.nls", record=tmp_path / "t.nls")
    assert main(["ping", "--port", sum_board.port, "--record", "s.txt"]) == 2
    with connect(sum_board.port) as device:  # the port was given back
        device.ping()


def test_a_line_has_a_name_and_a_timeout(lines, tmp_path):
    record(lines, tmp_path / "s.nls", lambda device: device.ping(), timeout=7.5)
    line = ReplayLine(tmp_path / "s.nls")
    assert line.timeout == 7.5 and line.name.endswith("s.nls")

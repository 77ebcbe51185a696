"""The device API over an independent model of the device, on good lines and on bad ones."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.host.device import Device, SimulatedDevice


def samples(lines, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, lines.BYTES_IN), np.uint8)


def test_commands(lines):
    line = lines.FaultyLine(lines.TableModel())
    with Device(line) as device:
        identity = device.identify()
        assert (identity.engine, identity.board, identity.window) == ("loopback", "table model", 2)
        assert identity.model_hash == lines.MODEL_HASH
        assert device.ping(bytes(range(192))) >= 0
        assert device.memtest().passed
        assert device.status()["frames_bad"] == 0
        x = samples(lines, 100)
        seen = []
        assert np.array_equal(device.run_bytes(x, lambda done, total: seen.append((done, total))), lines.running_sum(x))
        assert seen[-1] == (100, 100) and seen == sorted(seen)
        device.reset()
        assert np.array_equal(device.run_bytes(x[:1]), lines.running_sum(x[:1]))
        assert device.run_bytes(x[:0]).shape == (0, lines.BYTES_OUT)
        assert device.repeats == 0
    assert line.closed


def test_bad_arguments(lines):
    device = Device(lines.FaultyLine(lines.TableModel()))
    with pytest.raises(InputError, match=r"samples must be uint8, not float64"):
        device.run_bytes(np.zeros((3, 5)))
    with pytest.raises(InputError, match=r"shape \(N, 5\), not \(3, 4\)"):
        device.run_bytes(np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match=r"payload must be at most 192 bytes, not 193"):
        device.ping(bytes(193))
    device.check_model(lines.MODEL_HASH)
    with pytest.raises(DeviceError, match="ff" * 32) as error:
        device.check_model(b"\xff" * 32, "digits.nloom")
    assert lines.MODEL_HASH.hex() in str(error.value) and "digits.nloom" in str(error.value)


@pytest.mark.parametrize(("bytes_in", "bytes_out"), [(1, 1), (3000, 2), (2, 3000), (784, 1), (5000, 5000)])
def test_samples_larger_than_a_frame(bytes_in, bytes_out):
    def engine(data):
        x = np.frombuffer(data, np.uint8).reshape(-1, bytes_in)
        return (np.arange(bytes_out) + x.sum(axis=1, keepdims=True)).astype(np.uint8).tobytes()

    device = SimulatedDevice(engine, bytes_in=bytes_in, bytes_out=bytes_out)
    x = np.random.default_rng(1).integers(0, 256, (7, bytes_in), np.uint8)
    y = device.run_bytes(x)
    assert y.tobytes() == engine(x.tobytes()) and y.shape == (7, bytes_out)


def test_slow_device_is_not_asked_twice_to_execute(lines):
    """Answers later than the host's first waits: repetitions on the way, one execution each."""
    model = lines.TableModel()
    line = lines.FaultyLine(model, delay=0.9)
    device = Device(line, timeout=10)
    x = samples(lines, 200)
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
    assert device.repeats > 0
    assert model.executed == -(-200 // (192 // 5))


@pytest.mark.parametrize("seed", range(12))
def test_noise_never_changes_an_answer(lines, seed):
    """Under noise every answer is right or an error; when the noise ends, the next command works."""
    noise = lines.Noise(seed, **[dict(flip=3e-4), dict(drop=1e-3), dict(double=1e-3), dict(insert=1e-3)][seed % 4])
    noise.on = False
    device = Device(lines.FaultyLine(lines.TableModel(), noise))
    right = 0
    for turn in range(6):
        noise.on = True
        x = samples(lines, 300, seed * 100 + turn)
        try:
            device.reset()
            y = device.run_bytes(x)
        except DeviceError:
            pass
        else:
            assert np.array_equal(y, lines.running_sum(x))
            right += 1
        noise.on = False
        device.reset()
        assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
    assert noise.count > 0 and device.repeats > 0
    assert right >= 5, "at these rates repetition must mend nearly everything"


def test_progress_at_one_bit_error_in_a_thousand(lines):
    """Frames shrink until they get through: 10 kB at a bit error rate of 1e-3, both ways."""
    noise = lines.Noise(5, flip=1e-3)
    device = Device(lines.FaultyLine(lines.TableModel(), noise))
    x = samples(lines, 2000)
    device.reset()
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
    assert noise.count > 50


FAULTS = st.lists(
    st.tuples(st.integers(0, 3000), st.sampled_from(["flip", "drop", "double", "zero", "garbage", "mute", "cut"])),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(plan=FAULTS, count=st.integers(1, 120))
def test_any_fault_anywhere(lines, plan, count):
    """Any few faults at any byte: the answer is right or an error, and afterwards the next command works."""
    model = lines.TableModel()
    at = 0
    armed = False

    def damage(direction, data):
        nonlocal at
        out = bytearray()
        for byte in data:
            kinds = [kind for where, kind in plan if where == at] if armed else []
            at += armed
            for kind in kinds:
                if kind == "cut":
                    model.power_up()
                if kind == "mute":
                    return bytes(out)
            if "garbage" in kinds:
                out += bytes([3, 7, 0, 255, at % 256])
            if "drop" in kinds:
                continue
            out.append(0 if "zero" in kinds else byte ^ 16 if "flip" in kinds else byte)
            if "double" in kinds:
                out.append(byte)
        return bytes(out)

    device = Device(lines.FaultyLine(model, damage))
    x = samples(lines, count, count)
    armed = True
    try:
        y = device.run_bytes(x)
    except DeviceError:
        pass
    else:
        assert np.array_equal(y, lines.running_sum(x))
    armed = False
    device.reset()
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))


def test_power_cut_in_mid_run_is_an_error(lines):
    model = lines.TableModel()
    device = Device(lines.FaultyLine(model))
    calls = 0

    def cut(done, total):
        nonlocal calls
        calls += 1
        if calls == 3:
            model.power_up()

    x = samples(lines, 500)
    with pytest.raises(DeviceError, match="restarted in mid-run"):
        device.run_bytes(x, cut)
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))


def test_silence(lines):
    model = lines.TableModel()
    line = lines.FaultyLine(model)
    device = Device(line, timeout=2)
    model.dead = True
    before = line.clock
    with pytest.raises(DeviceError, match="did not answer for 2 s"):
        device.ping()
    assert line.clock - before < 5
    with pytest.raises(DeviceError, match="nothing came: check the port"):
        device.ping()
    model.dead = False
    assert device.ping() >= 0


def test_stale_bytes_of_an_earlier_host(lines):
    """A host killed with requests on their way leaves its answers, half a frame and half a sample."""
    model = lines.TableModel()
    first = lines.FaultyLine(model)
    device = Device(first)
    device._link.submit(0x10, b"abc", 0, 0)
    device._link.submit(0x02, b"old", 0, 3)
    line = lines.FaultyLine(model)
    line.on_the_way = first.on_the_way
    line.discard = lambda: None
    model.feed(b"\0\x05\x10\x01")
    device = Device(line)
    x = samples(lines, 10)
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))


def test_wires(lines):
    class Echo:
        def feed(self, data):
            return data

    class Babble:
        def feed(self, data):
            return b"\0login: \0" * 3

    with pytest.raises(DeviceError, match="RX and TX are not joined"):
        Device(lines.FaultyLine(Echo()), timeout=1)
    with pytest.raises(DeviceError, match="check the baud rate"):
        Device(lines.FaultyLine(Babble()), timeout=1)


def test_another_device_in_the_middle_is_noticed(lines):
    line = lines.FaultyLine(lines.TableModel())
    device = Device(line)
    line.model = lines.TableModel(payload_limit=448)
    with pytest.raises(DeviceError, match="restarted"):
        device.ping()
    with pytest.raises(DeviceError, match="must stay the same"):
        device.ping()


def test_interrupt_leaves_the_device_usable(lines):
    device = Device(lines.FaultyLine(lines.TableModel()))
    x = samples(lines, 300)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.run_bytes(x, interrupt)
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))


def test_engine_that_stops(lines):
    model = lines.TableModel()
    device = Device(lines.FaultyLine(model))
    x = samples(lines, 100)
    silent, model.engine.__class__ = (
        model.engine.__class__,
        type("Silent", (lines.RunningSum,), {"__call__": lambda *_: b""}),
    )
    with pytest.raises(DeviceError, match="the engine on the faulty line stopped in mid-run"):
        device.run_bytes(x)
    model.engine.__class__ = silent
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))


def test_answers_to_somebody_else(lines, monkeypatch):
    """Right frames that are not the answer: an older session's SYNC, another command under the same number."""
    nonces = iter([b"A" * 8, b"AB345678"])
    monkeypatch.setattr("os.urandom", lambda size: next(nonces))
    model = lines.TableModel()
    device = Device(lines.FaultyLine(model), timeout=1)
    model.dead = True
    stale = model.reply(0x01, ord("A"), model.OK, b"A" * 8)
    line = lines.FaultyLine(model)
    line.discard = lambda: line.on_the_way.extend([(0.0, stale)])
    with pytest.raises(DeviceError, match="did not answer for 1 s; bytes came"):
        Device(line, timeout=1)
    number = device._link._next
    device._link.transport.on_the_way.append((0.0, model.reply(0x03, number, model.OK, b"neuroloom")))
    with pytest.raises(DeviceError, match="did not answer"):
        device.ping()


@pytest.mark.campaign
def test_campaign_of_faults(lines):
    """600 devices on bad lines: noise of every kind and rate, lost and doubled writes, power cuts, slow answers."""
    seed = int(os.environ.get("NEUROLOOM_SEED", "0"))
    runs = errors = faults = 0
    for device_seed in range(seed, seed + 600):
        rng = random.Random(device_seed)
        scale = 10 ** rng.uniform(-4, -2.3)
        noise = lines.Noise(device_seed, *(rng.random() * scale if rng.random() < 0.6 else 0 for _ in range(4)))
        model = lines.TableModel(payload_limit=rng.choice([192, 960]), window=rng.choice([1, 2, 4, 8]))
        noise.on = False

        def damage(direction, data, rng=rng, noise=noise, model=model):
            if noise.on:
                if rng.random() < 0.002:
                    model.power_up()
                data *= rng.choices((1, 0, 2), (0.98, 0.01, 0.01))[0]
            return noise(direction, data)

        device = Device(lines.FaultyLine(model, damage, delay=rng.choice([0, 0, 0.01, 0.3])))
        for turn in range(3):
            x = samples(lines, rng.randrange(1, 400), device_seed * 3 + turn)
            noise.on = True
            runs += 1
            try:
                device.reset()
                y = device.run_bytes(x)
            except DeviceError:
                errors += 1
            else:
                assert np.array_equal(y, lines.running_sum(x)), f"NEUROLOOM_SEED={device_seed}"
            noise.on = False
            device.reset()
            assert np.array_equal(device.run_bytes(x), lines.running_sum(x)), f"NEUROLOOM_SEED={device_seed}"
        faults += noise.count
    print(f"link: {runs} runs under {faults} faults: {runs - errors} right, {errors} errors, 0 wrong")

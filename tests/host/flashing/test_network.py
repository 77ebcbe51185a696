"""A board that starts alone: its engine loads the network that stands in the flash, whole or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards import emit
from neuroloom.boards.build import make_top
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import install, write_network
from neuroloom.boards.image_record import ImageRecord, stamp
from neuroloom.boards.images import Design
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.booting import to_golden
from neuroloom.host.cli.app import main
from neuroloom.host.device import Device, connect
from neuroloom.host.flashing import FlashLoader
from neuroloom.host.network_flow import flash_network
from neuroloom.host.serial_port import SerialPort
from neuroloom.host.spiking.flow import core_design, core_of
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.standalone import booted_design, network_for
from neuroloom.rtl.flash.network import NetworkImage, Start

import neuroloom as nl

from .conftest import CAMPAIGN_SEED, PATIENCE_S
from .test_command import bitstream
from .test_update import Powered

ICEBREAKER = load_board("icebreaker")


def network(seed: int, size: int = 12) -> nl.Model:
    """A layer of neurons with weights drawn from the seed."""
    rng = np.random.default_rng(seed)
    net = nl.Network(f"net{seed}")
    cells = net.input("in", 8)
    out = net.population("out", size, nl.Neuron(threshold=100, leak="multiplicative", beta=60000))
    net.connect(cells, out, weights=rng.integers(-40, 90, (8, size)), delay=0)
    net.record(out, "spikes")
    return nl.compile(net)


@dataclass(frozen=True)
class Alone:
    """An image whose engine loads its network, and two networks for it."""

    image: bytes
    engine_hash: bytes
    models: tuple[nl.Model, nl.Model]
    networks: tuple[NetworkImage, NetworkImage]


@pytest.fixture(scope="module")
def alone() -> Alone:
    factory, identity, _ = booted_design(
        core_design(core_of("infer", ICEBREAKER), ICEBREAKER), ICEBREAKER, "standalone"
    )
    record = ImageRecord("icebreaker", identity.engine, identity.model_hash.hex(), "standalone")
    models = network(1), network(2)
    networks = tuple(network_for(m.graph, ICEBREAKER, "spiking", identity.model_hash) for m in models)
    return Alone(stamp(bitstream(), record), identity.model_hash, models, networks)


@pytest.fixture(scope="module")
def alone_designs(designs: Callable[[bytes], Design], alone: Alone) -> Callable[[bytes], Design]:
    """The images of the other tests, and the engine that loads its network."""
    factory, identity, wired = booted_design(
        core_design(core_of("infer", ICEBREAKER), ICEBREAKER), ICEBREAKER, "standalone"
    )
    engine = factory()
    top, own = make_top(engine, identity, wired, simulation=True)
    speed = ICEBREAKER.speed("spiking")
    design = Design({"top.v": emit.to_verilog(top), **engine.extra_files}, "top", speed.plan.logic_hz, speed.baud)
    VirtualBoard(design.files, design.top, design.clock_hz, design.baud).compile()
    return lambda data: design if data.startswith(alone.image) else designs(data)


@pytest.fixture
def standing(flash: Path, alone: Alone, alone_designs: Callable[[bytes], Design]) -> Iterator[FlashBoard]:
    """The board, off, with the engine in slot 1, which golden starts."""
    install(flash, ICEBREAKER, 1, alone.image, ("confirmed", "start"))
    board = FlashBoard(ICEBREAKER, flash, designs=alone_designs, flash_speed=50.0, eager_s=0.1)
    yield board
    board.stop()


def answers(board: FlashBoard, model: nl.Model) -> bool:
    """Whether the network runs on the board at once, without being loaded, and answers as the simulator does."""
    board.wait_for("slot 1")
    x = np.random.default_rng(5).integers(0, 2, (1, 6, 8))
    with connect(board.port, timeout=PATIENCE_S) as device:
        assert device.network() == Start.LOADED
        session = SpikingDevice(device)
        if not session.has(model.graph):
            return False
        got, want = session.run(x), model.simulate(x)
        return np.array_equal(got["out.spikes"], want) and bool(want.any())


def test_a_network_starts_without_a_host(
    standing: FlashBoard, alone: Alone, flash: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{n}.nloom" for n in (1, 2)]
    for path, model in zip(paths, alone.models, strict=True):
        model.save(path)

    def cli(*words: object) -> tuple[int, str, str]:
        code = main(
            ["flash", *(str(word) for word in words), "--port", str(standing.port), "--timeout", str(PATIENCE_S), "-q"]
        )
        read = capsys.readouterr()
        return code, read.out, read.err.replace("\n", " ")

    standing.start()
    standing.wait_for("slot 1")
    assert main(["ping", "--port", str(standing.port), "--timeout", str(PATIENCE_S), "-q"]) == 0
    assert "network in the flash: there is none: the partition is erased" in capsys.readouterr().out
    golden = flash.read_bytes()[:0x40000]
    code, out, err = cli(paths[0], "--boot")
    assert code == 0 and "for the spiking engine in slot 1" in out and "slot 1 runs and has loaded it" in out, err
    assert answers(standing, alone.models[0]) and not answers(standing, alone.models[1])
    standing.power_off()
    standing.power_on()
    assert answers(standing, alone.models[0])
    assert cli(paths[0], "--verify-only")[0] == 0 and cli(paths[1], "--verify-only")[0] == 1
    assert f"'net1', {alone.networks[0].state.model_hash.hex()[:12]}" in cli("--info")[1]
    before = flash.read_bytes()
    code, _, err = cli(paths[0], "--start")
    assert code == 2 and "--start must be left out with a network" in err
    code, _, err = cli(paths[0], "--slot", 2)
    assert code == 2 and "slot 2 must hold an engine that loads its network from the flash" in err
    code, out, _ = cli(paths[0])
    assert code == 0 and "0 pages written" in out and flash.read_bytes() == before
    with connect(standing.port, timeout=PATIENCE_S) as device:
        assert flash_network(device, alone.models[1].graph).written > 0
        assert device.network() == Start.LOADED
    assert answers(standing, alone.models[1])
    assert cli("--forget-network")[0] == 0 and "there was no network" in cli("--forget-network")[1]
    standing.power_off()
    standing.power_on()
    standing.wait_for("slot 1")
    with connect(standing.port, timeout=PATIENCE_S) as device:
        assert device.network() == Start.EMPTY
        session = SpikingDevice(device)
        session.load(alone.models[0].graph)  # waits for the host as ever
        assert session.has(alone.models[0].graph)
    assert flash.read_bytes()[:0x40000] == golden


class HeldUp(Device):
    """A host that once speaks to golden only when golden has started the slot again."""

    board: FlashBoard
    missed = 0

    def boot_golden(self) -> None:
        super().boot_golden()
        if not self.missed:
            self.missed = 1
            self.board.wait_for("golden")
            self.board.wait_for("slot 1")


def test_a_host_that_misses_golden_asks_for_it_again(standing: FlashBoard) -> None:
    standing.start()
    standing.wait_for("slot 1")
    with HeldUp(SerialPort(str(standing.port)), timeout=PATIENCE_S) as device:
        device.board = standing
        assert to_golden(device).engine == "loader" and device.missed
    assert standing.image == "golden"


WORKS = 1 + 1 + 1
"""Of an update, beside its pages: the header erased, the block erased, the header written."""


def cut_in(board: FlashBoard, flash: Path, alone: Alone, work: int, share: float) -> str:
    """Cut the power in one piece of the flash's work while a network replaces another; returns what starts then."""
    old, new = alone.networks
    write_network(flash, ICEBREAKER.layout, old)
    board.power_on() if board.running else board.start()
    board.wait_for("slot 1")
    port = Powered(str(board.port))
    port.board = board
    with Device(port, timeout=PATIENCE_S) as device:
        to_golden(device)
        board.wait_for("golden")
        loader = FlashLoader(device)
        board.cut_in(work, share)
        try:
            loader.install_network(new)
        except DeviceError:
            pass
    board.wait_for("")
    board.power_on()
    board.wait_for("slot 1")
    with connect(board.port, timeout=PATIENCE_S) as device:
        SpikingDevice(device).status()  # waits until the start is over
        state = device.network()
        if state != Start.LOADED:
            assert state in (Start.EMPTY, Start.OTHER, Start.BROKEN)
            return "nothing"
    return next(name for name, model in zip(("old", "new"), alone.models, strict=True) if answers(board, model))


@pytest.mark.parametrize(
    ("work", "share", "found"),
    [
        (1, 0.0, "old"),
        (1, 0.6, "nothing"),
        (2, 0.5, "nothing"),
        (3, 0.5, "nothing"),
        (-1, 0.5, "nothing"),
        (-1, 1.0, "new"),
    ],
)
def test_a_power_cut_leaves_the_old_network_the_new_one_or_none(
    standing: FlashBoard, flash: Path, alone: Alone, work: int, share: float, found: str
) -> None:
    pages = -(-len(alone.networks[1].data) // 256)
    assert cut_in(standing, flash, alone, work % (WORKS + pages + 1), share) == found


@pytest.mark.campaign
def test_power_cuts_at_every_page_boundary_of_a_network(
    standing: FlashBoard, flash: Path, alone: Alone, shown: Callable[[str], None]
) -> None:
    seed = CAMPAIGN_SEED
    rng, counts = random.Random(seed), {"old": 0, "new": 0, "nothing": 0}
    works = WORKS + -(-len(alone.networks[1].data) // 256)
    for work in range(1, works + 1):
        for share in (0.0, 0.02, rng.random(), 0.98, 1.0):
            counts[cut_in(standing, flash, alone, work, share)] += 1
            standing.power_off()
    shown(f"{5 * works} power cuts in {works} pieces of a network's update, seed {seed}: {counts}")

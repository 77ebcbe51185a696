"""Updates of a whole virtual board over its serial port: written, booted, confirmed, left again, and cut off at any moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import install, slot_state
from neuroloom.boards.images import Design
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.booting import after_boot, to_golden
from neuroloom.host.device import Device, connect
from neuroloom.host.flash_flow import boot_slot, hold, let_start, open_loader
from neuroloom.host.flashing import FlashLoader
from neuroloom.host.serial_port import SerialPort

from .conftest import CAMPAIGN_SEED, PATIENCE_S

ICEBREAKER = load_board("icebreaker")
GUARD_CYCLES = 0.12 * 24e6
"""As conftest.py has it."""
MODEL = {kind: kind.encode().ljust(32) for kind in ("attended", "unattended")}


def test_flash_boot_confirm_and_the_way_back(board: FlashBoard, images: dict[str, bytes], flash: Path) -> None:
    board.start()
    assert board.image == "golden"
    with connect(board.port, timeout=PATIENCE_S) as device:
        loader = open_loader(device)
        assert loader.chip.jedec.hex() == "ef7018" and loader.chip.size_bytes == 1 << 24 and loader.shielded
        facts = loader.install(2, images["attended"])
        assert (facts.written, facts.erased) == (12, 1) and loader.holds(2, images["attended"])
        assert boot_slot(device, loader, 2, None).model_hash == MODEL["attended"]
        assert board.image == "slot 2"
        deadline = time.monotonic() + 60
        while board.cycles() < 1.5 * GUARD_CYCLES and time.monotonic() < deadline:
            time.sleep(0.05)
        assert device.ping() and board.image == "slot 2"
        assert slot_state(flash, ICEBREAKER, 2).flags == {"attempted"}
        to_golden(device)
        assert board.image == "golden" and device.identity.engine == "loader" and open_loader(device).shielded
    assert board.statistics().framing_errors == 0


def test_an_image_that_nobody_finds_goes_back_to_golden(
    board: FlashBoard, images: dict[str, bytes], flash: Path
) -> None:
    install(flash, ICEBREAKER, 1, images["attended"], ("start",))
    board.start()
    board.wait_for("slot 1")
    board.wait_for("golden")
    boots = board.boots
    time.sleep(0.5)
    assert board.image == "golden" and board.boots == boots, "tried once, not known to be good: not started again"
    assert slot_state(flash, ICEBREAKER, 1).flags == {"attempted", "start"}


def test_an_image_that_hangs_is_left_by_the_next_power_up(
    board: FlashBoard, images: dict[str, bytes], flash: Path
) -> None:
    install(flash, ICEBREAKER, 1, images["mute"], ("start",))
    board.start()
    board.wait_for("slot 1")
    board.power_off()
    board.power_on()
    time.sleep(0.5)
    assert board.image == "golden"
    with connect(board.port, timeout=PATIENCE_S) as device:
        assert device.identity.engine == "loader"


def test_a_proven_image_starts_by_itself_until_it_is_held(
    board: FlashBoard, images: dict[str, bytes], flash: Path
) -> None:
    from neuroloom.boards.image_record import ImageRecord

    record = ImageRecord("icebreaker", "loopback", MODEL["unattended"].hex(), "unattended")
    board.start()
    with connect(board.port, timeout=PATIENCE_S) as device:
        open_loader(device).install(1, images["unattended"])
        let_start(device, 1, images["unattended"], record, lambda text: None)
    board.power_off()
    board.power_on()
    board.wait_for("slot 1")
    with connect(board.port, timeout=PATIENCE_S) as device:
        assert device.identity.model_hash == MODEL["unattended"]
        hold(device, 1)
    board.power_off()
    board.power_on()
    time.sleep(0.5)
    assert board.image == "golden" and not slot_state(flash, ICEBREAKER, 1).starts


def test_an_image_that_does_not_come_up_is_reported(board: FlashBoard, images: dict[str, bytes]) -> None:
    board.start()
    with connect(board.port, timeout=PATIENCE_S) as device:
        loader = FlashLoader(device)
        loader.install(1, images["mute"])
        loader.boot(1)
        board.wait_for("slot 1")
        with pytest.raises(DeviceError, match=r"nothing answered on .* within 2 s of the boot"):
            device._link.timeout = 1
            after_boot(device, 1)


class Powered(SerialPort):
    """A port on which the host's waiting ends when the board has lost its power."""

    board: FlashBoard

    def read(self, timeout: float) -> bytes:
        until = time.monotonic() + timeout
        while not (data := super().read(min(0.02, max(0.0, until - time.monotonic())))) and time.monotonic() < until:
            if self.board.image == "":
                raise DeviceError("the power is off")
        return data


def update(board: FlashBoard, image: bytes) -> bool:
    """Install an image in slot 1; False when the board lost its power meanwhile."""
    try:
        port = Powered(str(board.port), board.board.speed("loader").baud)
        port.board = board
        with Device(port, timeout=PATIENCE_S) as device:
            FlashLoader(device).install(1, image)
    except DeviceError:
        return False
    return True


def check_after_cut(board: FlashBoard, flash: Path, old: bytes, new: bytes, *, mend: bool = True) -> str:
    """Power up again: golden answers, and boots a whole image or refuses; returns what the slot holds.

    ``mend`` also finishes the update, and lets the image answer.
    """
    golden_bytes = board.board.layout.golden_bytes
    golden = flash.read_bytes()[:golden_bytes]
    board.power_on()
    with connect(board.port, timeout=PATIENCE_S) as device:
        loader = open_loader(device)
        state = loader.state(1)
        found = next((name for name, image in (("old", old), ("new", new)) if loader.holds(1, image)), "nothing")
        if found == "nothing":
            with pytest.raises(DeviceError, match="holds no whole image"):
                loader.boot(1)
            assert state.length is None
        if mend:
            loader.install(1, new)  # without starting over by cable
            assert loader.holds(1, new)
            boot_slot(device, loader, 1, None)
            assert board.image == "slot 1"
        elif found != "nothing":
            loader.boot(1)
            board.wait_for("slot 1")
    assert flash.read_bytes()[:golden_bytes] == golden
    return found


OLD, NEW = "attended", "unattended"
WORKS = 1 + 1 + 12 + 1
"""Of an update: the label erased, the block erased, the pages, the label written."""


def cut_in(board: FlashBoard, flash: Path, images: dict[str, bytes], work: int, share: float) -> str:
    """Cut the power in one piece of the flash's work in an update; returns what is found then."""
    install(flash, ICEBREAKER, 1, images[OLD])
    if board.running:
        board.power_on()
    else:
        board.start()
    board.cut_in(work, share)
    whole = update(board, images[NEW])
    assert not whole or work == WORKS
    board.wait_for("")
    found = check_after_cut(board, flash, images[OLD], images[NEW])
    board.power_off()
    return found


@pytest.mark.parametrize(
    ("work", "share", "found"),
    [
        (1, 0.0, "old"),
        (1, 0.4, "nothing"),
        (2, 0.7, "nothing"),
        (9, 0.5, "nothing"),
        (15, 0.3, "nothing"),
        (15, 1.0, "new"),
    ],
)
def test_a_power_cut_in_an_update_leaves_golden_or_a_whole_image(
    board: FlashBoard, flash: Path, images: dict[str, bytes], work: int, share: float, found: str
) -> None:
    assert cut_in(board, flash, images, work, share) == found


@pytest.mark.campaign
def test_power_cuts_at_every_page_boundary(
    designs: Callable[[bytes], Design], flash: Path, images: dict[str, bytes], shown: Callable[[str], None]
) -> None:
    seed = CAMPAIGN_SEED  # of what a cut leaves, too
    rng, counts = random.Random(seed), {"old": 0, "new": 0, "nothing": 0}
    board = FlashBoard(ICEBREAKER, flash, designs=designs, flash_speed=50.0, eager_s=0.5, seed=seed % (1 << 31))
    shares = (0.0, 0.02, 0.25, rng.random(), 0.5, 0.75, 0.98, 1.0)
    try:
        for work in range(1, WORKS + 1):
            for share in shares:
                counts[cut_in(board, flash, images, work, share)] += 1
            print(work, counts, flush=True)
    finally:
        board.stop()
    shown(f"{WORKS * len(shares)} power cuts in the {WORKS} pieces of an update, seed {seed}: {counts}")


def cuts_in_random_cycles(
    board: FlashBoard, flash: Path, old: bytes, new: bytes, seed: int, cuts: int = 1000
) -> dict[str, int]:
    """Cut the power so often in a random cycle of an update, or of the time about as long that golden then waits."""
    print(f"seed {seed}", flush=True)
    rng, counts = random.Random(seed), {"old": 0, "new": 0, "nothing": 0}
    install(flash, board.board, 1, old)
    board.start()
    before = board.cycles()
    assert update(board, new)
    most = round(1.2 * (board.cycles() - before))
    board.power_off()
    for number in range(cuts):
        install(flash, board.board, 1, old)
        board.power_on()
        board.cut_at(board.cycles() + rng.randrange(1, most))
        update(board, new)
        board.wait_for("")
        counts[check_after_cut(board, flash, old, new, mend=number % 20 == 0)] += 1
        board.power_off()
        if number % 100 == 99:
            print(number + 1, counts, flush=True)
    assert sum(counts.values()) == cuts and (cuts < 100 or all(counts.values()))
    return counts


@pytest.mark.campaign
def test_power_cuts_in_random_cycles(board: FlashBoard, flash: Path, images: dict[str, bytes], shown) -> None:
    seed = CAMPAIGN_SEED
    counts = cuts_in_random_cycles(board, flash, images[OLD], images[NEW], seed)
    shown(f"1,000 power cuts in random cycles of an update of the icebreaker, seed {seed}: {counts}")

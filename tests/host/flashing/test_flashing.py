"""The host's side of the loader: what it writes and what it keeps, on lines that break, flashes that wear, boards that change."""

from __future__ import annotations

import random

import numpy as np
import pytest
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.host.booting import after_boot, to_golden
from neuroloom.host.device import Device
from neuroloom.host.flashing import FlashLoader
from neuroloom.rtl.link.protocol import Identity

from .loader_model import LAYOUT, BoardModel, LoaderModel, sfdp

IMAGE = np.random.default_rng(5).integers(0, 256, 70_000, np.uint8).tobytes()
USER = Identity("loopback", "icebreaker", b"u" * 32, 1, 1, 24_000_000, boot=3)
PLAIN = Identity("loopback", "icebreaker", b"p" * 32, 1, 1, 24_000_000)


def loader_of(lines, loader: LoaderModel, **line) -> FlashLoader:
    board = BoardModel(loader, {})
    return FlashLoader(Device(lines.FaultyLine(board, **line)))


def holds(loader: LoaderModel, slot: int, image: bytes) -> bool:
    """Whether golden would boot this image from the slot; nothing is changed by asking."""
    at, before = LAYOUT.slot_at(slot), bytes(loader.flash)
    answer, loader.booted = loader._boot(slot), None
    loader.flash[:] = before
    return answer == b"\0" and before[at : at + len(image)] == image


def test_an_image_is_written_once_and_found_there(lines) -> None:
    loader = LoaderModel()
    host = loader_of(lines, loader)
    seen: list[tuple[int, int]] = []
    facts = host.install(1, IMAGE, lambda done, total: seen.append((done, total)))
    assert (facts.written, facts.kept, facts.erased) == (274, 0, 3)  # a block, and two sectors of the next
    assert (
        holds(loader, 1, IMAGE)
        and host.holds(1, IMAGE)
        and not host.holds(1, IMAGE[:-1] + b"x")
        and not host.holds(2, IMAGE)
    )
    assert seen == sorted(seen) and seen[-1] == (70_000, 70_000)
    written = len(loader.programmed)
    facts = host.install(1, IMAGE)
    assert (facts.written, facts.kept, facts.erased) == (0, 274, 0) and len(loader.programmed) == written
    assert bytes(loader.flash[: LAYOUT.golden_bytes]) == b"\xff" * LAYOUT.golden_bytes
    assert host.chip.maker == "Winbond" and host.chip.size_bytes == 1 << 19


def test_the_label_goes_first_and_comes_last(lines) -> None:
    loader = LoaderModel()
    loader_of(lines, loader).install(2, IMAGE)
    at = LAYOUT.label_at(2)
    loader.erased.clear()
    loader.programmed.clear()
    loader_of(lines, loader).install(2, IMAGE[::-1])
    sector = at // 4096 * 4096
    assert loader.erased[0] == (sector, 4096) and sector not in [start for start, _ in loader.erased[1:]]
    assert [address for address, _ in loader.programmed].index(at) == len(loader.programmed) - 1


@pytest.mark.parametrize("seed", range(12))
def test_an_interrupted_installation_is_resumed(lines, seed: int) -> None:
    """Wherever it stopped, golden boots the slot's image whole or not at all, and the next attempt keeps what is right."""
    loader, rng = LoaderModel(), random.Random(seed)
    loader_of(lines, loader).install(1, IMAGE[::-1])
    steps = rng.randrange(1, 278)
    carry_out = loader._carry_out

    class Off(Exception):
        pass

    def until_off(name: bytes, fields: bytes, payload: bytes) -> bytes:
        nonlocal steps
        if name in b"EP":
            steps -= 1
            if steps == 0:
                if name == b"P" and rng.random() < 0.5:  # a torn page
                    payload = bytes(byte | rng.randrange(256) for byte in payload)
                    carry_out(name, fields, payload)
                raise Off
        return carry_out(name, fields, payload)

    loader._carry_out = until_off  # type: ignore[method-assign]
    with pytest.raises(Off):
        loader_of(lines, loader).install(1, IMAGE)
    loader._carry_out = carry_out  # type: ignore[method-assign]
    whole = loader._boot(1) == b"\0"
    loader.booted = None
    assert not whole or holds(loader, 1, IMAGE) or holds(loader, 1, IMAGE[::-1])
    facts = loader_of(lines, loader).install(1, IMAGE)
    assert holds(loader, 1, IMAGE) and facts.written + facts.kept == 274


def test_a_resumed_installation_keeps_whole_pages_and_writes_the_last_one_again(lines) -> None:
    loader = LoaderModel()
    at = LAYOUT.slot_at(1)
    loader.flash[at : at + 100 * 256] = IMAGE[: 100 * 256]
    facts = loader_of(lines, loader).install(1, IMAGE)
    assert (facts.written, facts.kept) == (175, 99) and (at, 65536) not in loader.erased and holds(loader, 1, IMAGE)


def test_something_behind_the_last_page_means_a_fresh_start(lines) -> None:
    loader = LoaderModel()
    at = LAYOUT.slot_at(1)
    loader.flash[at : at + 100 * 256] = IMAGE[: 100 * 256]
    loader.flash[at + 200 * 256] = 0x7F
    facts = loader_of(lines, loader).install(1, IMAGE)
    assert facts.kept == 0 and (at, 65536) in loader.erased and holds(loader, 1, IMAGE)


@pytest.mark.parametrize("faults", [{"flip": 3e-4}, {"flip": 1e-3}, {"drop": 2e-3}, {"double": 2e-3, "insert": 1e-3}])
def test_a_noisy_line_costs_time_only(lines, faults: dict[str, float]) -> None:
    loader, noise = LoaderModel(), lines.Noise(3, **faults)
    noise.on = False
    host = loader_of(lines, loader, damage=noise)
    noise.on = True
    host.install(1, IMAGE[:10_000])
    assert holds(loader, 1, IMAGE[:10_000]) and noise.count > 10


def test_a_worn_flash_is_named(lines) -> None:
    loader = LoaderModel()
    loader.worn.add(LAYOUT.slot_at(1) + next(at for at in range(2000, 70_000) if not IMAGE[at] & 1))
    with pytest.raises(DeviceError, match="must take the block at 0x10000, but does not: its pages stayed different"):
        loader_of(lines, loader).install(1, IMAGE)
    assert loader._boot(1) == b"\3"


def test_what_the_map_forbids_is_refused_before_anything_is_written(lines) -> None:
    loader = LoaderModel()
    host = loader_of(lines, loader)
    with pytest.raises(
        InputError, match="image must have 1 to 192,512 bytes to fit slot 1, not 192,513; nothing was written"
    ):
        host.install(1, bytes(192_513))
    with pytest.raises(InputError, match="slot must be 1 to 2, not 3"):
        host.install(3, IMAGE)
    with pytest.raises(InputError, match="slot 0 is golden, which the link never overwrites"):
        host.install(0, IMAGE)
    with pytest.raises(DeviceError, match="did not erase 0x0: it is golden's own or beyond the flash's slots"):
        host.erase(0)
    with pytest.raises(DeviceError, match="did not program 0x100: it is golden's own"):
        host.program(0x100, b"x")
    assert not loader.erased and not loader.programmed


@pytest.mark.parametrize(
    ("jedec", "table", "message"),
    [
        (b"\xff\xff\xff", None, r"a flash must answer on .*, but there is none \(JEDEC id ff ff ff\)"),
        (b"\x00\x00\x00", None, "but there is none"),
        (
            b"\x12\x34\x56",
            b"",
            "must describe itself by an SFDP table, but JEDEC id 12 34 56 does not and is not known",
        ),
        (b"\xef\x40\x11", sfdp(1 << 17), r"must have at least 458,752 bytes, but JEDEC id ef 40 11 has 131,072"),
        (b"\xef\x40\x13", sfdp(1 << 19).replace(b"\x0c\x20", b"\x0d\x20"), "must erase 4 KiB by command 20"),
    ],
)
def test_a_flash_that_the_loader_cannot_work_with_is_refused(
    lines, jedec: bytes, table: bytes | None, message: str
) -> None:
    loader = LoaderModel(jedec=jedec, table=table)
    with pytest.raises(DeviceError, match=message):
        loader_of(lines, loader)
    assert not loader.erased and not loader.programmed


def test_from_image_to_golden_to_slot_and_back(lines) -> None:
    loader = LoaderModel()
    board = BoardModel(loader, {IMAGE: USER}, golden=False)
    device = Device(lines.FaultyLine(board))
    assert board.confirmed == ["loopback"], "a host that understands the image confirms it"
    assert to_golden(device).engine == "loader" == device.identity.engine
    host = FlashLoader(device)
    with pytest.raises(DeviceError, match="did not boot slot 1: the slot holds no whole image"):
        host.boot(1)
    host.install(1, IMAGE)
    host.boot(1)
    assert after_boot(device, 1).model_hash == USER.model_hash and board.confirmed == ["loopback"] * 2
    to_golden(device)
    host = FlashLoader(device)
    assert host.state(1).flags == {"attempted"} and not host.state(1).starts
    host.mark(1, "confirmed")
    host.mark(1, "start")
    assert host.state(1).starts


def test_an_image_that_does_not_come_up_is_told_from_one_that_does(lines) -> None:
    loader = LoaderModel()
    board = BoardModel(loader, {IMAGE: USER})
    device = Device(lines.FaultyLine(board))
    host = FlashLoader(device)
    host.install(1, IMAGE)
    board.broken = True
    host.boot(1)
    with pytest.raises(DeviceError, match="image in slot 1 must answer within 10 s of its boot, but golden is back"):
        after_boot(device, 1)


def test_an_image_that_cannot_boot_golden_says_what_to_do(lines) -> None:
    device = Device(lines.FaultyLine(BoardModel(LoaderModel(), {IMAGE: PLAIN}, golden=False)))
    with pytest.raises(DeviceError, match="must know how to boot golden, .*switch the board off and on: golden waits"):
        to_golden(device)
    with pytest.raises(DeviceError, match="must run golden to be flashed, not loopback"):
        FlashLoader(device)

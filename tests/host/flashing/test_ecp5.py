"""The ULX3S: golden and one slot that name each other, the flash behind USRMCLK, and PROGRAMN; from RTL as a build leaves it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards import cache, emit
from neuroloom.boards.boot_policy import next_image, policy_of, with_boot
from neuroloom.boards.build import make_top
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import erased_flash, image_name, slot_state, write_image
from neuroloom.boards.image_record import ImageRecord, stamp
from neuroloom.boards.images import designs_of
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError
from neuroloom.host.booting import to_golden
from neuroloom.host.cli.app import main
from neuroloom.host.device import connect
from neuroloom.host.golden import golden_design
from neuroloom.rtl.link.protocol import Identity

from .conftest import CAMPAIGN_SEED, PATIENCE_S, START_S, Echo
from .test_update import cuts_in_random_cycles

ULX3S = load_board("ulx3s_85f")
MODEL = b"echo".ljust(32)


@dataclass(frozen=True)
class Built:
    """Golden and two images as files, and their RTL in a cache of builds."""

    golden: bytes
    image: bytes
    other: bytes


def entry(root: Path, engine: Any, identity: Identity, image: bytes) -> bytes:
    """An entry of the cache of builds, without place and route: the RTL with its PLL, and bytes that stand for the bitstream."""
    board = ULX3S.with_flash_pins() if policy_of(identity) == "golden" else ULX3S.with_boot_pins()
    top, own = make_top(engine, identity, board)
    bitstream = stamp(image, ImageRecord(board.name, own.engine, own.model_hash.hex(), policy_of(own)))
    folder = root / "work"
    folder.mkdir(parents=True)
    (folder / "top.v").write_text(emit.to_verilog(top), encoding="utf-8")
    (folder / "x.bit").write_bytes(bitstream)
    record = {"board": board.name, "clock_hz": own.clock_hz, "bitstream": "x.bit", "next_image": next_image(own, board)}
    (folder / "build.json").write_text(json.dumps(record), encoding="utf-8")
    cache.publish(folder, "build", root.name)
    return bitstream


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, ecp5_bitstream: Callable[..., bytes]) -> Iterator[Built]:
    own, root = tmp_path_factory.mktemp("cache"), cache.cache_root()
    with pytest.MonkeyPatch.context() as patch:
        if (root / "verilator-runtime").is_dir():
            shutil.copytree(root / "verilator-runtime", own / "verilator-runtime")
        patch.setenv("NEUROLOOM_CACHE", str(own))
        factory, identity = golden_design(ULX3S, start_seconds=START_S)
        echo = with_boot(Identity("loopback", ULX3S.name, MODEL, 1, 1, 40_000_000), ULX3S, "unattended")
        made = Built(
            entry(own / "golden", factory(), identity, ecp5_bitstream(boots=True, filling=1)),
            entry(own / "echo", Echo(), echo, ecp5_bitstream(boots=True, filling=2)),
            entry(own / "other", Echo(), echo, ecp5_bitstream(boots=True, filling=3)),
        )
        for image in (made.golden, made.image):  # the other one is of the same RTL
            design = designs_of(ULX3S, "rtl")(image)
            assert set(design.files) == {"top.v", "cells.v", "board.v"} and design.clock_hz == 40_000_000
            VirtualBoard(design.files, design.top, design.clock_hz, design.baud).compile()
        yield made


@pytest.fixture
def ulx3s(built: Built, tmp_path: Path) -> Iterator[FlashBoard]:
    flash = tmp_path / "flash.img"
    erased_flash(flash, ULX3S)
    write_image(flash, 0, built.golden)
    board = FlashBoard(ULX3S, flash, flash_speed=50.0, eager_s=0.1)
    yield board
    board.stop()


def test_an_update_over_the_port(
    ulx3s: FlashBoard, built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flash, path = tmp_path / "flash.img", tmp_path / "x.bit"
    path.write_bytes(built.image)
    ulx3s.start()
    assert ulx3s.image == "golden" and image_name(ULX3S.layout, 0x200000) == "slot 1"

    def cli(*words: object) -> tuple[int, str, str]:
        code = main(
            ["flash", *(str(word) for word in words), "--port", str(ulx3s.port), "--timeout", str(PATIENCE_S), "-q"]
        )
        read = capsys.readouterr()
        return code, read.out, read.err.replace("\n", " ")

    code, out, err = cli("--info")
    assert code == 0 and "ISSI 9d 60 18, 16 MiB; golden in the first 2,097,152 bytes" in out, err
    assert "golden is not write-protected by the flash itself: ISSI's IS25LP protects from the top" in out
    code, _, err = cli(path, "--slot", 2)
    assert code == 2 and "slot must be 1 to 1, not 2" in err
    path.write_bytes(built.image[:-5])
    code, _, err = cli(path)
    assert code == 2 and "it is truncated; build it again; nothing was written" in err
    path.write_bytes(built.golden)
    code, _, err = cli(path)
    assert code == 2 and "golden must be written by cable" in err
    path.write_bytes(built.image)
    code, out, err = cli(path, "--start")
    assert code == 0 and "golden starts slot 1 at power-up from now on" in out, err
    assert ulx3s.image == "slot 1" and slot_state(flash, ULX3S, 1).starts
    ulx3s.power_off()
    ulx3s.power_on()
    ulx3s.wait_for("slot 1")
    with connect(ulx3s.port, timeout=PATIENCE_S) as device:
        assert device.identity.model_hash == MODEL and device.identity.baud == 2_000_000
        to_golden(device)  # PROGRAMN, and the address that the image names: 0
        assert ulx3s.image == "golden"
    assert cli(path, "--verify-only")[0] == 0
    # broken stop bits may be: hosts look for the rate, answers may be late
    assert flash.read_bytes().startswith(built.golden)


@pytest.mark.campaign
def test_power_cuts_in_random_cycles_of_the_ulx3s(ulx3s: FlashBoard, built: Built, tmp_path: Path, shown) -> None:
    seed = CAMPAIGN_SEED
    counts = cuts_in_random_cycles(ulx3s, tmp_path / "flash.img", built.image, built.other, seed)
    shown(f"1,000 power cuts in random cycles of an update of the ulx3s_85f, seed {seed}: {counts}")


def test_what_the_virtual_board_does_not_do(built: Built) -> None:
    unknown = stamp(
        built.image[built.image.index(b"\0", 2) - 1 :].replace(b"\x02", b"\x03", 1), ImageRecord("a", "b", "c", "d")
    )
    with pytest.raises(
        InputError, match="image must be one that was built on this machine .* is not in the cache of builds; build it"
    ):
        designs_of(ULX3S, "rtl")(unknown)
    with pytest.raises(InputError, match="fidelity must be rtl with a flash for ulx3s_85f, whose"):
        designs_of(ULX3S, "netlist")
    with pytest.raises(InputError, match="fidelity must be rtl with a flash for ulx3s_85f, whose"):
        FlashBoard(replace(ULX3S), Path("absent"), fidelity="bitstream")

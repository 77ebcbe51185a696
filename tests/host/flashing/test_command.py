"""``neuroloom flash``: slots over a port, golden by cable, and every refusal with nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.ice40.bitstream import crc16
from neuroloom.boards.image_record import ImageRecord, check_image, read_record, stamp
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.compiler.errors import InputError
from neuroloom.host.cli.app import main
from neuroloom.rtl.flash.layout import golden_image

from .conftest import PATIENCE_S

Cli = Callable[..., tuple[int, str, str]]
SHAPES = {"5k": (692, 336), "8k": (872, 272)}


def bitstream(device: str = "5k") -> bytes:
    """The smallest file that configures a device: two rows of each bank."""
    width, height = SHAPES[device]
    out = b"\x51\x00\x01\x05\x92\x00\x20\x62" + (width - 1).to_bytes(2, "big") + b"\x72\x00\x02"
    out += b"\x82" + (height - 2).to_bytes(2, "big")
    for bank in range(4):
        out += bytes([0x11, bank, 0x01, 0x01]) + bytes(range(width * 2 // 8)) + bytes(2)
    body = out[out.index(b"\x01\x05") + 2 :] + b"\x22"
    return b"\xff\0\0\xff\x7e\xaa\x99\x7e" + out + b"\x22" + crc16(body).to_bytes(2, "big") + b"\x01\x06"


def record(boot: str, board: str = "icebreaker", model: str = "ab" * 32) -> ImageRecord:
    return ImageRecord(board, "loopback", model, boot)


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["flash", *map(str, words)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err.replace("\n", " ")

    return run


def test_an_image_says_what_it_is(tmp_path: Path) -> None:
    plain = bitstream()
    stamped = stamp(plain, record("attended"))
    assert read_record(stamped) == record("attended") and read_record(plain) is None
    assert stamped.endswith(plain[plain.index(b"\x7e\xaa\x99\x7e") :])
    assert (
        check_image(stamped, "up5k", "icebreaker") == record("attended")
        and check_image(plain, "up5k", "icebreaker") is None
    )
    with pytest.raises(InputError, match="image must be built for ice40_hx8k_evn, not for icebreaker"):
        check_image(stamped, "hx8k", "ice40_hx8k_evn")
    with pytest.raises(InputError, match=r"for the hx8k of ice40_hx8k_evn, not for another iCE40 \(up5k\)"):
        check_image(plain, "hx8k", "ice40_hx8k_evn")
    with pytest.raises(InputError, match="must match its CRC"):
        check_image(stamped.replace(b"\x05\x06\x07", b"\x05\x06\x27"), "up5k", "icebreaker")
    with pytest.raises(InputError, match="must begin with a comment or its preamble"):
        stamp(b"PK\x03\x04", record("attended"))


def test_over_the_port(
    board: FlashBoard,
    flash: Path,
    cli: Cli,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {
        "x.bin": stamp(bitstream(), record("attended")),
        "other.bin": stamp(bitstream(), record("unattended")),
        "plain.bin": bitstream(),
        "hx8k.bin": bitstream("8k"),
        "evn.bin": stamp(bitstream("8k"), record("attended", "ice40_hx8k_evn")),
        "short.bin": bitstream()[:-40],
        "golden.bin": stamp(bitstream(), record("golden")),
        "large.bin": bitstream() + bytes(258_048),
        "text.bin": b"hello",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    board.start()
    port = ("--port", board.port, "--timeout", PATIENCE_S, "-q")
    code, out, _ = cli(*port, "--info")
    assert code == 0 and "Winbond ef 70 18, 16 MiB" in out and out.count("empty") == 3
    assert "golden is write-protected by the flash itself" in out and "network at 0x100000: none" in out
    capsys.readouterr()
    assert main(["doctor", "--board", "icebreaker", "--port", str(board.port), "--timeout", str(PATIENCE_S), "-q"]) == 0
    assert "Winbond ef 70 18, 16 MiB, 0 of 3 slots hold an image" in capsys.readouterr().out
    untouched = flash.read_bytes()
    for words, sentence in (
        (("hx8k.bin",), r"image must be for the up5k of icebreaker, not for another iCE40 (hx8k)"),
        (("evn.bin",), "image must be built for icebreaker, not for ice40_hx8k_evn"),
        (("short.bin",), "must not end inside a command"),
        (("golden.bin",), "golden must be written by cable, not over the link"),
        (("text.bin",), "must contain the preamble"),
        (("large.bin",), "image must have 1 to 258,048 bytes to fit slot 1"),
        (("x.bin", "--slot", 4), "slot must be 1 to 3, not 4"),
        (("x.bin", "--slot", 0), "slot 0 is golden, which the link never overwrites"),
        (("plain.bin", "--start"), "image must be built with --boot unattended"),
        (("--hold", "--slot", 2), "slot 2 must hold an image to be held back"),
        (("absent.bin",), "absent.bin does not exist; build it"),
        ((), "an image X.bin must be given"),
        (("x.bin", "--board", "icebreaker"), "--board must be left out with --port"),
        (("x.bin", "--verify-only", "--boot"), "--verify-only must be given without --boot"),
        (("x.bin", "--info"), "--info must be given without an image"),
        (("x.bin", "--hold", "--start"), "--hold and --start must not be given together"),
    ):
        code, _, err = cli(*port, *words)
        assert code in (2, 4) and sentence in err and err.count("error:") == 1, (words, err)
        assert flash.read_bytes() == untouched, words
    code, out, _ = cli(*port, "x.bin", "--slot", 3)
    assert code == 0 and "x.bin is in slot 3: 4 pages written and read back" in out
    assert cli(*port, "x.bin", "--slot", 3, "--verify-only")[0] == 0
    assert cli(*port, "other.bin", "--slot", 3, "--verify-only")[0] == 1
    code, out, _ = cli(*port, "x.bin", "--slot", 3, "--hold", "--json")
    assert code == 0 and (json.loads(out)["written"], json.loads(out)["kept"]) == (0, 4)
    slots = json.loads(cli(*port, "--info", "--json")[1])["slots"]
    assert slots[2]["record"]["boot"] == "attended" and slots[2]["flags"] == ["held"] and slots[0]["length"] is None


def test_from_python(
    board: FlashBoard, images: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuroloom.host import flash_flow

    import neuroloom as nl

    path = tmp_path / "x.bin"
    path.write_bytes(images["attended"])
    board.start()
    with nl.connect(board.port, timeout=PATIENCE_S) as device:
        with pytest.raises(InputError, match="nothing was written"):
            nl.flash(device, path)  # no bitstream of any chip
        with pytest.raises(InputError, match=r"Bitstream must be a file, not 'y.bin'"):
            nl.flash(device, "y.bin")
        monkeypatch.setattr(flash_flow, "check_for", lambda device, image: None)
        assert nl.flash(device, path, slot=2).written == 12
        assert board.image == "slot 2" and device.identity.engine == "loopback"


def test_by_cable(cli: Cli, tmp_path: Path, ecp5_bitstream: Callable[..., bytes]) -> None:
    layout = load_board("icebreaker").layout
    (tmp_path / "golden.bin").write_bytes(golden_image(layout, stamp(bitstream(), record("golden"))))
    (tmp_path / "x.bin").write_bytes(stamp(bitstream(), record("attended")))
    (tmp_path / "plain.bin").write_bytes(bitstream())
    (tmp_path / "hx8k.bin").write_bytes(bitstream("8k"))
    (tmp_path / "text.bin").write_text("hello")
    (tmp_path / "ulx3s.bit").write_bytes(ecp5_bitstream())
    for board in all_boards():
        suffix = {"ice40_hx8k_evn": "hx8k.bin", "ulx3s_85f": "ulx3s.bit"}.get(board.name, "plain.bin")
        code, out, _ = cli(suffix, "--board", board.name, "--dry-run")
        assert code == 0 and out.startswith("openFPGALoader -b ") and out.strip().endswith(str(tmp_path / suffix))
    assert cli("golden.bin", "--board", "icebreaker", "--dry-run", "--via", "openfpgaloader")[0] == 0
    for words, sentence in (
        (
            ("x.bin", "--board", "icebreaker"),
            "must go into a slot beside golden, because it was built with --boot attended",
        ),
        (("hx8k.bin", "--board", "icebreaker"), "not for another iCE40 (hx8k)"),
        (
            ("text.bin", "--board", "icebreaker"),
            "must begin with a comment, its preamble or boot headers; is it a bitstream?",
        ),
        (("golden.bin", "--board", "ice40_hx8k_evn"), "image must be built for ice40_hx8k_evn, not for icebreaker"),
        (("plain.bin",), "--port P must be given to write into a slot, or --board B to write by cable"),
        (("plain.bin", "--boot", "--board", "icebreaker"), "--boot must come with --port"),
    ):
        code, _, err = cli(*words, *(("--dry-run",) if "--board" in words else ()))
        assert code == 2 and sentence in err, (words, err)

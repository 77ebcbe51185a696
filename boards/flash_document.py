"""Writes ``docs/flash.md`` from the loader's table and the boards' maps.

``python -m neuroloom.boards.flash_document docs/flash.md``
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from neuroloom.boards.board import Board
from neuroloom.boards.boot_policy import BOOT_POLICIES
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.rtl.flash import layout as f
from neuroloom.rtl.flash import network as n
from neuroloom.rtl.flash.loader import BUSY_SECONDS, START_SECONDS, WAKE_SECONDS
from neuroloom.rtl.flash.protection import protection, why_not
from neuroloom.rtl.link.protocol import GUARD_SECONDS

RESUMING = """
## Resuming

A block of 64 KiB whose first page is right is looked at page by page: right pages from its beginning on, and blank ones behind
them, are kept; the last right one is programmed once more, because the power may have gone while it was. Everything else is
erased and written: a block without a right page may have been erased half, and what reads blank then is not to be trusted.
"""

CUTS = """
## Cut at every page

`make campaign` cuts the virtual board's power in every piece of the flash's work in an update, in the order that golden and host
have now (the label or header erased, the blocks erased, every page, the label or header written), at eight or five shares of its
time, some of them drawn; the seed, which also draws what a cut leaves, is printed. Golden answers each time, and boots a whole
image or refuses; an engine starts with a whole network or waits. The last runs, November 2026:

| update of | pieces | cuts | seed | found afterwards |
|---|---|---|---|---|
| an image of 12 pages | 15 | 120 | 1795803972 | 1 old, 1 new, 118 none and golden |
| a network of 2 pages | 5 | 25 | 1795803920 | 1 old, 2 new, 22 none |

And at 1,000 random cycles of an update and of the time behind it, golden's protection by the flash and all; every twentieth update
was then finished, booted and seen to answer:

| board | seed | old | new | none and golden |
|---|---|---|---|---|
| `icebreaker` | 1795811725 | 187 | 286 | 527 |

Of the ULX3S 400 such cuts were made, with 107 old images, 59 new ones and 234 times none and golden, until that run's host lost
its patience with a busy machine, which it no longer does; its thousand has not been repeated.
"""

PROTECTION = """
## The flash's own protection of golden

The loader refuses to write golden. Beyond that golden tells the flash to refuse it, so that no image that runs later, gone wild or
not made here, erases golden by accident. It looks at the JEDEC id first, writes the status register of a chip that it knows the
volatile way (0x50, 0x01), and every MAP reads it back; `flash --info` says what it found. Volatile, because then nothing wears out
and no power cut can leave it half written: it is gone at the next power-up, which begins with golden, which sets it again.

{table}

Writing golden anew by cable without switching the board off first needs openFPGALoader's `--unprotect-flash`.
"""

ALONE = """
## A network without a host

An engine that networks are loaded into (a spiking core, the gated engine) may load one out of the flash by itself:

```
neuroloom build --core infer --board icebreaker --boot standalone    # the engine, once
neuroloom flash build/icebreaker-infer/icebreaker.bin --port P --start
neuroloom flash m.nloom --port P --boot       # the network, into its partition, for the engine in the slot; seen to be loaded
neuroloom flash m.nloom --port P --verify-only
neuroloom flash --port P --forget-network     # boards start without one again
neuroloom ping --port P                       # what became of it at the start
neuroloom emulate m.nloom --board icebreaker --flash flash.img --standalone    # all of it on a virtual board
neuroloom flash m.nloom --into flash.img --board icebreaker                    # only the partition in its flash's file
```

On the virtual board, with golden and the core's image as they were placed, routed and packed, as RTL, and the same from their
very bits (`--fidelity bitstream`):

```
$ neuroloom emulate --board icebreaker --flash flash.img
golden runs
slot 1 runs
$ neuroloom ping --port P
network in the flash: it was checked and loaded
$ neuroloom run m.nloom --port P -i x.npy --check
2 samples in 0.27 s (7/s), 0 frames repeated
144 integers compared with the simulator, no differences
```

What stands there are the very bytes that `neuroloom load` sends, and behind them a fresh start. The engine's image reads them twice
at its start: first only for the CRC-32, and if that is right to the engine, through the CRC again. A host that speaks meanwhile
waits; `run` then finds its network by the mark that every loaded network has, and sends none. Anything else leaves the engine
waiting for a host as ever, and NETWORK says why. A network for another engine is not loaded: the header's mark is made of the
engine's hash.

The partition's first block holds only the header, in its last page at {header:#x} on the iCEBreaker; the data begin in the
next block. The header is erased before anything else is touched, and programmed after everything was read back: whenever the power
goes, the board starts with the old network, the new one, or none. An update that was interrupted goes on where it stopped, as
images do.

{table}

The mark's, the count's and the CRC's bytes come highest first, and the CRC takes every byte's highest bit first (CRC-32/BZIP2:
0x{polynomial:08X}, from ones, complemented, check value FC891918): so come the bits out of the flash. It covers mark, count and
commands. The counter is a shift register of {count_bits} bits whose lowest bit becomes the exclusive or of its bits
{count_bits} and {count_tap} (from 1 on): the count is the state that becomes all ones in as many steps as there are bytes. Counting
so takes no logic, and nor does loading.

{states}

Loading takes 17 clock cycles a byte twice: 0.19 s for the 131 kB that the iCEBreaker's engines hold at most. It costs {cells}
logic cells; {carry}
"""

CELLS = "some 190"
CARRY = """on the iCEBreaker every engine but `tables6` has
room for it. Of 5,280 cells, as nextpnr packs them:

| engine | with `--boot none` | with `--boot standalone` |
|---|---|---|
| `infer` | 4,793 | 4,988 |
| `decide` | 4,775 | 4,983 |
| `stdp` | 4,623 | 4,813 |
| `lanes8` | 5,117, with four frame buffers each way | 5,236, with two; 27.7 MHz, seed 1 (24 are needed) |

On the ULX3S there is room beside every engine. An engine without it takes its networks over the link, as ever."""

ECP5 = """
## ECP5: one user slot, or a jump sector?

ECP5 has no SB_WARMBOOT: pulling PROGRAMN low loads the image at the address that the running image's own boot address names
(`ecppack --bootaddr`), and power-up loads the one at 0, or a golden one when that fails. With **one user slot** every image names
the other place: golden names the slot, images name golden, nothing is ever rewritten to choose, and a cut can only hit the slot,
which golden checks before it leaves. A **jump sector** (a rewritable sector with a jump command at address 0) would allow several
slots, but whoever rewrites it erases, for 45 ms, the sector that power-up begins with; a cut in that time leaves a board that only
the cable mends, or rests on the device's fall-back to a second golden address, which no open tool here could show to work. So one
user slot is what fits the rule that no cut leaves a dead board.

The ULX3S has it: `build --golden` packs golden with the slot's address, `build --boot ...` packs images with golden's, 0, each with
the multi-boot bit of control register 0; both pull PROGRAMN by the board's `program` pin. The flash's clock goes through USRMCLK,
HOLD and WP are kept high. The host's commands are those of the iCE40 boards; golden's file for the cable is `golden.bit`, which
openFPGALoader writes without its comment. An image carries its length and CRC-32 in its record, because its frames are compressed.
The virtual board runs the RTL of the build with models of PLL and USRMCLK, and loads the address that the build packed; its
bitstreams are not read back. Golden (2,049 LUTs, 66.8 MHz by seed 1, 40 needed) and the digits network beside it (3,293 LUTs, 75.9
MHz) were placed, routed and packed, and that image of 747,862 bytes was flashed, booted and left again on the virtual board. On a
real board this has not run yet.
"""

VIRTUAL = """
## The virtual board

`neuroloom emulate --board icebreaker --flash flash.img` starts what the file holds, with golden in it if it is new; an image
given with it goes to slot 1 and is started. Images boot each other, `power off [CYCLE]` and `power on` on its standard input are
the power switch, and the flash has the times of a W25Q128JV (`--flash-speed` divides them), sleeps until it is woken, ignores what
comes while it is busy, and is left half erased or half programmed by a cut. `--fidelity rtl` runs the RTL of the build whose file
stands in the flash byte for byte, `netlist` the cells it was synthesised to, `bitstream` the bits themselves, unpacked. A new image
is compiled when it is first booted, which may take a minute; hosts on the port say so and wait.
"""

DIAGRAMS = {
    "An update": """
    Host->>Image: BOOT
    Image-->>Host: OK
    Note over Image: SB_WARMBOOT, image 0
    Host->>Golden: SYNC, IDENTIFY: engine loader
    Host->>Golden: MAP, JEDEC, SFDP
    Host->>Golden: ERASE the label's sector
    loop every block of 64 KiB
    Host->>Golden: ERASE
    Host->>Golden: PROGRAM page, CRC page, PROGRAM page, CRC page, ...
    Golden-->>Host: done, CRC-32, done, CRC-32, ...
    end
    Host->>Golden: PROGRAM the label, CRC
    Host->>Golden: BOOT slot
    Note over Golden: label right, image's CRC-32 right, attempt written down
    Golden-->>Host: done
    Note over Golden: SB_WARMBOOT, image of the slot
    Host->>Image: SYNC, IDENTIFY, CONFIRM
    Image-->>Host: OK: it stays""",
    "The power goes in the middle": """
    Host->>Golden: PROGRAM page 200
    Note over Golden: power cut: the page is torn, the slot has no label
    Note over Golden: power-up: golden, no slot may start
    Host->>Golden: CRC of every page of the block
    Golden-->>Host: 199 right, one torn
    Note over Host: the torn page's block is erased and written again, blocks before it are kept
    Host->>Golden: ERASE, PROGRAM, ..., the label""",
    "An image that does not work": """
    Host->>Golden: BOOT slot
    Note over Golden: attempt written down, then booted
    Note over Image: nobody confirms it
    Note over Image: its guard boots golden; if it hangs, the next power-up does
    Note over Golden: attempted and not confirmed: not started again by itself
    Host->>Golden: SYNC, IDENTIFY: engine loader""",
    "Power-up without a host": """
    Note over Golden: a host may speak now
    Note over Golden: nobody did: the first slot with start, and confirmed or never attempted
    Note over Golden: label right, CRC-32 right, attempt written down if not confirmed
    Golden->>Image: SB_WARMBOOT""",
}


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def _map(board: Board) -> list[str]:
    layout = board.layout
    head = f.PAGE_BYTES if board.family == "ice40" else 0
    rows: list[tuple[str, str, str]] = []
    if head:
        about = f"boot headers of {f.HEADER_BYTES} bytes: power-up and image 0 golden, 1 to 3 the slots"
        rows.append(("0x000000", f"{head}", about))
    rows.append((f"{head:#08x}", f"{layout.golden_bytes - head:,}", "golden: link and loader"))
    for slot in range(1, layout.slots + 1):
        rows.append(
            (f"{layout.slot_at(slot):#08x}", f"{layout.image_bytes:,}", f"slot {slot}: an image from its first byte on")
        )
        at = layout.slot_at(slot) + layout.image_bytes
        rows.append(
            (
                f"{at:#08x}",
                f"{f.SECTOR_BYTES:,}",
                f"the label's sector of slot {slot}; the label at {layout.label_at(slot):#08x}",
            )
        )
    if layout.network_room:
        rows.append(
            (
                f"{layout.network_at:#08x}",
                f"{f.BLOCK_BYTES:,}",
                f"a network's header at {layout.network_header_at:#08x}",
            )
        )
        rows.append(
            (f"{layout.network_data_at:#08x}", f"{layout.network_room:,}", "a network's commands and their CRC-32")
        )
    rows.append((f"{layout.end:#08x}", f"{layout.flash_bytes - layout.end:,}", "not used, not written"))
    return _table(("from", "bytes", "what"), rows)


def _protection(boards: Sequence[Board]) -> str:
    """The section on the flash's own protection."""
    rows = []
    for board in boards:
        found = protection(board.layout)
        chips = "none" if found is None else ", ".join(chip.hex(" ") for chip in found[0])
        status = "" if found is None else f"0x{found[1]:02X}"
        jedec = bytes.fromhex(board.flash.jedec)
        own = f"`{jedec.hex(' ')}`: " + (
            "protected"
            if found is not None and jedec in found[0]
            else f"not protected, because {why_not(board.layout, jedec)}"
        )
        rows.append((f"`{board.name}`", chips, status, own))
    head = ("board", "chips that protect exactly its golden", "status register", "the board's own chip")
    return PROTECTION.format(table="\n".join(_table(head, rows)))


def _alone(board: Board) -> str:
    """The section on networks that start without a host."""
    at = 0
    rows: list[tuple[object, ...]] = []
    for name, size, what in n.HEADER_ABOUT:
        rows.append((at, size, f"`{name}`", what))
        at += size
    tail = f.PAGE_BYTES - n.TAIL_BYTES
    rows += [
        (tail, 4, "`mark`", "first bytes of the SHA-256 of `NLNW`, version and the engine's hash"),
        (tail + 4, 4, "`count`", "bytes of commands again, as a state of the gateware's counter"),
        ("next block", "length", "`commands`", "as over the link"),
        ("", n.CRC_BYTES, "`crc`", "CRC-32 of mark, count and commands"),
    ]
    return ALONE.format(
        header=board.layout.network_header_at,
        table="\n".join(_table(("offset", "bytes", "field", "what"), rows)),
        states="\n".join(
            _table(("NETWORK answers", "which means"), ((int(s), about) for s, about in n.START_ABOUT.items()))
        ),
        polynomial=n.POLYNOMIAL,
        count_bits=n.COUNT_BITS,
        count_tap=n.COUNT_TAP,
        cells=CELLS,
        carry=CARRY,
    )


def render() -> str:
    """The text of ``docs/flash.md``."""
    boards = all_boards()
    mapped = [board for board in boards if board.flash.layout is not None]
    others = ", ".join(f"`{board.name}`" for board in boards if board.flash.layout is None)
    flags = ("a boot was tried", "it is known to be good", "golden starts it at power-up", "golden no longer does")
    opcodes = (
        (
            chr(o.code),
            o.name,
            ", ".join(f"{name} ({size})" if size else name for name, size in o.fields) or "none",
            o.answer,
            o.about,
        )
        for o in f.OPCODES
    )
    policies = {
        "none": "for the cable: the image is alone in the flash and knows no way to another one",
        "attended": f"goes back to golden unless a host begins a session (and so confirms it) within"
        f" {GUARD_SECONDS} s, and when it is asked to",
        "unattended": "goes back to golden when it is asked to; may run without any host",
        "standalone": "as `unattended`, and loads the network in the flash into its engine at its start",
    }
    lines = [
        "# The flash",
        "",
        "<!-- Written by `python -m neuroloom.boards.flash_document docs/flash.md` from `rtl/flash/` and the"
        " board files; change those. -->",
        "",
        "Once by cable: golden, an image that holds the link and a loader. From then on images travel over"
        " the UART into slots, and",
        "golden boots them. Golden's own bytes are out of reach: the loader's gateware erases and programs slots only.",
        "",
        "```",
        "neuroloom build --golden --board icebreaker           # golden.bin",
        "neuroloom flash golden.bin --board icebreaker         # once, by cable (openFPGALoader); --dry-run shows the command",
        "neuroloom build m.nloom --board icebreaker --boot attended",
        "neuroloom flash x.bin --port P --slot 1 --boot        # written, read back, booted, seen to answer",
        "neuroloom flash x.bin --port P --start                # and started at every power-up from now on (--hold ends that)",
        "neuroloom flash x.bin --port P --verify-only          # exit code 1 when the slot holds something else",
        "neuroloom flash --port P --info                       # the chip and what stands in every slot",
        "```",
        "",
        "Numbers are little-endian; bytes in brackets.",
        "",
        "## Maps",
        "",
    ]
    for board in mapped:
        lines += [f"### {board.title}", "", *_map(board), ""]
    lines += [
        f"Boards whose flash holds one image, written by cable only: {others}.",
        "",
        "## Labels",
        "",
        f"A label says that the slot's image is whole: `{f.LABEL_MAGIC.decode()}`, length (4), CRC-32 of the image (4), CRC-32 of"
        f" these {f.LABEL_BYTES - 4} bytes (4). Its sector is erased before anything else of the slot is touched and the label is"
        " programmed after everything else was read back, so a slot with a right label holds a whole image, whenever the power was",
        "cut. Behind it stand flags, one byte each, erased until they are programmed to 0, which needs no erasing:",
        "",
        *_table(("offset", "flag", "0 means"), ((f.LABEL_BYTES + n, name, flags[n]) for n, name in enumerate(f.FLAGS))),
        "",
        "A torn flag counts for the safe side: `attempted` and `held` as soon as one bit is programmed, the"
        " others only when all are.",
        "",
        "## Images",
        "",
        "An image that is one of several says what it is in the comment in front of its preamble, where the device skips it:",
        "`neuroloom board=B engine=E model=HASH boot=POLICY`, for ECP5 also `bytes=N crc32=HEX` of all behind the line. `flash`"
        " refuses",
        "another board's image, a truncated or damaged one (by the bitstream's own CRC, or those) and golden before a byte is"
        " written.",
        "",
        *_table(("`--boot`", "meaning"), ((f"`{name}`", policies[name]) for name in BOOT_POLICIES)),
        "",
        "## What golden does",
        "",
        f"1. Wakes the flash (0xAB, {1e6 * WAKE_SECONDS:g} us), sets its protection of golden, and gives a host"
        f" {START_SECONDS:g} s to speak.",
        "2. If nobody does: the first slot that is to start and is known to be good, or was never tried, is checked and booted.",
        "3. Before any boot: label right, CRC-32 of the whole image right, and, unless the image is"
        " confirmed, the attempt written down.",
        "4. So an image that hangs is left by the next power-up: its attempt stands in the flash, and no confirmation.",
        "",
        "The host marks an image `confirmed` only after it saw it answer with the right hash (`--start` does both boots).",
        "",
        "## The loader's opcodes",
        "",
        f"Payload of RUN, any number in one; version {f.LOADER_VERSION}. Each waits until the flash is not busy, at most"
        f" {BUSY_SECONDS:g} s.",
        "",
        *_table(("byte", "name", "fields (bytes)", "answer", "what it does"), opcodes),
        "",
        "The map record: version (1), slots (1), blocks of 64 KiB for a network (1), the status register (1), golden's bytes (4),"
        " a slot's",
        "bytes (4), the flash's bytes (4).",
        "",
        *_table(("result", "meaning"), f.RESULTS.items()),
        "",
        "The flash must describe itself by an SFDP table (JEDEC JESD216), erase 4 KiB by 0x20 and 64 KiB by"
        " 0xD8, and have pages of",
        "256 bytes; anything else is refused by its JEDEC id.",
        "",
        "## How it plays",
    ]
    for title, diagram in DIAGRAMS.items():
        lines += ["", f"### {title}", "", "```mermaid", "sequenceDiagram" + diagram, "```"]
    lines += [
        "",
        *RESUMING.strip().split("\n"),
        "",
        *CUTS.strip().split("\n"),
        "",
        *_protection(mapped).strip().split("\n"),
        "",
        *_alone(load_board("icebreaker")).strip().split("\n"),
        "",
        *ECP5.strip().split("\n"),
        "",
        *VIRTUAL.strip().split("\n"),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")

"""Clock and start-up reset of a board: phase-locked loops of each FPGA family, and the reset that waits for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.errors import InputError

STARTUP_US = 15
"""Microseconds of reset after configuration: iCE40 block RAM reads zero for about 3 us, Amaranth's own margin is 15."""


@dataclass(frozen=True)
class Pll:
    """One PLL primitive: which settings it takes, what frequency they give, and how it is instantiated.

    ``frequency(settings, input_hz)`` returns (output, oscillator) in hertz as exact fractions; ``oscillator`` is the
    legal range of the internal oscillator in hertz. ``divider`` names the setting that divides the input before it is compared,
    and ``compared`` is the least frequency that this may leave, where there is one; ``optional`` settings may be left out.
    ``instantiate(settings, input_hz, clk_in, clk_out, locked)`` returns the Instance.
    """

    settings: frozenset[str]
    oscillator: tuple[int, int]
    frequency: Callable[[Mapping[str, int], int], tuple[Fraction, Fraction]]
    instantiate: Callable[[Mapping[str, int], int, Value, Signal, Signal], Instance]
    optional: frozenset[str] = frozenset()
    divider: str = ""
    compared: int = 0


def _ice40_frequency(s: Mapping[str, int], input_hz: int) -> tuple[Fraction, Fraction]:
    # Lattice TN-02052, SIMPLE feedback: f_vco = f_in (DIVF + 1) / (DIVR + 1), f_out = f_vco / 2^DIVQ
    vco = Fraction(input_hz * (s["DIVF"] + 1), s["DIVR"] + 1)
    return vco / (1 << s["DIVQ"]), vco


def _ice40(kind: str, pin: str) -> Callable[[Mapping[str, int], int, Value, Signal, Signal], Instance]:
    def make(s: Mapping[str, int], input_hz: int, clk_in: Value, clk_out: Signal, locked: Signal) -> Instance:
        return Instance(
            kind,
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(s["DIVR"], 4),
            p_DIVF=Const(s["DIVF"], 7),
            p_DIVQ=Const(s["DIVQ"], 3),
            p_FILTER_RANGE=Const(s["FILTER_RANGE"], 3),
            **{f"i_{pin}": clk_in},
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clk_out,
            o_LOCK=locked,
        )

    return make


def _ecp5_frequency(s: Mapping[str, int], input_hz: int) -> tuple[Fraction, Fraction]:
    # Lattice FPGA-TN-02200, feedback from CLKOP: f_clkop = f_in CLKFB_DIV / CLKI_DIV, f_vco = f_clkop CLKOP_DIV; the logic runs
    # from CLKOP, or from CLKOS = f_vco / CLKOS_DIV where that is given
    out = Fraction(input_hz * s["CLKFB_DIV"], s["CLKI_DIV"])
    vco = out * s["CLKOP_DIV"]
    return vco / s.get("CLKOS_DIV", s["CLKOP_DIV"]), vco


def _ecp5(s: Mapping[str, int], input_hz: int, clk_in: Value, clk_out: Signal, locked: Signal) -> Instance:
    second: dict[str, Any] = {}
    fed_back = clk_out
    if "CLKOS_DIV" in s:
        fed_back = Signal(name="pll_feedback")
        second = {
            "p_CLKOS_ENABLE": "ENABLED",
            "p_CLKOS_DIV": s["CLKOS_DIV"],
            "p_CLKOS_CPHASE": s["CLKOS_DIV"] // 2,
            "p_CLKOS_FPHASE": 0,
            "i_ENCLKOS": Const(0),
            "o_CLKOS": clk_out,
        }
    return Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=f"{input_hz / 1e6:.6f}",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_CLKI_DIV=s["CLKI_DIV"],
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=s["CLKOP_DIV"],
        p_CLKOP_CPHASE=s["CLKOP_DIV"] // 2,
        p_CLKOP_FPHASE=0,
        p_FEEDBK_PATH="CLKOP",
        p_CLKFB_DIV=s["CLKFB_DIV"],
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_CLKI=clk_in,
        i_CLKFB=fed_back,
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=fed_back,
        o_LOCK=locked,
        **second,
    )


def _mmcm_frequency(s: Mapping[str, int], input_hz: int) -> tuple[Fraction, Fraction]:
    # AMD UG472; MULT_8 and DIVIDE_8 are in eighths, the resolution of CLKFBOUT_MULT_F and CLKOUT0_DIVIDE_F
    vco = Fraction(input_hz * s["MULT_8"], 8)
    return vco * 8 / s["DIVIDE_8"], vco


def _mmcm(s: Mapping[str, int], input_hz: int, clk_in: Value, clk_out: Signal, locked: Signal) -> Instance:
    feedback = Signal(name="pll_feedback")
    return Instance(
        "MMCME2_BASE",
        p_CLKIN1_PERIOD=1e9 / input_hz,
        p_CLKFBOUT_MULT_F=s["MULT_8"] / 8,
        p_CLKOUT0_DIVIDE_F=s["DIVIDE_8"] / 8,
        p_DIVCLK_DIVIDE=1,
        i_CLKIN1=clk_in,
        i_CLKFBIN=feedback,
        i_RST=Const(0),
        i_PWRDWN=Const(0),
        o_CLKFBOUT=feedback,
        o_CLKOUT0=clk_out,
        o_LOCKED=locked,
    )


_ICE40_SETTINGS = frozenset({"DIVR", "DIVF", "DIVQ", "FILTER_RANGE"})
PLLS: Mapping[str, Pll] = {
    "SB_PLL40_PAD": Pll(
        _ICE40_SETTINGS, (533_000_000, 1_066_000_000), _ice40_frequency, _ice40("SB_PLL40_PAD", "PACKAGEPIN")
    ),
    "SB_PLL40_CORE": Pll(
        _ICE40_SETTINGS, (533_000_000, 1_066_000_000), _ice40_frequency, _ice40("SB_PLL40_CORE", "REFERENCECLK")
    ),
    "EHXPLLL": Pll(
        frozenset({"CLKI_DIV", "CLKFB_DIV", "CLKOP_DIV"}),
        (400_000_000, 800_000_000),
        _ecp5_frequency,
        _ecp5,
        optional=frozenset({"CLKOS_DIV"}),
        divider="CLKI_DIV",
        compared=10_000_000,  # as LiteX takes it from Lattice; ecppll allows 3.125 MHz
    ),
    "MMCME2_BASE": Pll(frozenset({"MULT_8", "DIVIDE_8"}), (600_000_000, 1_200_000_000), _mmcm_frequency, _mmcm),
}
"""Every PLL primitive a board file may name."""


@dataclass(frozen=True)
class ClockPlan:
    """From the board's oscillator to the logic clock, in hertz; ``primitive`` None uses the oscillator directly."""

    input_hz: int
    logic_hz: int
    primitive: str | None = None
    settings: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.primitive is None:
            if self.settings:
                raise InputError("Clock plan must have no PLL settings without a PLL primitive")
            if self.logic_hz != self.input_hz:
                raise InputError(
                    f"Logic clock must be the oscillator's {self.input_hz} Hz without a PLL, not {self.logic_hz} Hz"
                )
            return
        if self.primitive not in PLLS:
            raise InputError(f"PLL primitive must be one of {', '.join(PLLS)}, not {self.primitive!r}")
        pll = PLLS[self.primitive]
        if set(self.settings) - pll.optional != pll.settings:
            also = f" and may have {', '.join(sorted(pll.optional))}" if pll.optional else ""
            raise InputError(
                f"Settings of {self.primitive} must be {', '.join(sorted(pll.settings))}{also}, "
                f"not {', '.join(sorted(self.settings)) or 'none'}"
            )
        out, oscillator = pll.frequency(self.settings, self.input_hz)
        low, high = pll.oscillator
        if not low <= oscillator <= high:
            raise InputError(
                f"Oscillator of {self.primitive} must run at {low / 1e6:.0f} to {high / 1e6:.0f} MHz, "
                f"not {float(oscillator) / 1e6:.3f} MHz"
            )
        divisor = self.settings.get(pll.divider, 1)
        if self.input_hz < pll.compared * divisor:
            raise InputError(
                f"{pll.divider} of {self.primitive} must leave at least {pll.compared / 1e6:g} MHz of the input's"
                f" {self.input_hz / 1e6:g}, and {divisor} leaves {self.input_hz / divisor / 1e6:g}"
            )
        if out != self.logic_hz:
            raise InputError(f"Settings of {self.primitive} must give {self.logic_hz} Hz, not {float(out):.1f} Hz")

    @property
    def startup_cycles(self) -> int:
        """Logic clock cycles in ``STARTUP_US`` microseconds, rounded up."""
        return -(-self.logic_hz * STARTUP_US // 1_000_000)


class BoardClock(wiring.Component):
    """The logic clock from the board's oscillator, and a reset held until clock and memories are ready.

    The reset lasts while the PLL is unlocked and ``STARTUP_US`` microseconds after it has locked; a PLL that loses
    lock resets the design again. With ``plan`` None (simulation) ``clk_in`` is the logic clock itself and the reset
    is ``rst_in`` alone.

    Members
    -------
    clk_in, rst_in : In(1), the oscillator and a reset from outside
    clk_out, rst_out : Out(1), for the clock domain of the design
    """

    def __init__(self, plan: ClockPlan | None) -> None:
        self.plan = plan
        super().__init__({"clk_in": In(1), "rst_in": In(1), "clk_out": Out(1), "rst_out": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.plan is None:
            m.d.comb += [self.clk_out.eq(self.clk_in), self.rst_out.eq(self.rst_in)]
            return m
        locked = Signal()
        clk_logic = Signal()
        if self.plan.primitive is None:
            m.d.comb += [clk_logic.eq(self.clk_in), locked.eq(1)]
        else:
            pll = PLLS[self.plan.primitive]
            m.submodules.pll = pll.instantiate(self.plan.settings, self.plan.input_hz, self.clk_in, clk_logic, locked)
        # the same clock without a reset: this counter is what makes the reset
        m.domains.startup = ClockDomain("startup", reset_less=True, local=True)
        m.d.comb += ClockSignal("startup").eq(clk_logic)
        lock_seen = Signal()
        m.submodules.lock_sync = FFSynchronizer(locked, lock_seen, o_domain="startup", reset_less=True)
        cycles = self.plan.startup_cycles
        count = Signal(range(cycles + 1))
        ready = Signal()
        with m.If(~lock_seen):
            m.d.startup += [count.eq(0), ready.eq(0)]
        with m.Elif(count == cycles):
            m.d.startup += ready.eq(1)
        with m.Else():
            m.d.startup += count.eq(count + 1)
        m.d.comb += [self.clk_out.eq(clk_logic), self.rst_out.eq(~ready | self.rst_in)]
        return m

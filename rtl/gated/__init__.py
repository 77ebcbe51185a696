"""The gated engine: multiply-accumulate lanes, ports with rounding and tables, and a sequencer, programmed at run time."""

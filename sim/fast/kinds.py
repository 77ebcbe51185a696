"""Instructions of the virtual machine: the three-input functions, and counters with several outputs.

A counter's outputs are the binary number of ones among its inputs. It is built from full adders, and a full adder of inverted
inputs gives inverted outputs; so inputs that are all inverted only invert the outputs.
"""

from __future__ import annotations

import numpy as np

from .classes import ARITY_OF, CLASSES

FULL = len(CLASSES)
"""Three inputs, two outputs: the full adder."""

SEVEN = FULL + 1
"""Seven inputs, three outputs."""

COUNTERS = {3: FULL, 7: SEVEN}
"""Counter of so many inputs."""

INS = np.array([ARITY_OF[t] for t in CLASSES] + [3, 7], np.int64)
"""Inputs per instruction."""

OUTS = np.array([1] * len(CLASSES) + [2, 3], np.int64)
"""Outputs per instruction."""

#!/usr/bin/env python3
"""Writes what a board needs to learn the first images itself, and compares the weights that come back.

python examples/stdp_digits/export.py build/stdp              # stdp_digits.nloom, images.npy
python examples/stdp_digits/export.py build/stdp --check learnt.npz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from neuroloom.sim.spiking import Session

import neuroloom as nl
from examples.digits_logic import data
from examples.stdp_digits.learning import EPOCHS, presented
from examples.stdp_digits.network import SYNAPSES, encode, network


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=200, help="how many, in the order of training (default 200)")
    parser.add_argument("--check", type=Path, metavar="W.npz", help="compare with the simulator what 'readback' wrote")
    options = parser.parse_args()
    model = nl.compile(network(options.seed))
    if options.check:
        session = Session(model.graph)
        session.samples(np.load(options.folder / "images.npy"))
        wanted = session.state(f"{SYNAPSES}.weights")
        with np.load(options.check) as arrays:
            different = int((arrays[SYNAPSES] != wanted).sum())
        print(f"{different} of {len(wanted)} weights differ from the simulator's")
        return int(different > 0)
    shown = np.concatenate(presented(data.stratified_fifth().train_images, options.seed, EPOCHS))
    options.folder.mkdir(parents=True, exist_ok=True)
    model.save(options.folder / "stdp_digits.nloom")
    np.save(options.folder / "images.npy", encode(shown[: options.images]))
    print(f"wrote {options.folder}/stdp_digits.nloom and images.npy, {min(options.images, len(shown))} images")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

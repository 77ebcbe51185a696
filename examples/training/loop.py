"""The training loop: Adam, cosine decay, a soft phase and a hard phase, the best validation epoch kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from examples.training.network import LogicNetwork


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. ``hard_from`` is the fraction of epochs after which forward passes are Boolean."""

    epochs: int
    batch: int = 128
    rate: float = 0.02
    wiring_rate: float = 0.05
    threshold_rate: float = 0.02
    hard_from: float = 0.7
    final_rate: float = 0.02
    smoothing: float = 0.0


Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def fit(
    network: LogicNetwork,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray] | None,
    schedule: Schedule,
    *,
    seed: int,
    augment: Augment | None = None,
    report: Callable[[str], None] = print,
    every: int = 1,
    checkpoint: Callable[[LogicNetwork, int], None] | None = None,
) -> int:
    """Train in place and return the number of validation samples right in the epoch kept.

    The epoch kept is the one whose *Boolean* network is best on ``validation``, or the last one where that is None;
    ``checkpoint`` is called with every new best. Images are uint8 [N, F], labels int64 [N].
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    images, labels = train
    groups: dict[str, list[torch.nn.Parameter]] = {"table": [], "logits": [], "thresholds": []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[name.rsplit(".", 1)[-1]].append(parameter)
    rates = {"table": schedule.rate, "logits": schedule.wiring_rate, "thresholds": schedule.threshold_rate}
    optimiser = torch.optim.Adam([{"params": p, "lr": rates[n], "base": rates[n]} for n, p in groups.items() if p])
    steps = -(-len(images) // schedule.batch)
    total, step, best, kept = steps * schedule.epochs, 0, -1, None
    for epoch in range(schedule.epochs):
        started = time.perf_counter()
        network.train()
        network.set_hard(epoch >= schedule.hard_from * schedule.epochs)
        order, running = generator.permutation(len(images)), 0.0
        for start in range(0, len(images), schedule.batch):
            part = order[start : start + schedule.batch]
            x = images[part] if augment is None else augment(images[part], generator)
            decay = schedule.final_rate + (1 - schedule.final_rate) * 0.5 * (1 + np.cos(np.pi * step / total))
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * decay
            optimiser.zero_grad()
            loss = cross_entropy(
                network(torch.from_numpy(x.astype(np.float32))),
                torch.from_numpy(labels[part]),
                label_smoothing=schedule.smoothing,
            )
            loss.backward()
            optimiser.step()
            step += 1
            running += float(loss.detach()) * len(part)
        if (epoch + 1) % every and epoch + 1 < schedule.epochs:
            continue
        line = f"epoch {epoch + 1:3d}/{schedule.epochs}  loss {running / len(images):.4f}"
        if validation is not None:
            correct = network.hard_correct(*validation)
            line += f"  validation {correct}/{len(validation[1])} = {correct / len(validation[1]):.4f}"
            if correct >= best:
                best, kept = correct, copy.deepcopy(network.state_dict())
                if checkpoint is not None:
                    checkpoint(network, correct)
        report(f"{line}  {time.perf_counter() - started:.1f} s")
    if kept is not None:
        network.load_state_dict(kept)
    return best

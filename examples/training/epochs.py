"""The training loop of the examples with real-valued networks: shuffled batches, one cycle of the learning rate."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


def run_epochs(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[np.ndarray, int], Tensor],
    *,
    samples: int,
    batch: int,
    epochs: int,
    peak: float,
    generator: np.random.Generator,
    prepare: Callable[[], None] = lambda: None,
    clip: float | None = None,
    every: int = 20,
    note: Callable[[], str] = str,
) -> None:
    """Train in place; the learning rate rises to ``peak`` and falls again over all steps.

    ``loss_of(rows, epoch)`` is the mean loss of the samples with these numbers, ``prepare`` is called before every epoch (new
    augmentations), ``clip`` limits the gradients' norm, and every ``every`` epochs a line with ``note()`` is printed.
    """
    batches = -(-samples // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=epochs * batches)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        prepare()
        for rows in np.array_split(generator.permutation(samples), batches):
            loss = loss_of(rows, epoch)
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        if (epoch + 1) % every == 0 or epoch == 0:
            seconds = time.perf_counter() - started
            print(f"epoch {epoch + 1:3d}/{epochs}  loss {total / samples:.4f}  {note()}{seconds:.2f} s", flush=True)

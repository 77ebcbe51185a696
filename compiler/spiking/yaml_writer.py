"""A network as YAML or JSON: what ``yaml_form`` reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from neuroloom.compiler.errors import InputError

from .input_encoding import RECORD, Encoding
from .network import Network

INLINE = 64
"""Arrays up to this many numbers stand in the file itself."""


def save_network(network: Network, path: str | os.PathLike[str]) -> None:
    """Write ``network`` to a ``.yaml``, ``.yml`` or ``.json`` file; arrays of more than 64 numbers go to an ``.npz``
    of the same name.

    What is read back equals the network, apart from ``records``. Raises InputError for another ending.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise InputError(f"network file must end in .yaml, .yml or .json, not {path.name!r}")
    arrays: dict[str, np.ndarray] = {}
    data = write_network(network, arrays)
    if arrays:
        data["arrays"] = path.with_suffix(".npz").name
        np.savez_compressed(path.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    text = json.dumps(data, indent=1) if path.suffix == ".json" else yaml.safe_dump(data, sort_keys=False, width=110)
    path.write_text(text + "\n" * (path.suffix == ".json"), encoding="utf-8")


def write_network(network: Network, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The network as plain data; large arrays are added to ``arrays`` under names of their own."""

    def plain(place: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype == bool:
                value = value.astype(np.int8)
            if value.size > INLINE:
                arrays[place] = value
                return {"array": place}
            return value.tolist()
        if isinstance(value, np.generic):
            return value.item()
        return list(value) if isinstance(value, tuple) else value

    def uniform(place: str, value: np.ndarray) -> Any:
        """One number when all agree."""
        if value.size and (value == value[0]).all():
            return value[0].item()
        return plain(place, value)

    out: dict[str, Any] = {"network": network.name, "dt": network.dt, "seed": network.seed}
    out |= {"weight_bits": network.weight_bits, "state_bits": network.state_bits}
    out["inputs"] = {
        i.name: {k: plain(k, v) for k, v in i.given().items() if k != "name"} for i in network.inputs.values()
    }
    for record in network.records.get(RECORD, []):
        made = Encoding.from_record(record)
        options = dict(made.options) | {"shape": list(made.shape)}
        options |= {"samples": made.source} if made.source != made.input else {}
        options |= {} if made.matrix is None else {"matrix": plain(f"{made.input}.matrix", made.matrix)}
        out["inputs"][made.input]["encode"] = {made.kind: options}
    out["populations"] = {}
    for p in network.populations.values():
        model = {k: plain(f"{p.name}.{k}", v) for k, v in p.model.given().items()}
        rest = {k: plain(k, v) for k, v in p.given().items() if k not in ("name", "size", "model")}
        out["populations"][p.name] = {"size": p.size, "model": type(p.model).__name__, **model, **rest}
    out["projections"] = []
    for q in network.projections.values():
        lists = {k: plain(f"{q.name}.{k}", getattr(q, k)) for k in ("pre", "post")}
        item = {"name": q.name, "from": q.source, "to": q.target, **lists}
        item |= {"weights": uniform(f"{q.name}.weights", q.weight), "delay": uniform(f"{q.name}.delay", q.delay)}
        if q.plasticity is not None:
            rule = {k: plain(f"{q.name}.{k}", v) for k, v in q.plasticity.given().items()}
            item["plasticity"] = {type(q.plasticity).__name__: rule}
        item |= {k: getattr(q, k) for k in ("weight_bits", "origin") if getattr(q, k)}
        out["projections"].append(item)
    if network.decision:
        d = network.decision
        out["decision"] = {"population": d.population}
        out["decision"] |= {"margin": d.margin} if d.mode == "margin" else {"table": list(d.table), "limit": d.limit}
    return out

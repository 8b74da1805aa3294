"""Trained fields as groups of a results.h5, and back, ready to be sampled.

`model/NETWORK` holds every parameter under its dotted name, with "/" for the dots. The group of a tensor
layer says how its cores make a weight: `format`, `modes_out`, `modes_in`, `ranks`, of trains and rings
`ring`, see `dsmsim.tensor.storage`. Cores of trains and rings have the axes (r_left, out, in, r_right).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import StoreError
from dsmsim.networks import Fields, build_fields
from dsmsim.store import StoredResults, stored_config
from dsmsim.system import build_initial, build_system
from dsmsim.tensor import TensorLinear
from dsmsim.tensor.storage import cores_to_arrays
from dsmsim.training.marching import stored_fields
from dsmsim.training.ranks import adopt_cores

PERMUTATIONS = ("permute_in", "permute_out")
Groups = dict[str, dict[str, Any]]

# what results say they were made by
TRAINED = {"trajectories": "dsm", "gaussian": "gaussian_sampling"}
MARCHED = "dsm, marched in time"
MODEL_OF_MARCH = "model/march"
POLISHED = "dsm, marched and trained"


def model_groups(fields: Fields) -> tuple[Groups, Groups]:
    """Arrays and attributes of the groups `model/...` of a results.h5."""
    results: Groups = {}
    attributes: Groups = {}
    for name, network in fields.networks().items():
        group = f"model/{name}"
        named: dict[str, Tensor] = dict(network.named_parameters())
        attributes[group] = {"parameters": sum(values.numel() for values in named.values())}
        for path, layer in network.named_modules():
            if not isinstance(layer, TensorLinear):
                continue
            arrays, about = cores_to_arrays(layer)
            attributes[f"{group}/{path.replace('.', '/')}"] = about | {"ranks": list(layer.ranks)}
            named |= {f"{path}.{key}": arrays[key] for key in PERMUTATIONS if key in arrays}
        results[group] = {
            key.replace(".", "/"): values.detach().cpu().numpy() for key, values in named.items()
        }
    return results, attributes


def holds_fields(stored: StoredResults) -> bool:
    """Whether these are results of deep stochastic mechanics, and not those of another method."""
    method = stored.attributes.get("observables", {}).get("method")
    return method in (*TRAINED.values(), MARCHED, POLISHED) and any(
        name == "march" or name.startswith("model/") for name in stored.results
    )


def trained_fields(stored: StoredResults) -> tuple[Config, Fields]:
    """The input of a run and the fields that it found; tensor layers have the ranks of the file.

    Raises:
        StoreError: the file holds no fields, or others than its own input describes.
    """
    config, found = stored_config(stored.attributes), stored.results
    networks = any(name.startswith("model/") and name != MODEL_OF_MARCH for name in found)
    if config is None or not (networks or "march" in found):
        raise StoreError("the results hold no networks: a baseline wrote them, not `dsmsim run`")
    if not networks:
        return config, stored_fields(config, found["march"], found.get(MODEL_OF_MARCH, {}))
    fields = build_fields(config, build_system(config), build_initial(config))
    with torch.no_grad():
        for name, network in fields.networks().items():
            held = stored.results.get(f"model/{name}", {})
            arrays = {key.replace("/", "."): values for key, values in held.items()}
            adopt_cores(network, arrays)
            for key, parameter in network.named_parameters():
                values = arrays.get(key)
                if values is None or values.shape != tuple(parameter.shape):
                    raise StoreError(f"model/{name} of the results holds no {key} of the input's shape")
                parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype))
            for path, layer in network.named_modules():
                if isinstance(layer, TensorLinear):
                    for key in PERMUTATIONS:
                        order = arrays.get(f"{path}.{key}")
                        setattr(layer, key, None if order is None else torch.as_tensor(order))
    return config, fields

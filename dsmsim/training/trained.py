"""Trained fields back from a results.h5, ready to be sampled."""

from __future__ import annotations

import torch

from dsmsim.config import Config
from dsmsim.errors import StoreError
from dsmsim.networks import Fields, build_fields
from dsmsim.store import StoredResults, stored_config
from dsmsim.system import build_initial, build_system
from dsmsim.training.ranks import adopt_cores


def trained_fields(stored: StoredResults) -> tuple[Config, Fields]:
    """The input and the trained fields of a run.

    Raises:
        StoreError: the file holds no networks, or others than its own input describes.
    """
    config = stored_config(stored.attributes)
    if config is None or not any(name.startswith("model/") for name in stored.results):
        raise StoreError("the results hold no networks: a baseline wrote them, not `dsmsim run`")
    fields = build_fields(config, build_system(config), build_initial(config))
    with torch.no_grad():
        for name, network in fields.networks().items():
            arrays = stored.results.get(f"model/{name}", {})
            adopt_cores(network, {key.replace("/", "."): values for key, values in arrays.items()})
            for key, parameter in network.named_parameters():
                values = arrays.get(key.replace(".", "/"))
                if values is None or values.shape != tuple(parameter.shape):
                    raise StoreError(f"model/{name} of the results holds no {key} of the input's shape")
                parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype))
    return config, fields

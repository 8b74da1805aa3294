"""Tensor layers as named arrays and plain attributes, for any file format.

A TT or ring core is the array "core_K", K = 0 .. d - 1, with the axes (r_left, out, in, r_right), which is
what torchTT takes for a TT matrix and, with the two middle axes merged, what tntorch and tensorly take for a
TT or ring tensor. The factors of other formats are "core_K" in the order of `layer.cores`.

Attributes: `format`; `modes_out`, `modes_in`; of trains and rings `ranks` (r_0 .. r_d) and `ring` (whether
r_0 = r_d may exceed 1). Permutations y = W x[permute_in] and then y[permute_out] are arrays, as a file's
attributes are often limited to 64 KiB; so is the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dsmsim.tensor.layer import TensorLinear
from dsmsim.tensor_shapes import FORMATS

Attributes = dict[str, str | bool | list[int]]


def cores_to_arrays(layer: TensorLinear) -> tuple[dict[str, Tensor], Attributes]:
    """Arrays, detached and on the CPU, and attributes of a layer, see the module's docstring."""
    arrays = {f"core_{k}": core for k, core in enumerate(layer.cores)}
    others = {"permute_in": layer.permute_in, "permute_out": layer.permute_out, "bias": layer.bias}
    arrays |= {name: values for name, values in others.items() if values is not None}
    attributes: Attributes = {
        "format": layer.format,
        "modes_out": list(layer.modes_out),
        "modes_in": list(layer.modes_in),
    }
    if layer.format in ("tt", "tr"):
        attributes |= {"ranks": list(layer.ranks), "ring": layer.format == "tr"}
    return {name: values.detach().cpu() for name, values in arrays.items()}, attributes


def cores_from_arrays(arrays: Mapping[str, Tensor], attributes: Mapping[str, Any]) -> list[Tensor]:
    """The cores of a layer from what `cores_to_arrays` gave; `layer.set_cores` takes them.

    Raises:
        ValueError: an unknown format, no cores, or cores of a TT or ring whose shapes are not those that the
            attributes say.
    """
    format = str(attributes["format"])
    if format not in FORMATS:
        raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")
    count = sum(name.startswith("core_") for name in arrays)
    if not count or any(f"core_{k}" not in arrays for k in range(count)):
        raise ValueError(f"cores must be named core_0, core_1 and so on, without a gap, not {sorted(arrays)}")
    cores = [arrays[f"core_{k}"] for k in range(count)]
    modes_out, modes_in = ([int(size) for size in attributes[name]] for name in ("modes_out", "modes_in"))
    if format in ("tt", "tr"):
        ranks = [int(rank) for rank in attributes["ranks"]]
        shapes = list(zip(ranks[:-1], modes_out, modes_in, ranks[1:], strict=True))
        found = [tuple(core.shape) for core in cores]
        if found != shapes:
            raise ValueError(f"cores of shapes {found} are not the {shapes} that the attributes say")
        if bool(attributes["ring"]) != (format == "tr") or (format == "tt" and ranks[0] * ranks[-1] != 1):
            raise ValueError(f"ranks {ranks} and ring = {attributes['ring']} do not fit format {format!r}")
    return cores

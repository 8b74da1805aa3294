"""results.xdmf: a page of XML beside results.h5 by which ParaView and VisIt read its arrays in place.

Two kinds of pictures are described, found by the dimensions that the catalogue gives:

- functions of time and of one coordinate, such as density(time, x), as surfaces over the plane (x, time);
- functions of time and of two coordinates, such as pair_density(time, x, x_prime), and the positions of
  samples in two and three dimensions, as series in time.

The XML names arrays of results.h5 ("results.h5:/density/density") and holds no numbers but the times, so the
two files are moved together. XDMF: https://www.xdmf.org/index.php/XDMF_Model_and_Format
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsmsim.store import schema
from dsmsim.store.files import write_atomically

Arrays = Mapping[str, NDArray[Any]]


def xdmf_file(results: Path) -> Path:
    """The place of the XDMF file of a results file: results.xdmf beside results.h5."""
    return results.with_suffix(".xdmf")


def write_xdmf(path: Path, results: Mapping[str, Mapping[str, ArrayLike]]) -> None:
    """Write the XDMF file of a results file; nothing where it holds nothing that ParaView could draw.

    Args:
        path: the results file.
        results: what it holds, arrays by group and name.

    Raises:
        StoreError: the file cannot be written.
    """
    text = xdmf_text(path.name, results)
    if text is not None:
        write_atomically(xdmf_file(path), text.encode())


def xdmf_text(name: str, results: Mapping[str, Mapping[str, ArrayLike]]) -> str | None:
    """The XML for a results file of this name, or None if there is nothing to draw."""
    root = ElementTree.Element("Xdmf", Version="2.0")
    domain = ElementTree.SubElement(root, "Domain")
    for group, given in results.items():
        if not schema.is_model(group) and "time" in given:
            arrays = {key: np.asarray(values) for key, values in given.items()}
            domain.extend(_Group(f"{name}:/{group}", group, arrays).grids())
    if not len(domain):
        return None
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


class _Group:
    """One group of the file as grids.

    Args:
        place: of the group as XDMF writes it, FILE:/GROUP.
        group, arrays: its name and its arrays, time among them.
    """

    def __init__(self, place: str, group: str, arrays: Arrays) -> None:
        self.place, self.group, self.arrays = place, group, arrays
        self.dims = {name: schema.variable(group, name).dims for name in arrays}

    def grids(self) -> Iterator[ElementTree.Element]:
        """The grids for every set of dimensions that can be drawn."""
        for dims in dict.fromkeys(self.dims.values()):
            if dims[:1] == ("time",) and 2 <= len(dims) <= 3 and all(map(self._is_coordinate, dims)):
                yield self._surface(dims) if len(dims) == 2 else self._series(dims)
        position = self.arrays.get("position")
        if position is not None and self.dims["position"][-1] == "axis" and position.shape[-1] in (2, 3):
            yield self._series(self.dims["position"])

    def _is_coordinate(self, dim: str) -> bool:
        return dim in self.arrays and self.arrays[dim].dtype.kind == "f"

    def _of(self, dims: tuple[str, ...]) -> list[str]:
        return [name for name, own in self.dims.items() if own == dims and name not in (*dims, "position")]

    def _surface(self, dims: tuple[str, ...]) -> ElementTree.Element:
        """All functions of time and one coordinate on one rectangle, time upwards."""
        time, across = dims
        grid = _element("Grid", Name=f"{self.group} over {across} and time", GridType="Uniform")
        sizes = self.arrays[time].size, self.arrays[across].size
        self._rectangle(grid, across, time)
        for name in self._of(dims):
            _attribute(grid, name, "Scalar").append(self._array(name, sizes))
        return grid

    def _series(self, dims: tuple[str, ...]) -> ElementTree.Element:
        """All functions of time and two coordinates, or all samples, as one grid for each time."""
        clouds = dims[-1] == "axis"
        what = "samples" if clouds else f"over {' and '.join(dims[1:])}"
        series = _element(
            "Grid", Name=f"{self.group} {what}", GridType="Collection", CollectionType="Temporal"
        )
        for index, time in enumerate(self.arrays["time"]):
            grid = _element("Grid", series, Name=f"{self.group} {what}, {index}", GridType="Uniform")
            _element("Time", grid, Value=repr(float(time)))
            if clouds:
                self._points(grid, index)
            else:
                self._rectangle(grid, dims[2], dims[1])
            for name in self._of(dims):
                kind = "Vector" if clouds else "Scalar"
                _attribute(grid, name, kind).append(self._at(name, index))
        return series

    def _rectangle(self, grid: ElementTree.Element, right: str, up: str) -> None:
        """The plane of two coordinates; XDMF lists the fastest index last in the topology, first here."""
        sizes = f"{self.arrays[up].size} {self.arrays[right].size}"
        _element("Topology", grid, TopologyType="2DRectMesh", Dimensions=sizes)
        geometry = _element("Geometry", grid, GeometryType="VXVY")
        for name in (right, up):
            geometry.append(self._array(name, self.arrays[name].shape))

    def _points(self, grid: ElementTree.Element, index: int) -> None:
        """The positions at one time as loose points."""
        *_, axes = shape = self.arrays["position"].shape[1:]
        count = str(int(np.prod(shape)) // axes)
        _element("Topology", grid, TopologyType="Polyvertex", NumberOfElements=count)
        _element("Geometry", grid, GeometryType="XYZ"[:axes]).append(self._at("position", index))

    def _array(self, name: str, shape: tuple[int, ...]) -> ElementTree.Element:
        """A whole array of the file."""
        dtype = self.arrays[name].dtype
        item = _element(
            "DataItem",
            Format="HDF",
            NumberType="Float" if dtype.kind == "f" else "Int",
            Precision=str(dtype.itemsize),
            Dimensions=" ".join(map(str, shape)),
        )
        item.text = f"{self.place}/{name}"
        return item

    def _at(self, name: str, index: int) -> ElementTree.Element:
        """What an array of the file holds at one of its times; of samples (points, axes)."""
        shape = self.arrays[name].shape
        kept = shape[1:] if len(shape) < 4 else (int(np.prod(shape[1:-1])), shape[-1])
        slab = _element("DataItem", ItemType="HyperSlab", Dimensions=" ".join(map(str, kept)))
        start, stride, count = [index] + [0] * (len(shape) - 1), [1] * len(shape), [1, *shape[1:]]
        corner = _element("DataItem", slab, Dimensions=f"3 {len(shape)}", Format="XML")
        corner.text = "  ".join(" ".join(map(str, row)) for row in (start, stride, count))
        slab.append(self._array(name, shape))
        return slab


def _element(tag: str, parent: ElementTree.Element | None = None, **attributes: str) -> ElementTree.Element:
    element = ElementTree.Element(tag, attributes)
    if parent is not None:
        parent.append(element)
    return element


def _attribute(grid: ElementTree.Element, name: str, kind: str) -> ElementTree.Element:
    return _element("Attribute", grid, Name=name, AttributeType=kind, Center="Node")

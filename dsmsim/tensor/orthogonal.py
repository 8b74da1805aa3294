"""Orthogonal tensor-train layers: all cores but the last are isometries, so that no gradient can blow up.

    W = U_1 U_2 .. U_{d-1} G_d,      sum_{r,o,i} U_k[r, o, i, a] U_k[r, o, i, b] = delta_ab

Every train can be written so (the left canonical form); the last core carries the scale, |G_d|_F = |W|_F, and
is trained freely. What lies left of a core is then an isometry and what lies right of it has the norm of W:

    |dL/dU_k|_F <= |dL/dW|_F |W|_F,      |dL/dG_d|_F <= |dL/dW|_F

whatever the number of cores. The U_k have a gauge: of a change D_k of U_k only the part with U_k^T D_k = 0
leaves the isometries' span, and those D_k, with any D_d, are the tangent space of the trains of these ranks
(Holtz, Rohwedder and Schneider, Numer. Math. 120, 701 (2012); Lubich, Oseledets and Vandereycken, SIAM J.
Numer. Anal. 53, 917 (2015)).

Two ways to train. `keep_orthogonal` leaves the layer as it is, projects its gradients to the tangent space
before a step of any optimiser, and the step itself after it, and goes back to isometries by QR:

    D_k <- (1 - U_k U_k^T) D_k,      U_k + D_k = U_k' R,      R = 1 + O(D^2) is dropped

so that W moves by the tangent step up to O(D^2), and |W|_F by the steps of the last core alone (a weight
decay, too, acts on that core alone). `orthogonalise_layer` puts a QR into the graph instead
(`torch.nn.utils.parametrize`), so that the cores are isometries for any use. The first is cheaper and keeps
the names of the parameters. Under `torch.func` both work with `functional_call`, `grad`, `jvp` and `vmap`;
functions whose names end in an underscore change parameters in place and are for no transform. Rings have no
such form.

Shapes: a core is (r_{k-1}, o_k, i_k, r_k), as a matrix (r_{k-1} o_k i_k, r_k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from dsmsim.tensor.canonical import left_isometry, orthogonalise, positive_qr
from dsmsim.tensor.tt_linear import TTLinear

Metric = Literal["cores", "weight"]
NEARLY = 1e-3  # an isometry, as far as a core is asked to be one


@torch.no_grad()
def make_orthogonal_(layer: TTLinear) -> None:
    """Bring the cores of a layer to the left canonical form, in place; W stays the same.

    Raises:
        ValueError: a ring, or ranks that isometries cannot have.
    """
    cores = [core.detach() for core in layer.cores]
    found = orthogonalise(cores, len(cores) - 1)
    if [core.shape for core in found] != [core.shape for core in cores]:
        raise ValueError(
            f"ranks {layer.ranks} are more than isometries can have: round the cores first, "
            f"to {[1, *(core.shape[-1] for core in found)]}"
        )
    layer.set_cores(found)


@torch.no_grad()
def retract_(layer: TTLinear, before: Sequence[Tensor]) -> None:
    """Make isometries again after a step, in place, see the module's docstring.

    Args:
        layer: after the step.
        before: its cores, isometries but for the last, before the step.
    """
    for core, old in zip(layer.cores[:-1], before[:-1], strict=True):
        isometry = old.flatten(0, 2)
        step = (core - old).flatten(0, 2)
        moved, _ = positive_qr(isometry + step - isometry @ (isometry.T @ step))
        core.copy_(moved.reshape(core.shape))


@torch.no_grad()
def project_gradients_(layer: TTLinear, metric: Metric = "cores", damping: float = 1e-6) -> None:
    """Project the gradients of a layer with isometric cores to the tangent space, in place.

    Args:
        layer: after `make_orthogonal_`; cores without a gradient are left out.
        metric: "cores" for the projection alone. "weight" for the steepest descent as W sees it, the
            Riemannian gradient: a small step along it moves W by the orthogonal projection of dL/dW to the
            tangent space, as the gradients are divided by the Gram matrix of what lies right of the bond.
        damping: of this division, relative to the mean eigenvalue.
    """
    cores = [core.detach() for core in layer.cores]
    right = cores[0].new_ones(1, 1)
    for k in range(len(cores) - 1, -1, -1):
        grad = layer.cores[k].grad
        if k < len(cores) - 1 and grad is not None:
            matrix, isometry = grad.flatten(0, 2), cores[k].flatten(0, 2)
            matrix = matrix - isometry @ (isometry.T @ matrix)
            if metric == "weight":
                unit = torch.eye(len(right), dtype=right.dtype, device=right.device)
                matrix = torch.linalg.solve(right + damping * right.trace() / len(right) * unit, matrix.T).T
            grad.copy_(matrix.reshape(grad.shape))
        half = torch.tensordot(cores[k], right, dims=1)
        right = torch.tensordot(half, cores[k], dims=([1, 2, 3], [1, 2, 3]))


def keep_orthogonal(
    module: nn.Module, optimizer: torch.optim.Optimizer, metric: Metric = "cores"
) -> list[RemovableHandle]:
    """Project and retract around every step of an optimiser, in all TT layers of a module (rings excepted).

    Layers whose ranks change later need to be made orthogonal again by `make_orthogonal_`.

    Returns:
        The two hooks, to be removed when it shall end.
    """
    layers = [own for own in module.modules() if isinstance(own, TTLinear) and own.cores[0].shape[0] == 1]
    kept: list[list[Tensor]] = []
    for layer in layers:
        make_orthogonal_(layer)

    def before(*_: Any) -> None:
        kept[:] = [[core.detach().clone() for core in layer.cores] for layer in layers]
        for layer in layers:
            project_gradients_(layer, metric)

    def after(*_: Any) -> None:
        for layer, cores in zip(layers, kept, strict=True):
            retract_(layer, cores)

    return [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]


class Isometry(nn.Module):
    """The parametrisation of a core as the isometry of its QR, with a positive diagonal of R."""

    def forward(self, core: Tensor) -> Tensor:
        return left_isometry(core)[0]

    def right_inverse(self, core: Tensor) -> Tensor:
        """A core for which an isometry is taken is this isometry.

        Raises:
            ValueError: it is not an isometry.
        """
        matrix = core.detach().flatten(0, 2)
        unit = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        if not bool((matrix.T @ matrix - unit).abs().max() < NEARLY):
            raise ValueError(
                "an orthogonal layer takes cores of the left canonical form, orthogonalise(cores, d - 1)"
            )
        return core


def orthogonalise_layer(layer: TTLinear) -> TTLinear:
    """Give a layer, in place, cores that are always isometries but for the last; W stays the same.

    `layer.cores` shows the isometries; what is trained is `cores.parametrizations.K.original`, at the start
    the same numbers. With R = 1 there the gradient of the original is at most 2^(1/2) times that of the
    isometry. `layer.set_cores` takes left canonical cores only, as `canonical.rounded` gives them.

    Raises:
        ValueError: a ring, or ranks that isometries cannot have.
    """
    make_orthogonal_(layer)
    for k in range(len(layer.cores) - 1):
        parametrize.register_parametrization(layer.cores, str(k), Isometry())
    return layer

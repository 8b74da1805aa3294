"""How to compress trained networks: every way at equal numbers of parameters, as the tables of the docs.

    OMP_NUM_THREADS=1 python tools/compression_study.py [--cases mlp-2 mlp-5 potential-2] [--ratios 2 4 8]

Trains dense networks on interacting bosons (from inputs/, kept in --keep for the next call), compresses their
hidden layers by each method to 1/2, 1/4, 1/8 of their weights, evaluates, trains on for a while, and
evaluates again. About 15 minutes of one core for mlp-2, 50 for mlp-5, 15 for potential-2.

Columns: numbers in the whole network; relative L2 distance of u and v to those of the dense network, along
its trajectories; largest relative error of Var x_1 and largest L1 error of the one-body density over time
against the exact solution in tests/data; the last three again after training on.
"""

from __future__ import annotations

import argparse
import copy
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dsmsim.config import Config, load_config, parse_config
from dsmsim.networks import Fields, build_fields
from dsmsim.parallel import StopRequest, World
from dsmsim.system import build_initial, build_system
from dsmsim.tensor import TensorLinear
from dsmsim.tensor.decompose import decompose
from dsmsim.tensor.fit import SWAPS
from dsmsim.tensor_shapes import balanced_modes
from dsmsim.training.batch import block_count, training_points
from dsmsim.training.compress import Recipe, compressed, finetuned, tensor_layers, with_tensor
from dsmsim.training.evaluate import evaluate
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, new_state

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from exact_bosons import errors_of  # noqa: E402

SAMPLES = 4096
FIT_BATCHES = 8  # of training points, to which layers are fitted; distances are measured on another one
PENALTY = 10.0  # singular values lose this many times their mean in the course of the training with low bonds
WORDS = {2: "two", 5: "five"}


@dataclass(frozen=True)
class Case:
    """A network and how it is trained: epochs of the dense network, and epochs of training on."""

    kind: str
    particles: int
    width: int
    epochs: int
    further: int


CASES = {
    "mlp-2": Case("mlp", 2, 64, 1000, 200),
    "mlp-5": Case("mlp", 5, 64, 1000, 200),
    "potential-2": Case("potential", 2, 32, 120, 30),
    "potential-5": Case("potential", 5, 32, 120, 30),
}


def config_of(case: Case, width: int | None = None, epochs: int | None = None) -> Config:
    """The input of a case."""
    data = load_config(ROOT / "inputs" / f"{WORDS[case.particles]}_bosons.toml").to_dict()
    if case.kind == "mlp":
        data["train"] = {}
    data["network"] = {"kind": case.kind, "width": width or case.width}
    data["train"]["epochs"] = epochs or case.epochs
    data["time"]["save"] = 21
    data["evaluation"] |= {"samples": SAMPLES, "trials": 1}
    data["run"] = {"device": "cpu"}
    return parse_config(data, environment=False)


def state_of(config: Config, fields: Fields) -> TrainState:
    """A fresh training state around trained fields."""
    from dsmsim.training.build import build_optimizer

    state = new_state(config, World())
    state.fields = copy.deepcopy(fields)
    state.optimizer = build_optimizer(config, state.fields, state.system)
    return state


def trained(config: Config, fields: Fields, after: Callable[[Fields], None] = lambda fields: None) -> Fields:
    """Train; `after` is called after every epoch."""
    state = state_of(config, fields)
    hooks = Hooks(lambda entry: None, lambda epoch, loss: after(state.fields), lambda: None)
    train(config, state, World(), StopRequest(None), hooks)
    return state.fields


def fresh(config: Config) -> Fields:
    """Fields at their start."""
    return build_fields(config, build_system(config), build_initial(config))


def physics(config: Config, fields: Fields) -> tuple[float, float]:
    """Largest errors of Var x_1 and of the density; infinite where the process runs away."""
    from dsmsim.errors import DivergedError

    try:
        found = evaluate(config, state_of(config, fields), World(), lambda done, total: None).sums
        groups = {"observables": found.observables(), "density": found.density()}
        errors = errors_of(groups, config.system.particles)
    except DivergedError:
        return float("inf"), float("inf")
    return errors.variance, errors.density


class Shifted(nn.Module):
    """W = W_0 + V with V a TT matrix and W_0 fixed."""

    base: Tensor

    def __init__(self, base: Tensor, layer: TensorLinear) -> None:
        super().__init__()
        self.register_buffer("base", base)
        self.layer = layer
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias

    @property
    def weight(self) -> Tensor:
        """W."""
        return self.base + self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        """Apply."""
        return nn.functional.linear(x, self.weight, self.bias)


def from_the_start(config: Config, dense: Fields, rank: int) -> tuple[Config, Fields]:
    """TT of what training added to the initial weights, which the seed makes again."""
    start = fresh(config)
    changed = with_tensor(config, {"format": "tt", "rank": rank})
    fields = fresh(changed)
    old = dict(dense.named_parameters())
    with torch.no_grad():
        for name, parameter in fields.named_parameters():
            if name in old:
                parameter.copy_(old[name])
        for name, layer in tensor_layers(fields).items():
            base = start.get_parameter(f"{name}.weight").detach().clone()
            added = old[f"{name}.weight"].detach() - base
            layer.set_cores(decompose("tt", added, layer.modes_out, layer.modes_in, rank=rank))
            parent, _, own = name.rpartition(".")
            setattr(fields.get_submodule(parent), own, Shifted(base, layer))
    return changed, fields


def low_bonds(strength: float, width: int, total: int) -> Callable[[Fields], None]:
    """Soft-threshold the singular values of the TT unfolding of hidden weights (proximal nuclear norm)."""
    out, into = balanced_modes(width)
    done = 0

    @torch.no_grad()
    def shrink(fields: Fields) -> None:
        nonlocal done
        done += 1
        rate = strength * min(1.0, 2.0 * (1.0 - done / total))  # fades over the second half
        for layer in fields.modules():
            if isinstance(layer, nn.Linear) and layer.weight.shape == (width, width):
                cut = layer.weight.reshape(out, into, out, into).permute(0, 2, 1, 3)
                left, values, right = torch.linalg.svd(
                    cut.reshape(out * out, into * into), full_matrices=False
                )
                values = (values - rate * values.mean()).clamp_min(0.0)
                back = ((left * values) @ right).reshape(out, out, into, into).permute(0, 2, 1, 3)
                layer.weight.copy_(back.reshape(width, width))

    return shrink


def narrow_width(case: Case, numbers: int) -> int:
    """Width of the dense network that comes closest to so many numbers."""

    def size(width: int) -> int:
        return sum(p.numel() for p in fresh(config_of(case, width)).parameters())

    return min(range(4, case.width + 1), key=lambda width: abs(size(width) - numbers))


def kept(file: Path, config: Config, make: Callable[[], Fields]) -> Fields:
    """Fields from a file, or made and put there."""
    fields = fresh(config)
    if file.is_file():
        fields.load_state_dict(torch.load(file, weights_only=True))
        return fields
    fields = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(fields.state_dict(), file)
    return fields


METHODS: dict[str, Recipe] = {
    "matrix SVD of W": Recipe("lowrank", fit="weights"),
    "TT-SVD of W": Recipe("tt", fit="weights"),
    "TT-SVD of W, units reordered": Recipe("tt", fit="weights", swaps=SWAPS),
    "matrix SVD, fitted to inputs": Recipe("lowrank"),
    "TT, fitted to inputs": Recipe("tt"),
    "TT, fitted to inputs, units reordered": Recipe("tt", swaps=SWAPS),
}


def ways(
    case: Case, config: Config, dense: Fields, x: Tensor, t: Tensor, rank: int, keep: Path
) -> Iterator[tuple[str, Config, Fields]]:
    """Every method's compressed fields."""
    for name, recipe in METHODS.items():
        own = Recipe(recipe.format, rank, fit=recipe.fit, swaps=recipe.swaps)
        made = compressed(config, dense, x, t, own)
        yield name, made.config, made.fields
    if case.kind != "mlp":  # Gauss-Newton takes no fixed part, and 120 epochs are too few for the penalty
        return
    yield ("TT-SVD of W - W_init (W_init kept)", *from_the_start(config, dense, rank))
    penalised = kept(
        keep / f"{case.kind}{case.particles}-penalty.pt",
        config,
        lambda: trained(config, fresh(config), low_bonds(PENALTY / case.epochs, case.width, case.epochs)),
    )
    for fit in ("weights", "data"):
        made = compressed(config, penalised, x, t, Recipe("tt", rank, fit=fit))
        yield f"low-bond training, then TT by {fit}", made.config, made.fields


def row(cells: list[object]) -> None:
    """Print one line of a table."""
    shown = [f"{cell:.2g}" if isinstance(cell, float) else str(cell) for cell in cells]
    print(f"| {' | '.join(shown)} |", flush=True)


def study(name: str, ratios: list[int], keep: Path) -> None:
    """The table of one case."""
    case = CASES[name]
    config = config_of(case)
    dense = kept(keep / f"{case.kind}{case.particles}.pt", config, lambda: trained(config, fresh(config)))
    state = state_of(config, dense)
    blocks = list(range(block_count(config)))
    held, *batches = [
        training_points(config, state.system, state.initial, dense, 10**6 + k, blocks)
        for k in range(1 + FIT_BATCHES)
    ]
    x, t = torch.cat([batch.x for batch in batches]), torch.cat([batch.t for batch in batches])
    true = [field.detach() for field in dense(held.x, held.t)]

    def distance(fields: Fields) -> list[object]:
        pairs = zip(fields(held.x, held.t), true, strict=True)
        return [float((found.detach() - own).norm() / own.norm()) for found, own in pairs]

    numbers = sum(p.numel() for p in dense.parameters())
    print(f"\n{name}: {case.kind}, {case.particles} bosons, width {case.width}, {case.epochs} epochs\n")
    row(["method", "numbers", "u", "v", "Var x_1", "density", "u, on", "v, on", "Var x_1, on", "density, on"])
    row(["---"] * 10)
    row(["dense", numbers, 0.0, 0.0, *physics(config, dense)])
    for ratio in ratios:
        rank = case.width // (2 * ratio)
        sizes = []
        for method, changed, fields in ways(case, config, dense, x, t, rank, keep):
            sizes.append(sum(p.numel() for p in fields.parameters()))
            before = [*distance(fields), *physics(changed, fields)]
            on = trained(finetuned(changed, case.further), fields)
            after = [*distance(on), *physics(changed, on)]
            row([f"1/{ratio} {method}", sizes[-1], *before, *after])
        width = narrow_width(case, sizes[1])
        thin = config_of(case, width, case.epochs + case.further)
        file = keep / f"{case.kind}{case.particles}-{width}.pt"
        fields = kept(file, thin, functools.partial(trained, thin, fresh(thin)))
        size = sum(p.numel() for p in fields.parameters())
        row(
            [f"1/{ratio} narrow dense, width {width}", size]
            + [""] * 4
            + [*distance(fields), *physics(thin, fields)]
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["mlp-2", "mlp-5", "potential-2"])
    parser.add_argument("--ratios", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--keep", type=Path, default=Path("compression_study"), help="trained networks")
    args = parser.parse_args()
    for name in args.cases:
        study(name, args.ratios, args.keep)


if __name__ == "__main__":
    main()

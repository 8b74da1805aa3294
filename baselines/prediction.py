"""What a solver would cost, known before it starts; what does not fit is refused."""

from __future__ import annotations

from dataclasses import dataclass

from dsmsim.config import Config, shown_size
from dsmsim.errors import ConfigError


@dataclass(frozen=True)
class Prediction:
    """The cost of one solution.

    Attributes:
        method: name of the method and its variant, e.g. "crank_nicolson, space order 4".
        points: size of the state in words, e.g. "96^3 = 884,736 grid points".
        memory: bytes at the peak.
        seconds: rough, on one core; None where nobody can tell.
        notes: what else a user should know, each a sentence.
    """

    method: str
    points: str
    memory: int
    seconds: float | None = None
    notes: tuple[str, ...] = ()


def require_memory(prediction: Prediction, config: Config, key: str) -> None:
    """Refuse a solution that does not fit into `config.baselines.memory_bytes`.

    Args:
        prediction: what it needs.
        config: the input.
        key: dotted key that makes it smaller, e.g. "baselines.crank_nicolson.grid".

    Raises:
        ConfigError: naming key, need, what there is, and the fix.
    """
    allowed = config.baselines.memory_bytes
    if prediction.memory <= allowed:
        return
    auto = config.baselines.memory == "auto"
    limit = "80 % of what is free" if auto else f'baselines.memory = "{config.baselines.memory}"'
    raise ConfigError(
        f"{key}: {prediction.method} with {prediction.points} needs about {shown_size(prediction.memory)}, "
        f"but may use {shown_size(allowed)} ({limit}); make {key} smaller, use another method, or raise "
        "baselines.memory where there is more",
        key=key,
    )

"""What a network of kind "sine" takes: `dsmsim check` and the check of the memory ask for it."""

from __future__ import annotations

from dsmsim.config.network_costs import PlainCosts


class SineCosts(PlainCosts):
    """(x, t) -> H -> n, without layers of H x H."""

    @property
    def hidden_layers(self) -> int:
        """Number of layers of H x H weights."""
        return 0

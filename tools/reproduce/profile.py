"""How much is run: everything, what fits into a quarter of an hour, or a trial of the program itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Profile:
    """One size of the reproduction.

    Attributes:
        name: "full" (about an hour and a half of two cores), "quick" (a quarter of an hour of two cores) or
            "trial" (a minute or two: everything tiny, numbers without meaning).
    """

    name: str

    def pick(self, full: T, quick: T, trial: T) -> T:
        """The value that belongs to this profile."""
        return {"full": full, "quick": quick, "trial": trial}[self.name]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the methods whose spread over seeds is shown."""
        return self.pick((1, 2, 3), (1,), (1,))


PROFILES = {name: Profile(name) for name in ("full", "quick", "trial")}

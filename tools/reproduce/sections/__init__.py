"""The chapters of the reproduction, in their order; each module says what to run and what to show of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from tools.reproduce.chapter import Chapter
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.task import Task

SECTIONS = ("oscillators", "bosons", "scaling", "theorem", "tensors", "beyond")


class Section(Protocol):
    """What a module of this package has."""

    def tasks(self, profile: Profile) -> Sequence[Task]:
        """What to run; names are unique in the section."""

    def chapter(self, profile: Profile, found: Found) -> Chapter:
        """What to show, from the files of the tasks alone; a task without results leaves a gap, no error."""


def section(name: str) -> Section:
    """The module of one section."""
    return cast(Section, import_module(f"{__name__}.{name}"))

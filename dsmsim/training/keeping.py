"""When a run that goes on step by step saves its state, and when it stops.

Clocks and signals differ between ranks, so ranks act only on what all have agreed. Training and marching ask
the same keeper after every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dsmsim.config import Config
from dsmsim.errors import StoppedEarly
from dsmsim.parallel import StopRequest, World


class Keeper:
    """Saves the state when a checkpoint is due, and stops the run when that is asked for.

    Args:
        config: [output] `checkpoint_every`.
        world: the ranks, which make and call it together.
        stop: a signal or the time limit.
        save: writes a checkpoint.
        done: steps done when it is made; the state is as it was saved then.
    """

    def __init__(
        self, config: Config, world: World, stop: StopRequest, save: Callable[[], None], done: int
    ) -> None:
        self._world, self._stop, self._save = world, stop, save
        self._unit, self._interval = config.output.cadence.unit, config.output.cadence.number
        self._began = self._saved_at = self._step_began = time.monotonic()
        self._saved, self._longest = done, 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._began

    def after_step(self, done: int, *, finished: bool, where: Callable[[], str]) -> None:
        """A step is done: save if that is due, stop if that was asked for. All ranks call it together.

        Args:
            done: steps done.
            finished: whether it was the last one; that one is saved in any case.
            where: says for the user where the run stands.

        Raises:
            StoppedEarly: the state has been saved.
        """
        now = time.monotonic()
        due = done - self._saved >= self._interval
        if self._unit != "epochs":
            due = now - self._saved_at >= self._interval
        self._longest = max(self._longest, now - self._step_began)
        # a step that would end too late is not begun
        reason, due = self._stop.agreed_with(self._world, due, ahead=self._longest)
        if finished:
            if done > self._saved:
                self._keep(done, now)
        elif reason is not None:
            self._save()
            raise StoppedEarly(f"stopped {where()} ({reason}); the state is saved")
        elif due:
            self._keep(done, now)
        self._step_began = time.monotonic()

    def _keep(self, done: int, now: float) -> None:
        self._save()
        self._saved_at, self._saved = now, done

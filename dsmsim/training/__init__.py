"""Training: batches, optimisers, the step, the loop, evaluation, and the method that composes them."""

from __future__ import annotations

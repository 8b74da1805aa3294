"""Distillation: the networks of [network] learn fields that are known already, before they train globally.

The teacher knows u and v, and for potential networks log psi = R + i S. The network learns it by least squares
at points of the teacher's own process; nothing is differentiated in space or time, so an epoch is far cheaper
than one of residuals. What is compared at a point:

    potential networks    gate f(y, t) with [(R, S) - (R0, S0)] / A, as deviations from the mean among points
                          of equal time: a function of time alone means nothing
    velocity networks     (u, v) with the teacher's, over the natural velocity U

The optimiser is that of the input, its learning rate constant first and then falling to zero. After
Gauss-Newton the normal equations of the distillation stay in its memory, WEIGHT times as heavy as they were:
the residuals of a network determine a slow error (of a width, say) far less well than its quick ones, and
what the network has learnt of the teacher holds it there until the residuals of several epochs outweigh it.

A teacher may know S only modulo 2 pi. The branch is then the one that the integral of m v/hbar along the
straight line from a neighbour, the first point of the same time and block, ends on.

Trajectories come in blocks with random streams of their own, shared out over the ranks.

Shapes: B trajectories, M times, P = B M points, n coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly
from dsmsim.networks import Fields, PotentialFields
from dsmsim.parallel import StopRequest, World, blocks_of_rank, random_stream
from dsmsim.residuals import PointLoss
from dsmsim.residuals.madelung import centred
from dsmsim.sampler import refine, residual_clocks, trajectories
from dsmsim.training.batch import Batch, training_process
from dsmsim.training.build import build_optimizer
from dsmsim.training.engines import by_autograd
from dsmsim.training.gauss_newton import GaussNewton
from dsmsim.training.optimizers import FALL
from dsmsim.training.rows import Parameters, Rows, rows_of
from dsmsim.training.state import TrainState
from dsmsim.training.step import Objective

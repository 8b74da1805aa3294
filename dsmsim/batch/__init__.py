"""Batch scripts for Slurm: written from inputs and a request for nodes, and submitted."""

from __future__ import annotations

from dsmsim.batch.prepare import Prepared, prepare
from dsmsim.batch.request import BatchRequest, check_inputs, check_request, parse_slurm_time
from dsmsim.batch.script import Work, job_name, render
from dsmsim.batch.submit import require_new, submission_command, submit, write_script
from dsmsim.batch.sweep import parse_seeds, seed_inputs, with_seed

__all__ = [
    "BatchRequest",
    "Prepared",
    "Work",
    "check_inputs",
    "check_request",
    "job_name",
    "parse_seeds",
    "parse_slurm_time",
    "prepare",
    "render",
    "require_new",
    "seed_inputs",
    "submission_command",
    "submit",
    "with_seed",
    "write_script",
]

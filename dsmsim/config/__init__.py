"""The input file: typed tables, every check that needs no GPU, the plan of a run, and a template."""

from __future__ import annotations

from dsmsim.config.baseline_tables import BaselinesTable
from dsmsim.config.changes import Change, changes_between
from dsmsim.config.fields import CheckpointCadence, parse_cadence, parse_duration, per_axis
from dsmsim.config.load import LoadedInput, load_config, load_input, parse_config
from dsmsim.config.march_table import MarchTable
from dsmsim.config.memory import shown_size
from dsmsim.config.model import Config
from dsmsim.config.output_table import OutputTable
from dsmsim.config.plan import MarchPlan, Plan, make_plan
from dsmsim.config.run_tables import (
    CompareTable,
    EvaluationTable,
    NetworkTable,
    RunTable,
    SamplerTable,
    TimeTable,
    TrainTable,
)
from dsmsim.config.settings import with_settings
from dsmsim.config.system import SystemTable
from dsmsim.config.template import commented_template
from dsmsim.config.tensor_table import TensorTable

__all__ = [
    "BaselinesTable",
    "Change",
    "CheckpointCadence",
    "CompareTable",
    "Config",
    "EvaluationTable",
    "LoadedInput",
    "MarchPlan",
    "MarchTable",
    "NetworkTable",
    "OutputTable",
    "Plan",
    "RunTable",
    "SamplerTable",
    "SystemTable",
    "TensorTable",
    "TimeTable",
    "TrainTable",
    "changes_between",
    "commented_template",
    "load_config",
    "load_input",
    "make_plan",
    "parse_cadence",
    "parse_config",
    "parse_duration",
    "per_axis",
    "shown_size",
    "with_settings",
]

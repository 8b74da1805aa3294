"""Files of a run: results, checkpoints, the log and the directory they are in. The only owner of h5py."""

from __future__ import annotations

from dsmsim.store.checkpoint import (
    Checkpoint,
    checkpoint_files,
    load_checkpoint,
    load_sums,
    remove_sums,
    save_checkpoint,
    save_sums,
)
from dsmsim.store.jsonlines import JsonLines, read_jsonlines
from dsmsim.store.lock import locked
from dsmsim.store.provenance import Stopwatch, provenance, stored_config
from dsmsim.store.results import (
    Attributes,
    Results,
    StoredResults,
    read_results,
    update_results,
    write_results,
)
from dsmsim.store.rundir import RunDirectory
from dsmsim.store.samples import SampleDirectory, open_samples
from dsmsim.store.schema import SCHEMA_VERSION
from dsmsim.store.shards import (
    Shard,
    ShardWriter,
    Trajectories,
    open_trajectories,
    read_trajectories,
    remove_shards,
    write_manifest,
)

__all__ = [
    "SCHEMA_VERSION",
    "Attributes",
    "Checkpoint",
    "JsonLines",
    "Results",
    "RunDirectory",
    "SampleDirectory",
    "Shard",
    "ShardWriter",
    "Stopwatch",
    "StoredResults",
    "Trajectories",
    "checkpoint_files",
    "load_checkpoint",
    "load_sums",
    "locked",
    "open_samples",
    "open_trajectories",
    "provenance",
    "read_jsonlines",
    "read_results",
    "read_trajectories",
    "remove_shards",
    "remove_sums",
    "save_checkpoint",
    "save_sums",
    "stored_config",
    "update_results",
    "write_manifest",
    "write_results",
]

"""One run is one directory. Nothing in it is removed or replaced unless that was asked for.

input.toml      as given                  results.h5     observables, density, training, errors, model
resolved.toml   with every default        checkpoints/   ckpt-000120.h5, ...
log.jsonl       one record a line         figures/       drawn by dsmsim plot
report.html     by dsmsim report          references/    NAME/results.h5 of each reference
trajectories/   rank-0000.h5, ..., and manifest.json, if trajectories are kept
march.h5        like results.h5, of the marched fields from which networks were then trained (train.polish)
results.xdmf    by which ParaView reads results.h5; likewise march.xdmf, and one for every reference
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from dsmsim.errors import ConfigError, StoreError
from dsmsim.store.checkpoint import checkpoint_files
from dsmsim.store.files import store_error, write_atomically
from dsmsim.store.xdmf import xdmf_file

_FIGURES = ("*.png", "*.pdf", "*.svg")
# what `write_atomically` makes on its way to a file of a run, and nothing that somebody else may have named
_TEMPORARY = re.compile(
    r"\.(input\.toml|resolved\.toml|(results|march)\.(h5|xdmf)|report\.html|ckpt-\d+\.h5|samples\.h5|rank-\d+\.h5|manifest\.json|"
    r"[\w-]+\.(png|pdf|svg))\.\d+\.tmp"
)


class RunDirectory:
    """The places of one run's files; nothing is created or read by naming them.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def input(self) -> Path:
        """The input file as it was given."""
        return self.path / "input.toml"

    @property
    def resolved(self) -> Path:
        """The input with every default written out."""
        return self.path / "resolved.toml"

    @property
    def log(self) -> Path:
        """The log, one JSON record a line."""
        return self.path / "log.jsonl"

    @property
    def results(self) -> Path:
        """The results."""
        return self.path / "results.h5"

    @property
    def march(self) -> Path:
        """The results of the march before the training that followed it."""
        return self.path / "march.h5"

    @property
    def report(self) -> Path:
        """The report for the browser."""
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        """The directory of checkpoints."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """The directory of figures."""
        return self.path / "figures"

    @property
    def references(self) -> Path:
        """The directory of the references' results."""
        return self.path / "references"

    @property
    def trajectories(self) -> Path:
        """The directory of the trajectories, one file a rank and a manifest."""
        return self.path / "trajectories"

    @classmethod
    def create(cls, path: str | Path, overwrite: bool = False) -> RunDirectory:
        """Make the directory for a new run.

        Args:
            path: created with its parents where it is missing; files that are not of a run may be there.
            overwrite: remove an earlier run's files. Only files that dsmsim writes are removed, and
                `input.toml` stays until the new run replaces it (it may be the very input of that run).

        Raises:
            ConfigError: a run is there and `overwrite` is false, or `path` is a file.
            StoreError: the directory cannot be made or emptied.
        """
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise ConfigError(
                f"--out {run.path}: this is a file, not a directory; choose another place with --out"
            )
        try:
            run.clean()
            found = sorted(run.files())
            if found and not overwrite:
                names = ", ".join(str(file.relative_to(run.path)) for file in found[:4])
                more = f" and {len(found) - 4} more" if len(found) > 4 else ""
                raise ConfigError(
                    f"--out {run.path}: the directory already holds a run ({names}{more}). Continue it "
                    f"with `dsmsim resume {run.path}`, replace it with --overwrite, or name another by --out"
                )
            for file in found:
                if file != run.input:
                    file.unlink(missing_ok=True)
            for directory in run._places() if overwrite else ():
                with contextlib.suppress(OSError):  # missing, or it holds files of somebody else
                    directory.rmdir()
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error("create", run.path, error) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """The directory of a run that is there.

        Raises:
            StoreError: there is no such directory, or no run in it.
        """
        run = cls(path)
        if not run.resolved.is_file():
            what = "holds no run (no resolved.toml)" if run.path.is_dir() else "is no directory"
            raise StoreError(
                f"{run.path} {what}: name the directory that `dsmsim run` wrote, such as runs/NAME"
            )
        return run

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file of the run in a single step; StoreError if it cannot be written."""
        write_atomically(path, text.encode())

    def clean(self) -> None:
        """Remove the unfinished files that killed writers left behind.

        Raises:
            StoreError: one of them cannot be removed.
        """
        for directory in (self.path, *self._places()):
            for file in directory.glob(".*.tmp"):
                if _TEMPORARY.fullmatch(file.name):
                    try:
                        file.unlink(missing_ok=True)
                    except OSError as error:
                        raise store_error("remove", file, error) from error

    def _places(self) -> list[Path]:
        """The directories below this one, innermost first, there or not."""
        references = (self.references, *self.references.glob("*"))
        return [*reversed(references), self.checkpoints, self.figures, self.trajectories]

    def files(self) -> Iterator[Path]:
        """The files of a run that are there."""
        written = (self.results, self.march)
        for file in (self.input, self.resolved, self.log, *written, *map(xdmf_file, written), self.report):
            if file.is_file():
                yield file
        yield from checkpoint_files(self.checkpoints)
        yield from self.checkpoints.glob("samples.h5")
        for file in (self.results, xdmf_file(self.results)):
            yield from self.references.glob(f"*/{file.name}")
        yield from self.trajectories.glob("rank-*.h5")
        yield from self.trajectories.glob("manifest.json")
        for pattern in _FIGURES:
            yield from self.figures.glob(pattern)

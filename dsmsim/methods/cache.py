"""References that were computed before, so that a sweep over networks computes each of them once.

    <cache>/references/<method>-<first 16 digits of the key>/results.h5, with its checksum beside it

<cache> is `$DSMSIM_CACHE`, else `$XDG_CACHE_HOME/dsmsim`, else `~/.cache/dsmsim`; `DSMSIM_CACHE=off` (or
empty) keeps nothing. It may be deleted at any time. The key is a hash of all that the result depends on: the
physics, the saved times, the method with its options, the version, and the source files of the method and of
`dsmsim.system`. Entries are made in a directory of their own and moved into place, so that any number of
processes may compute the same one.

A potential or interaction that is a Python function (kind "python") can do anything, so a reference to it is
kept in the run's own directory only, under a key that has the function's source file in it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from dsmsim import __version__
from dsmsim.config import Config
from dsmsim.config.interactions import PythonPair
from dsmsim.config.terms import PythonTerm
from dsmsim.methods.installed import Progress, entry_of

RESULTS, CHECKSUM = "results.h5", "results.h5.sha256"
REFERENCE_SEED = 1
_OFF = ("", "off")
_BY_SAMPLES = ("tvmc", "pinn")  # they depend on the seed, on [evaluation] and others


def cache_directory() -> Path | None:
    """Where references are kept, None where they are not."""
    wanted = os.environ.get("DSMSIM_CACHE")
    if wanted is not None:
        return None if wanted.strip().lower() in _OFF else Path(wanted).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if Path(shared).is_absolute():
        return Path(shared) / "dsmsim"
    try:
        return Path.home() / ".cache" / "dsmsim"
    except RuntimeError:  # a user without a home
        return None


def reference_config(config: Config, name: str) -> Config:
    """The input from which a reference is computed: what is not in its key is set to a fixed value.

    Only the seed is: solvers draw with it the configurations at which they write velocity fields.
    """
    return config.model_copy(update={"seed": REFERENCE_SEED}) if _is_solver(config, name) else config


def _is_solver(config: Config, name: str) -> bool:
    """Whether the result depends on the physics, the saved times and [baselines] alone."""
    return name in type(config.baselines).model_fields and name not in _BY_SAMPLES


def reference_key(config: Config, name: str) -> str:
    """sha256 of all that the results of this reference depend on."""
    plain = config.to_dict()
    options: Any = plain  # what samples depends on more, and a method of another package may read anything
    if _is_solver(config, name):
        tables = {key: table for key, table in plain["baselines"].items() if key != "memory"}
        # "exact" passes the input on to another solver
        options = tables if name == "exact" else tables[name]
    content = {
        "physics": config.physics_hash(),
        "times": config.time.save_times,
        "method": name,
        "options": options,
        "version": __version__,
        "sources": [_sources(package) for package in ("dsmsim.system", _package(name))],
        "functions": [_source_file(target, group) for target, group in _functions(config)],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def may_be_shared(config: Config) -> bool:
    """Whether the input alone says what the potential is."""
    return not _functions(config)


def find(name: str, key: str, progress: Progress) -> bytes | None:
    """The content of a results.h5 that was kept under this key, None if there is none that is whole."""
    entry = _entry(name, key)
    if entry is None or not entry.is_dir():
        return None
    try:
        data = (entry / RESULTS).read_bytes()
        expected = (entry / CHECKSUM).read_text().split()[:1]
    except (OSError, UnicodeDecodeError) as error:
        progress(f"what was kept in {entry} cannot be read ({error}): computing it again")
        return None
    if expected != [hashlib.sha256(data).hexdigest()]:
        progress(f"what was kept in {entry} is damaged: computing it again")
        return None
    progress(f"taken from {entry}")
    return data


def keep(name: str, key: str, results: Path, progress: Progress) -> None:
    """Keep a results.h5 under this key, in place of a damaged entry; failing to is no error."""
    entry = _entry(name, key)
    if entry is None:
        return
    try:
        data = results.read_bytes()
        entry.parent.mkdir(parents=True, exist_ok=True)
        _move_into_place(data, entry)
    except OSError as error:
        progress(f"not kept in {entry}: {error.strerror or error}")


def _move_into_place(data: bytes, entry: Path) -> None:
    made = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", suffix=".tmp", dir=entry.parent))
    try:
        new, old = made / "new", made / "old"
        new.mkdir()
        _write(new / RESULTS, data)
        _write(new / CHECKSUM, f"{hashlib.sha256(data).hexdigest()}  {RESULTS}\n".encode())
        try:
            os.rename(new, entry)
        except OSError:  # an entry is there: damaged, or made by another process meanwhile
            os.rename(entry, old)
            os.rename(new, entry)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(file: Path, data: bytes) -> None:
    with open(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _entry(name: str, key: str) -> Path | None:
    directory = cache_directory()
    return None if directory is None else directory / "references" / f"{name}-{key[:16]}"


def _package(name: str) -> str:
    entry = entry_of(name)
    return "" if entry is None else entry.module.partition(".")[0]


def _sources(package: str) -> str:
    """A hash of all source files of a package or module; "" if it cannot be found."""
    try:
        spec = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return ""
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    files = sorted(file for place in places for file in place.rglob("*.py"))
    files = files or [Path(spec.origin or "")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0".encode())
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def _functions(config: Config) -> list[tuple[str, str]]:
    """Targets of the user's functions with their entry-point groups."""
    terms = config.system.one_body_terms().values()
    found = [(term.target, "dsmsim.potentials") for term in terms if isinstance(term, PythonTerm)]
    if isinstance(config.system.interaction, PythonPair):
        found.append((config.system.interaction.target, "dsmsim.interactions"))
    return found


def _source_file(target: str, group: str) -> str:
    """A hash of the source of the module or package that a function is in."""
    if ":" not in target:
        target = next((entry.value for entry in entry_points(group=group, name=target)), "")
    return _sources(target.partition(":")[0])

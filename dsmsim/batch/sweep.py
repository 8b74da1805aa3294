"""Several inputs from one: the same problem with other seeds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from dsmsim.errors import ConfigError

MOST_SEEDS = 10_000
_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_SEED = re.compile(r"^([ \t]*seed[ \t]*=[ \t]*)[^\n#]*?([ \t]*(?:#[^\n]*)?)$", re.MULTILINE)


def parse_seeds(text: str) -> list[int]:
    """The seeds of a list such as "1-8" or "1,3,10-12", in its order.

    Raises:
        ConfigError: the text has another form, or names a seed twice or more than ten thousand.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else -1
        if last < first or last - first >= MOST_SEEDS:
            seeds = []
            break
        seeds += range(first, last + 1)
    if not seeds or len(seeds) > MOST_SEEDS or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"--seeds = {text!r}: must be whole numbers and ranges, each seed once, at most {MOST_SEEDS} of "
            "them; write it like 1-8 or 1,2,5",
            key="--seeds",
        )
    return seeds


def with_seed(text: str, seed: int) -> str:
    """The text of an input with another seed, and everything else, comments too, as it is.

    Raises:
        ConfigError: the seed of the text stands where it cannot be replaced.
    """
    table = _TABLE.search(text)
    end = table.start() if table else len(text)
    head, tail = text[:end], text[end:]
    changed, count = _SEED.subn(rf"\g<1>{seed}\g<2>", head, count=1)
    result = changed + tail if count else f"seed = {seed}\n{text}"
    try:
        if tomllib.loads(result) == tomllib.loads(text) | {"seed": seed}:
            return result
    except tomllib.TOMLDecodeError:
        pass
    raise ConfigError(
        "seed: cannot be replaced; write seed = 1 on a line of its own, first in the input", key="seed"
    )


def seed_inputs(source: Path, seeds: str, directory: Path, *, overwrite: bool) -> list[Path]:
    """Write `source`, a valid input, once for every seed into `directory`, which is made.

    Returns:
        The files, `<name of source>-seed-<number>.toml`.

    Raises:
        ConfigError: the seeds are wrong, a file is there with another content and `overwrite` is False, or
            one cannot be written.
    """
    text = source.read_text(encoding="utf-8-sig")
    files = {
        directory / f"{source.stem}-seed-{seed}.toml": with_seed(text, seed) for seed in parse_seeds(seeds)
    }
    try:
        for file, content in files.items():
            if file.exists() and not overwrite and file.read_text(encoding="utf-8") != content:
                raise ConfigError(f"{file} exists with another content: remove it, or give --overwrite")
        directory.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write into {directory}: {error.strerror}") from error
    return list(files)

"""Functions compiled by numba and kept on disk, safely.

numba makes a kept function anew when the file that holds it changes, but not when a function that it calls
does, in another file: after an update it would run the old one. So a hash of all files of the package that a
function is in is a part of the name under which it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(
    function: Function, *, parallel: bool = False, fastmath: bool = False, inline: bool = False
) -> Function:
    """The function compiled by numba, kept on disk where there is a place for it.

    It may call compiled functions of its own package (folder) only.

    Args:
        function: what numba can compile.
        parallel: whether its `prange` loops run on several threads.
        fastmath: whether sums may be taken in another order.
        inline: compile it into its callers, so that registers stay where they are.
    """
    plain: Any = function
    plain.__qualname__ = f"{plain.__qualname__}_{_fingerprint(Path(plain.__code__.co_filename).parent)}"
    options: dict[str, Any] = {"fastmath": fastmath, "parallel": parallel, "error_model": "numpy"}
    options |= {"forceinline": True} if inline else {}
    jit: Any = numba.njit
    try:
        made = jit(cache=True, **options)(plain)
    except RuntimeError:  # neither the package nor the user's cache directory can be written
        made = jit(**options)(plain)
    return cast(Function, made)


@cache
def _fingerprint(package: Path) -> str:
    """A hash of the source files in one folder."""
    digest = hashlib.sha256()
    for file in sorted(package.glob("*.py")):
        digest.update(f"{file.name}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]

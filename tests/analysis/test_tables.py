"""Tables for the terminal."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console
from rich.table import Table

from dsmsim.analysis import checks_table, errors_table, verdict
from dsmsim.measure import Check, checks_group

CHECKS = [
    Check("score: x", 0.123, 0.0, 0.01, 0.05, 0.01, False),
    Check("energy drift", 1e-4, 0.0, 1e-3, 2e-4, 0.02, True),
]


def lines(table: Table) -> list[str]:
    """The table as printed, without its frame."""
    console = Console(file=io.StringIO(), width=140)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.replace("│", " ").split()) for line in console.file.getvalue().splitlines()]


def test_errors_stand_beside_their_floors() -> None:
    errors = {
        "time": np.arange(3.0),
        "E_v": np.array(0.02),
        "E_v_std": np.array(0.001),
        "E_v_floor": np.array(0.004),
        "density_l1_mean": np.array(0.5),
        "density_l1_floor": np.array(0.01),
        "density_l1_max": np.array(0.6),
    }
    text = lines(errors_table(errors, reference="fock", published={"E_v": "0.0220 ± 0.0101"}))
    assert text[0] == "Errors against fock"
    assert "E_v 0.02 ± 0.001 0.004 0.0220 ± 0.0101 variance, relative L2 over time" in text
    assert "density_l1_mean 0.5 0.01 density L1, mean over time" in text
    assert "density_l1_max 0.6 density L1, largest over time" in text
    assert not any(line.startswith("E_m") for line in text)
    assert not any("published" in line for line in lines(errors_table(errors)))


def test_a_reference_stands_with_its_own_error() -> None:
    errors = {
        "E_v": np.array(0.02),
        "density_l1_max": np.array(0.6),
        "E_u": np.array(0.1),
        "E_u_stderr": np.array(0.004),
        "pair_density_l1_max": np.array(0.3),
        "reference_error": np.array(2e-3),
        "reference_error_variance": np.array(1e-4),
        "reference_error_density": np.array(2e-3),
        "reference_tolerance": np.array(1e-3),
        "reference_converged": np.array(0),
    }
    text = lines(errors_table(errors, reference="crank_nicolson"))
    assert "E_v 0.02 0.0001 variance, relative L2 over time" in text
    assert "density_l1_max 0.6 0.002 density L1, largest over time" in text
    assert "pair_density_l1_max 0.3 two-body density L1, largest over time" in text
    assert "E_u 0.1 ± 0.004 osmotic velocity, relative L2" in text
    assert "the reference is NOT converged: its own error estimate is 0.002, its tolerance 0.001" in text[-2]
    errors["reference_converged"] = np.array(1)
    assert any(line.startswith("the reference is converged") for line in lines(errors_table(errors)))


def test_every_metric_of_the_catalogue_is_shown() -> None:
    from dsmsim.analysis.tables import METRICS
    from dsmsim.store import schema

    endings = ("_std", "_floor")
    scalars = {name for name, entry in schema.variables_of("errors/any").items() if entry.dims == ()}
    shown = {name for name in scalars if not name.endswith(endings) and not name.startswith("reference_")}
    assert shown == set(METRICS)


def test_checks_from_memory_and_from_a_file_look_the_same() -> None:
    text = lines(checks_table(CHECKS))
    assert "score: x 0.123 0 0.01 0.05 0.01 FAILED" in text
    assert "energy drift 0.0001 0 0.001 0.0002 0.02 ok" in text
    assert lines(checks_table(checks_group(CHECKS))) == text


def test_the_verdict_counts_and_says_what_to_do() -> None:
    assert "1 of 2 checks failed" in verdict(CHECKS)
    assert "Raise train.epochs" in verdict(checks_group(CHECKS))
    assert "all 1 checks passed" in verdict(CHECKS[1:])

"""The page itself: everything that is known of a run, put into the template."""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path

from dsmsim.analysis.loading import RunToPlot, load_run
from dsmsim.config.words import physics_in_words
from dsmsim.errors import ConfigError
from dsmsim.store import Results, RunDirectory, StoredResults, read_results
from dsmsim.store.files import write_atomically

NEEDED = ("plotly", "jinja2", "latex2mathml")


def write_report(path: str | Path, file: str | Path | None = None) -> Path:
    """Write the report of a run; one that is there is replaced.

    Args:
        path: a directory with a results.h5, or such a file.
        file: where the report goes; `report.html` beside the results by default.

    Returns:
        The file written.

    Raises:
        ConfigError: plotly, jinja2 or latex2mathml is not installed.
        StoreError: the results cannot be read, or the report not written.
    """
    require_libraries()
    results = RunDirectory(path).results if Path(path).is_dir() else Path(path)
    directory = RunDirectory(results.parent)
    target = directory.report if file is None else Path(file)
    of_run = results == directory.results
    name = directory.path.resolve().name if of_run else results.stem
    march = read_results(directory.march).results if of_run and directory.march.is_file() else {}
    write_atomically(target, render(load_run(results), read_results(results), march, name).encode())
    return target


def require_libraries() -> None:
    """Raise ConfigError where a library of the report is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the report needs {', '.join(missing)}: pip install 'dsmsim[report]'")


def render(run: RunToPlot, stored: StoredResults, march: Results, name: str) -> str:
    """The text of the page.

    Args:
        run, stored: the results, for the drawings and for the words.
        march: those of the march from which networks were then trained; empty without one.
        name: the title where the input has none.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    from dsmsim.analysis.report import content
    from dsmsim.analysis.report.blocks import state_blocks
    from dsmsim.analysis.report.equations import equations, mathml, sampling_equation
    from dsmsim.analysis.report.history import error_chart, history_blocks

    own, config = stored.attributes.get("observables", {}), run.config
    found = content.errors_of(stored.results)
    for reference, group in content.errors_of(march).items():
        found[f"{reference}, of the march before training"] = group
    errors = [
        {
            "reference": reference,
            "rows": content.error_rows(group),
            "note": content.reference_note(group),
            "chart": error_chart(group, reference),
        }
        for reference, group in found.items()
    ]
    checks = stored.results.get("checks")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dsmsim.analysis.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title=(config.title if config is not None else "") or name,
        verdict=content.verdict(stored.results, stored.attributes),
        problem=[] if config is None else physics_in_words(config),
        equations=[] if config is None else [tuple(map(mathml, pair)) for pair in equations(config)],
        method=content.solved_by(stored.results, stored.attributes),
        sampling=tuple(map(mathml, sampling_equation(float(own["nu"])))) if "nu" in own else (),
        settings=[] if config is None else content.setting_rows(config),
        errors=errors,
        families=[] if checks is None else content.check_families(checks),
        state=state_blocks(run),
        history=history_blocks(run),
        origin=content.origin_rows(stored.attributes),
        input_text=str(stored.attributes.get("provenance", {}).get("input", "")),
        plotly=get_plotlyjs(),
        style=_asset("report.css"),
        script=_asset("report.js"),
    )


def _asset(name: str) -> str:
    return files("dsmsim.analysis.report").joinpath("assets", name).read_text(encoding="utf-8")

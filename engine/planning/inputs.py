"""What a run would be: whether it learns first, which bundle scores, and what it can bring forward."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from engine.bundle import Bundle, load_bundle
from engine.bundle_store import Conditions, bundle_before, find_bundle
from engine.config import Config
from engine.errors import TamisError
from engine.features.windows import day_number
from engine.identity import learning_hashes
from engine.planning.census import Census
from engine.planning.reading import Inputs
from engine.planning.scope import scope_of
from engine.planning.stages import fit_job, score_job
from engine.planning.work import Job
from engine.rollups.checkpoint import plan_forward
from engine.rollups.index import Code
from engine.rollups.update import store_folder
from engine.stages.features import terms_of, wanted_of
from engine.why.published import published_dates


@dataclass(frozen=True)
class Due:
    """What `tamis run` would do.

    Attributes:
        inputs: What its tasks depend on.
        jobs: A fit if one is due, and the score.
        bundle: Folder of the bundle that it scores with; None when it fits one first.
        fits: Whether it fits.
    """

    inputs: Inputs
    jobs: tuple[Job, ...]
    bundle: Path | None
    fits: bool


def due_jobs(config: Config, census: Census, as_of: date) -> Due:
    """The jobs of a run as of a day, as `engine.pipeline.run` chooses them."""
    out = Path(config.out).absolute()
    conditions = conditions_of(config, census)
    folder = find_bundle(out, as_of, conditions, config.refit_after_days)
    before = folder or bundle_before(out, as_of)
    bundle = _loaded(before)
    # A bundle of other settings tells how many trees are grown, and nothing else.
    fitting = folder is None
    scope = scope_of(config, census, as_of, None if fitting else bundle)
    published = published_dates(out)
    inputs = Inputs(
        config,
        census,
        scope,
        is_first=not [day for day in published if day < as_of],
        has_bundle=before is not None,
        # One that is published once more mostly has the same members, and corrects nothing.
        later=0 if as_of in published else len([day for day in published if day > as_of]),
    )
    if fitting:
        jobs = (fit_job(inputs, day_number(as_of)), score_job(inputs, rolled=True))
        return Due(inputs, jobs, None, fits=True)
    inputs = replace(inputs, forward=_forward(inputs, out, as_of), has_bundle=True)
    return Due(inputs, (score_job(inputs, rolled=False),), folder, fits=False)


def conditions_of(config: Config, census: Census) -> Conditions:
    """What a bundle must have been fitted with to score the log."""
    contacts = {name: str(dtype) for name, dtype in census.attributes.items()}
    return Conditions(learning_hashes(config), census.user_dtype, contacts)


def _loaded(folder: Path | None) -> Bundle | None:
    try:
        return None if folder is None else load_bundle(folder)
    except TamisError:
        # The run tells what is wrong with it.
        return None


def _forward(inputs: Inputs, out: Path, as_of: date) -> tuple[int, int] | None:
    """Rows and files of partials that totals are brought forward with; None when all are read."""
    census, spec = inputs.census, inputs.scope.spec
    if inputs.scope.reads_all or census.index.checkpoint is None:
        return None
    stale = {(unit.source, unit.label) for unit in census.stale}
    if stale & {(source, label) for source, label, _ in census.index.checkpoint.units}:
        return None
    wanted = {code: number for number, code in enumerate(census.index.codes)}
    codes = [wanted.get(code) for code in _codes(inputs)]
    if None in codes:
        return None
    terms = terms_of(spec, [code for code in codes if code is not None], inputs.buckets)
    forward = plan_forward(census.index, terms, day_number(as_of), store_folder(out))
    if forward is None or forward.then is None:
        return None
    files = _named({*forward.old, *forward.new}, inputs, out)
    return files + census.new_partials, len(forward.old) + len(forward.new) + len(census.stale)


def _codes(inputs: Inputs) -> tuple[Code, ...]:
    return wanted_of(inputs.scope.spec, inputs.config.targets).codes


def _named(paths: Collection[str], inputs: Inputs, out: Path) -> int:
    store = store_folder(out)
    return sum(
        file.rows for entry in inputs.census.index.entries for file in entry.daily if str(store / file.path) in paths
    )

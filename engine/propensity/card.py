"""The model card of a propensity model, in Markdown: what it is for, what it was made of, how good it is.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (2019). Every figure comes from the model's spec,
so the same model has the same card; nothing of any single user is in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.propensity.intervals import Difference
    from engine.propensity.metrics import Metrics
    from engine.propensity.spec import ModelSpec

_TOP_FEATURES: Final = 15
_FEW_POSITIVES: Final = 100
# Shares below are given with two digits, not with one decimal.
_RARE: Final = 0.01
# Names of the figures in `Metrics` and in the intervals, and what they are called.
_FIGURES: Final = (
    ("auc", "AUC"),
    ("average_precision", "Average precision"),
    ("log_loss", "Log loss (nats)"),
    ("brier", "Brier score"),
    ("ece", "Expected calibration error"),
)
_CALIBRATIONS: Final = {
    "isotonic": "Isotonic regression on the validation rows.",
    "platt": "Platt scaling (a logistic curve) on the validation rows.",
    "none": "None: the scores are those of the trees.",
}
_APART: Final = {
    "dates": "Validation rows are of later dates than training rows.",
    "users": "The log is short: validation rows are of the dates of training rows, but of other users.",
}

_BACKTICKS = re.compile("`+")

Paragraphs = list[str]


def model_card(
    spec: ModelSpec, attributes: Collection[str], versions: Mapping[str, str], among: Sequence[str] = ()
) -> str:
    """The card of one model.

    Args:
        spec: The model.
        attributes: Names of the contact attributes, which are known as of today only.
        versions: Versions of the code that writes the card.
        among: What is said of the users beside the population: which of them it is for by what they agreed to.
    """
    sections = {
        "What it predicts": _prediction(spec),
        "For whom": [*_population(spec), *among],
        "Intended use": _use(spec),
        "Data": _data(spec),
        "Quality out of time": _quality(spec),
        "Lift by decile": _lift(spec.metrics),
        "Reliability": _reliability(spec),
        "Gate": _gate(spec),
        "Alarms": [_bullets(spec.alarms) or "None."],
        "Notes": [_bullets(spec.notes) or "None."],
        "Calibration": [_CALIBRATIONS.get(spec.calibration.method, _code(spec.calibration.method))],
        "Most important features": _features(spec),
        "Known limits": [_bullets(_limits(spec, attributes))],
        "Versions": _versions(spec, versions),
    }
    parts = [f"# Model card: {_code(spec.target.name)}"]
    for title, paragraphs in sections.items():
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def _prediction(spec: ModelSpec) -> Paragraphs:
    target = spec.target
    event = f"an event {_code(target.event)}" + ("" if target.where is None else f" with {_code(target.where)}")
    days = f"{target.horizon_days:,} {'day' if target.horizon_days == 1 else 'days'}"
    what = f"that a user does not have {event}" if target.absent else f"that a user has {event}"
    text = f"The probability {what} in the {days} from the day of the score on, "
    made = "" if target.preset is None else f" Made from the preset {_code(target.preset)}."
    return [f"{text}`[day, day + {target.horizon_days})`.{made}"]


def _population(spec: ModelSpec) -> Paragraphs:
    condition = spec.target.population
    if condition is None:
        return ["Every user with an event before the day."]
    return [f"Users for whom {_code(condition)} holds on the day. Others are not in the data and get no score."]


def _use(spec: ModelSpec) -> Paragraphs:
    classes = sorted(spec.settings.classes.items(), key=lambda entry: (-entry[1], entry[0]))
    named = ", ".join(f"{_code(name)} from {factor:g} ×" for name, factor in classes)
    use = "To rank users, and to choose whom a campaign addresses."
    never = "Not for decisions with a legal or similarly grave effect on a person."
    scale = f"Classes by the multiple of the base rate ({_percent(spec.base_rate)}) that a probability reaches"
    return [f"{use} {never}", f"{scale}: {named}; below all of them `unlikely`."]


def _data(spec: ModelSpec) -> Paragraphs:
    horizon, share = spec.target.horizon_days, spec.settings.test_users
    grain = f"One row per user and date: features of the days before it, the label of the {horizon} days from it on."
    users = "the same users"
    if share:
        users = f"users ({_percent(share)} of all, by a hash of the user) of whom no row was learnt from"
    used = {
        "training": (spec.train_anchors, "trees"),
        "validation": (spec.valid_anchors, "number of trees, calibration"),
        "test": (spec.test_anchors, "the figures below"),
    }
    counts = (*spec.learned, ("test", spec.metrics.rows, spec.metrics.positives))
    parts = (
        (part, _days(used[part][0]), f"{rows:,}", f"{positives:,}", _percent(positives / max(rows, 1)), used[part][1])
        for part, rows, positives in counts
    )
    paragraphs = [
        f"{grain} Label windows do not overlap. No row is weighted or drawn twice.",
        _table(("part", "dates", "rows", "positive", "share", "used for"), parts),
        f"{_APART[spec.apart]} Test rows are of later dates, and of {users}.",
    ]
    if spec.sampled:
        sampled = (f"{part}: {used:,} of {before:,} rows" for part, before, used in spec.sampled)
        paragraphs += ["Sampled by a stable hash of the user:", _bullets(sampled)]
    return paragraphs


def _quality(spec: ModelSpec) -> Paragraphs:
    metrics, intervals = spec.metrics, dict(spec.intervals)
    constants = {
        "auc": 0.5,
        "average_precision": metrics.base_rate,
        "log_loss": metrics.base_log_loss,
        "brier": metrics.base_brier,
        "ece": 0.0,
    }
    rows = []
    for name, title in _FIGURES:
        interval = intervals.get(name)
        between = "–" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
        model, baseline = getattr(metrics, name), getattr(spec.baseline, name)
        rows.append((title, _figure(model), between, _figure(constants[name]), _figure(baseline)))
    lift = intervals.get("lift")
    between = "–" if lift is None else f"{lift.low:.2f} to {lift.high:.2f}"
    model, baseline = (_figure(next(iter(each.lift_by_decile), None), 2) for each in (metrics, spec.baseline))
    rows.append(("Lift of the top decile", model, between, "1.00", baseline))
    paragraphs = [
        f"On {metrics.rows:,} test rows, with calibrated probabilities. Intervals are of 95 % (bootstrap).",
        _table(("figure", "model", "interval", "base rate alone", "logistic baseline"), rows),
        f"AUC on the rows that it has learnt from: {_figure(spec.train_metrics.auc)}.",
    ]
    if metrics.precision_at:
        found = (f"{_percent(precision)} in the top {100 * share:g} %" for share, precision in metrics.precision_at)
        paragraphs.append(f"Share of positives: {', '.join(found)}, {_percent(metrics.base_rate)} of all.")
    return paragraphs


def _lift(metrics: Metrics) -> Paragraphs:
    found = zip(metrics.lift_by_decile, metrics.gain_by_decile, strict=True)
    rows = [(str(decile), f"{lift:.2f}", _percent(gain)) for decile, (lift, gain) in enumerate(found, 1)]
    if not rows:
        return ["No test row is positive."]
    return [_table(("decile (1 scores highest)", "lift over the base rate", "positives found so far"), rows)]


def _reliability(spec: ModelSpec) -> Paragraphs:
    rows = [(f"{part.rows:,}", _percent(part.mean_score), _percent(part.rate)) for part in spec.reliability]
    return [
        "Test rows in groups of about equal size, lowest scores first.",
        _table(("rows", "mean probability", "share of positives"), rows),
    ]


def _gate(spec: ModelSpec) -> Paragraphs:
    verdict = spec.verdict
    paragraphs = ["**Passed.**" if verdict.promoted else "**Did not pass.**"]
    paragraphs += [_bullets(verdict.reasons)] if verdict.reasons else []
    for name, difference in (("the logistic baseline", verdict.baseline), ("the model in use", verdict.incumbent)):
        if difference is not None:
            paragraphs.append(f"AUC less that of {name} on the same rows: {_difference(difference)}.")
    return paragraphs


def _features(spec: ModelSpec) -> Paragraphs:
    total = sum(gain for _, gain in spec.importance)
    loss = dict(spec.permutation)
    rows = [
        (_code(name), _percent(gain / total) if total else "–", _figure(loss.get(name)))
        for name, gain in spec.importance[:_TOP_FEATURES]
    ]
    first = f"The first {len(rows)} of {len(spec.features)} features by gain."
    meaning = "Permutation is what AUC loses on test rows when the values of a feature are shuffled."
    return [f"{first} {meaning}", _table(("feature", "share of gain", "permutation"), rows)]


def _limits(spec: ModelSpec, attributes: Collection[str]) -> list[str]:
    metrics = spec.metrics
    shift = (
        f"The base rate was {_percent(spec.base_rate)} while learning and {_percent(metrics.base_rate)} on test rows."
    )
    limits = [
        f"{shift} Where it moves on, probabilities are off by about as much; the order of users is not.",
        "It has learnt what was, not what a message brings about: a high probability is no effect of a campaign.",
        f"The figures are of {_days(spec.test_anchors)}; other seasons may differ.",
    ]
    known_today = [_code(name) for name in spec.features if name in attributes]
    if known_today:
        limits.append(
            "Contact attributes are as of the fit, also for earlier dates, and may know what came later: "
            f"{', '.join(known_today)}."
        )
    if metrics.positives < _FEW_POSITIVES:
        limits.append(f"Only {metrics.positives:,} test rows are positive: the figures are uncertain.")
    return limits


def _versions(spec: ModelSpec, versions: Mapping[str, str]) -> Paragraphs:
    settings = spec.settings
    size = f"{spec.trees:,} of at most {settings.trees:,} trees, at most {settings.leaves:,} leaves each"
    pace = f"learning rate {settings.learning_rate:g}, at least {settings.min_rows_per_leaf:,} rows per leaf"
    tried = f", the best of {len(spec.tuned):,} trials" if spec.tuned else ""
    code = ", ".join(f"{name} {text}" for name, text in versions.items() if name != "lightgbm")
    return [
        f"LightGBM {spec.lightgbm_version}: {size}, {pace}{tried}; seed {spec.seed}.",
        f"The bundle was written with {code}.",
        f"SHA-256 of the model's text: `{spec.sha256}`.",
    ]


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    # A bar ends a cell, in code too.
    return text.replace("|", "\\|")


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _days(days: Sequence[date]) -> str:
    return ", ".join(day.isoformat() for day in sorted(days))


def _difference(difference: Difference) -> str:
    return f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"


def _figure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share == 0 or share >= _RARE else f"{100 * share:.2g} %"


def _code(text: str) -> str:
    """A name or condition of the configuration as code, whatever characters it holds."""
    inner = _plain(text)
    longest = max(map(len, _BACKTICKS.findall(inner)), default=0)
    marks = "`" * (longest + 1)
    return f"{marks} {inner} {marks}" if longest else f"`{inner}`"


def _plain(text: str) -> str:
    return " ".join(text.split())

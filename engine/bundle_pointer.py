"""Which bundles of an output root are in use: what was done with each, and which of several comes first.

`_bundles/current` is the record of it, a JSON file that is replaced in one instant:

    {"format": 2, "bundle": "<the current one, or null>", "acts": [{"act", "bundle", "as_of"}, …]}

Acts stand in the order in which they were done. *fitted*: a fit wrote the bundle and promoted it; *held*: a fit wrote
it and a gate held it back; *promoted*: a person promoted it; *withdrawn*: a person took it out of use.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, get_args

from engine.bundle import REFIT, is_bundle_id
from engine.errors import IntegrityError
from engine.tables.durable import durable_json
from engine.tables.layout import bundles_folder

POINTER_FORMAT: Final = 2

ActName = Literal["fitted", "held", "promoted", "withdrawn"]
State = Literal["current", "promoted", "held", "withdrawn", "unfinished"]


@dataclass(frozen=True)
class Act:
    """Something that was done with a bundle.

    Attributes:
        act: What.
        bundle: Id of the bundle.
        as_of: Day of the bundle's fit.
    """

    act: ActName
    bundle: str
    as_of: date


def read_acts(out: Path) -> tuple[Act, ...]:
    """What was done with the bundles of an output root, in order; nothing before the first fit.

    Raises:
        IntegrityError: The record is damaged, or an earlier version wrote it.
    """
    pointer = pointer_path(out)
    if not pointer.exists():
        return ()
    try:
        content = json.loads(pointer.read_bytes())
        written = content.get("format", 1)
        if written == POINTER_FORMAT:
            acts = tuple(_act(entry) for entry in content["acts"])
            if content["bundle"] == current_of(acts):
                return acts
            problem = "its bundle is not the current one of its acts"
        else:
            raise IntegrityError(
                f"{pointer} was written in format {written}, expected {POINTER_FORMAT}: the bundles it names are of "
                "another version",
                code="bundle-version",
                hint="Run `tamis fit`.",
            )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError) as error:
        problem = type(error).__name__
    raise IntegrityError(f"{pointer} does not name a bundle: {problem}", code="bundle-pointer", hint=REFIT)


def _act(entry: dict[str, Any]) -> Act:
    if entry["act"] not in get_args(ActName) or not is_bundle_id(entry["bundle"]):
        raise ValueError
    return Act(entry["act"], entry["bundle"], date.fromisoformat(entry["as_of"]))


def write_acts(out: Path, acts: Sequence[Act]) -> None:
    """Replace the record; the lock of the output root must be held."""
    entries = [{"act": act.act, "bundle": act.bundle, "as_of": act.as_of.isoformat()} for act in acts]
    durable_json({"format": POINTER_FORMAT, "bundle": current_of(acts), "acts": entries}, pointer_path(out))


def pointer_path(out: Path) -> Path:
    """Where the record of an output root lies."""
    return bundles_folder(out) / "current"


def with_act(acts: Sequence[Act], done: Act) -> tuple[Act, ...]:
    """The record after one more act.

    A person's word holds: to fit a bundle again that was withdrawn, or that gave way to one promoted by hand, does not
    bring it back, and a fit that would hold back a bundle that is known already changes nothing.
    """
    places = [place for place, act in enumerate(acts) if act.bundle == done.bundle]
    before = {acts[place].act for place in places}
    gave_way = bool(places) and any(act.act == "promoted" for act in acts[places[-1] + 1 :])
    put_aside = "withdrawn" in before or (gave_way and "held" not in before)
    if (done.act == "fitted" and put_aside) or (done.act == "held" and before):
        return tuple(acts)
    # To fit a promoted bundle again leaves it a promoted one.
    undone = {"fitted", "held"} if done.act == "fitted" else set(get_args(ActName))
    return (*(act for act in acts if act.bundle != done.bundle or act.act not in undone), done)


def choose(acts: Sequence[Act], usable: Collection[str]) -> str | None:
    """Which of the usable bundles is taken: the one of the latest fit, of several fits of one day the last.

    A bundle that a person promoted takes the place of all that were promoted before that act.

    Args:
        acts: What was done, in order.
        usable: Ids of the bundles that could be taken; those that are held, withdrawn or unknown are not.
    """
    promoting = [act for act in acts if act.bundle in usable and act.act in {"fitted", "promoted"}]
    by_hand = max((place for place, act in enumerate(promoting) if act.act == "promoted"), default=0)
    # Of equal days, the last act in order.
    best = max(reversed(promoting[by_hand:]), key=lambda act: act.as_of, default=None)
    return None if best is None else best.bundle


def current_of(acts: Sequence[Act]) -> str | None:
    """Id of the current bundle: the one that `choose` takes for a day after all fits; None when none is promoted."""
    return choose(acts, {act.bundle for act in acts})


def state_of(acts: Sequence[Act], bundle: str) -> State:
    """What has become of a bundle; `unfinished` when the fit that wrote it did not come to an end."""
    done = {act.act for act in acts if act.bundle == bundle}
    if not done:
        return "unfinished"
    if not done & {"fitted", "promoted"}:
        return "withdrawn" if "withdrawn" in done else "held"
    return "current" if bundle == current_of(acts) else "promoted"

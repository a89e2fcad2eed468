"""Every segment of a configuration: rules and lists, lifecycle stages, arms of experiments, and what is left."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config, Experiment, Segment
from engine.config_segments import PRIMARY
from engine.errors import ConfigError
from engine.rules.source import canonical, source_of
from engine.segments.arms import arm_bounds
from engine.segments.definition import Arm, Definition, StaticList
from engine.segments.labels import labels_of
from engine.segments.lifecycle import lifecycle_definitions
from engine.segments.rfm_maps import segment_names, segment_table
from engine.segments.static_lists import content_hash
from engine.tables.layout import encode_partition, partition_folder

DEFINITIONS_SCHEMA: Final[Mapping[str, pl.DataType]] = {
    "segment": pl.String(),
    "group": pl.String(),
    "kind": pl.String(),
    "rule": pl.String(),
    "rule_version": pl.String(),
    "label_en": pl.String(),
    "label_fr": pl.String(),
    "description": pl.String(),
    "campaigns": pl.List(pl.String()),
    "priority": pl.Int32(),
    "frozen_on": pl.Date(),
    "expires_on": pl.Date(),
    "depends_on": pl.List(pl.String()),
    "position": pl.Int32(),
}
"""The table `segment_definitions`: one row per segment, sorted by name; `position` counts in the order of the file, in
which segments of one group and priority are tried."""


def definitions(config: Config) -> tuple[Definition, ...]:
    """The segments in the order of the file: configured ones, lifecycle stages, arms, and at the end the fallbacks.

    Raises:
        ConfigError: Names that cannot stand side by side or cannot be folders, lists that cannot be read, lifecycle
            presets that cannot be used; of each kind all problems at once.
    """
    made = [
        *(_configured(segment) for segment in config.segments),
        *(stage for entry in config.lifecycle for stage in lifecycle_definitions(entry, config)),
        *(arm for experiment in config.experiments for arm in _arms(experiment)),
        *_fallbacks(config),
    ]
    check_segment_names(made)
    return _with_versions(made, config)


def definitions_table(made: Sequence[Definition], depends_on: Mapping[str, Iterable[str]]) -> pl.DataFrame:
    """The table `segment_definitions`: one row per segment, sorted by name; see `DEFINITIONS_SCHEMA`.

    Args:
        made: The segments.
        depends_on: By segment, the segments that its rule asks for; a missing one asks for none.
    """
    rows = [
        {
            "segment": one.name,
            "group": one.group,
            "kind": one.kind,
            "rule": one.where,
            "rule_version": one.version,
            "label_en": dict(one.labels).get("en"),
            "label_fr": dict(one.labels).get("fr"),
            "description": one.description,
            "campaigns": list(one.campaigns),
            "priority": one.priority,
            "frozen_on": one.list.frozen_on if one.list else None,
            "expires_on": one.list.expires_on if one.list else None,
            "depends_on": sorted(depends_on.get(one.name, ())),
            "position": place,
        }
        for place, one in sorted(enumerate(made), key=lambda numbered: numbered[1].name)
    ]
    return pl.DataFrame(rows, schema=DEFINITIONS_SCHEMA)


def check_segment_names(made: Sequence[Definition]) -> None:
    """Checks that every segment can be told from the others, and that those of the primary group can be folders.

    Names must differ by more than case, accents and Unicode form.

    Raises:
        ConfigError: All problems at once.
    """
    taken: dict[str, Definition] = {}
    problems = []
    for one in made:
        other = taken.setdefault(_key(one.name), one)
        if other is not one:
            alike = f", spelt {other.name!r}; names must differ by more than case and accents"
            spelt = "" if other.name == one.name else alike
            problems.append(f"  - {one.name!r} ({_origin(one)}) is also {_origin(other)}{spelt}")
        if not one.name.strip():
            problems.append(f"  - {one.name!r} would be read as no name at all")
        try:
            if one.group == PRIMARY:
                partition_folder(Path(), "segment", one.name)
            else:
                encode_partition(one.name)
        except ConfigError as error:
            problems.append(f"  - {error.message}")
    if problems:
        message = "Segment names that cannot be used:\n" + "\n".join(problems)
        hint = "Rename entries of [[segments]] or [[experiments]], or set segment_fallback to another name."
        raise ConfigError(message, code="segment-names", hint=hint)


def _configured(segment: Segment) -> Definition:
    name = _nfc(segment.name)
    listed = None
    if segment.list is not None and segment.frozen_on is not None:
        listed = StaticList(segment.list, segment.frozen_on, segment.expires_on, segment.unknown_ids == "refuse")
    return Definition(
        name=name,
        kind="rule" if listed is None else "list",
        group=None if segment.tag else segment.group,
        where=segment.where,
        list=listed,
        priority=segment.priority,
        labels=tuple(sorted({**dict(labels_of(name)), **segment.labels}.items())),
        campaigns=segment.campaigns,
        cost=segment.cost,
        description=segment.description,
        purposes=segment.purposes,
    )


def _arms(experiment: Experiment) -> list[Definition]:
    return [
        Definition(
            name=f"{experiment.name}_{arm}",
            kind="arm",
            group=None,
            where=experiment.where,
            arm=Arm(experiment.name, experiment.key, low, high),
            campaigns=experiment.campaigns,
            description=f"Arm {arm!r} of the experiment {experiment.name!r}.",
            purposes=experiment.purposes,
        )
        for arm, (low, high) in arm_bounds(experiment.arms).items()
    ]


def segment_purposes(config: Config) -> dict[str, tuple[str, ...]]:
    """What users must have agreed to beside `consent.process`, by name of segment or arm; of those that ask."""
    own = {_nfc(segment.name): segment.purposes for segment in config.segments}
    arms = {
        f"{experiment.name}_{arm}": experiment.purposes for experiment in config.experiments for arm in experiment.arms
    }
    return {name: purposes for name, purposes in (own | arms).items() if purposes}


def _fallbacks(config: Config) -> list[Definition]:
    if config.segment_fallback == "rfm":
        names, of_whom = segment_names(segment_table(config.rfm)), f"Of the RFM map {config.rfm.segment_map!r}"
    else:
        names, of_whom = (config.segment_fallback,), "Everyone"
    return [
        Definition(
            name=_nfc(name),
            kind="fallback",
            group=PRIMARY,
            labels=labels_of(_nfc(name)),
            description=f"{of_whom}: users whom no other segment of the group takes.",
        )
        for name in names
    ]


def _with_versions(made: Sequence[Definition], config: Config) -> tuple[Definition, ...]:
    rfm = config.rfm.model_dump(mode="json") if config.segment_fallback == "rfm" else None
    versioned = []
    problems = []
    for one in made:
        try:
            version = _version(one, rfm if one.kind == "fallback" else None)
        except OSError as error:
            problems.append(f"  - {one.name!r}: cannot read its list {error.filename}: {error.strerror}")
            continue
        versioned.append(replace(one, version=version))
    if problems:
        message = "Lists of users that cannot be used:\n" + "\n".join(problems)
        raise ConfigError(message, code="segment-list", hint="Restore the files, or name others.")
    return tuple(versioned)


def _version(one: Definition, rfm: object) -> str:
    parts: dict[str, object] = {"kind": one.kind, "group": one.group, "priority": one.priority, "rfm": rfm}
    if one.where is not None:
        source = source_of(one.where)
        # A text that cannot be read to its end is refused later, with the place.
        parts["rule"] = source.text if source.problems else canonical(source.tokens)
    if one.list is not None:
        parts["list"] = [content_hash(one.list.path), str(one.list.frozen_on), str(one.list.expires_on)]
    if one.arm is not None:
        parts["arm"] = [one.arm.key, one.arm.low, one.arm.high]
    if one.purposes:
        parts["purposes"] = sorted(one.purposes)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:8]


def _origin(one: Definition) -> str:
    match one.kind:
        case "lifecycle":
            return f"a stage of the lifecycle preset {one.group!r}"
        case "arm":
            return f"an arm of the experiment {one.arm.experiment if one.arm else ''!r}"
        case "fallback":
            return "one that users fall back to"
        case _:
            return "an entry of [[segments]]"


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    # Names that only case or accents tell apart are one name to readers, to some file systems and to some warehouses.
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f")

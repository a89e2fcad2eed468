"""The sections of a report, one file each, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from engine.reporting.facts import Facts
from engine.reporting.model import Section
from engine.reporting.sections import (
    alerts,
    campaigns,
    changes,
    choice_of_k,
    cluster_profiles,
    data_quality,
    files,
    flows,
    importance,
    kpis,
    lifecycle,
    model_drift,
    models,
    realised,
    rejects,
    rfm,
    rows,
    run,
    segments,
    stability,
    timings,
)

MakeSection: TypeAlias = Callable[[Facts], Section]

MANAGER: Final[tuple[MakeSection, ...]] = (
    changes.section,
    segments.section,
    flows.section,
    rfm.section,
    lifecycle.section,
    kpis.section,
    campaigns.section,
    alerts.section,
)
"""For the CRM manager."""

SCIENTIST: Final[tuple[MakeSection, ...]] = (
    models.section,
    realised.section,
    importance.section,
    model_drift.section,
    choice_of_k.section,
    cluster_profiles.section,
    stability.section,
)
"""For the data scientist."""

ENGINEER: Final[tuple[MakeSection, ...]] = (
    rows.section,
    rejects.section,
    data_quality.section,
    files.section,
    timings.section,
    run.section,
)
"""For the data engineer."""

SECTIONS: Final = (*MANAGER, *SCIENTIST, *ENGINEER)
"""All sections."""

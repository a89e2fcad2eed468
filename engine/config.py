"""The configuration: a frozen, typed model of one TOML file.

Reading the file, overriding single keys and explaining mistakes is done in `engine.config_file`; nothing here touches
the disk. Relative paths in the model are already resolved against the folder of the file they were read from.
"""

from __future__ import annotations

import unicodedata
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from engine.config_consent import Consent
from engine.config_contacts import Contacts
from engine.config_execution import Execution
from engine.config_exports import Exports
from engine.config_features import Accounts, DerivedType, Engagement, Events, Features, Rfm, RfmMethod
from engine.config_learning import Clusters, CustomerValue, Drift, Model, Target
from engine.config_privacy import Privacy, Retention
from engine.config_publish import Publish
from engine.config_quality import Quality
from engine.config_report import Report
from engine.config_schedule import Schedule
from engine.config_segments import Experiment, Guards, Kpis, Lifecycle, PointCard, PointRule, RfmCell, Segment
from engine.config_sources import Columns, Csv, Exclude, Identity, Machines, Param, Source, Sql, Value
from engine.config_values import Section, Text, TimeZone
from engine.config_watch import Watch
from engine.propensity.presets import missing_role, resolve

__all__ = [
    "Accounts",
    "Checks",
    "Clusters",
    "Columns",
    "Config",
    "Consent",
    "Contacts",
    "Csv",
    "CustomerValue",
    "DerivedType",
    "Drift",
    "Engagement",
    "Events",
    "Exclude",
    "Execution",
    "Experiment",
    "Exports",
    "Features",
    "Guards",
    "Identity",
    "Kpis",
    "Lifecycle",
    "Machines",
    "Model",
    "Param",
    "PointCard",
    "PointRule",
    "Privacy",
    "Publish",
    "Quality",
    "Report",
    "Retention",
    "Rfm",
    "RfmCell",
    "RfmMethod",
    "Schedule",
    "Section",
    "Segment",
    "Source",
    "Sql",
    "Target",
    "Value",
    "Watch",
]


class Checks(Section):
    """What the event log must satisfy."""

    max_reject_share: float = Field(0.01, ge=0, le=1)
    """The run stops when a larger share of a source's rows is rejected."""
    bad_files: Literal["refuse", "quarantine"] = "refuse"
    """Parquet files of a source that cannot be read stop the run, or are left out and named in its record."""


class Config(Section):
    """The whole configuration of a segmentation."""

    out: Text = "out"
    """Folder the tables are published under, relative to the configuration file."""
    timezone: TimeZone = "UTC"
    """Days and windows are cut at midnight of this zone."""
    currency_digits: int = Field(2, ge=0, le=6)
    """Decimals of the currency's minor unit (2: cents)."""
    seed: int = Field(1, ge=0, le=2**31 - 1)
    """Seed of every sample and model."""
    refit_after_days: int = Field(7, ge=1)
    """`run` fits again when the bundle is at least this old."""
    segment_fallback: Text = "rfm"
    """Segment of users that no rule takes: a name, or `rfm` for their RFM segment."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """The event logs; at least one."""
    contacts: Contacts | None = None
    """Attributes of the users, if there are any."""
    accounts: Accounts | None = None
    """The accounts that the users belong to, if features are wanted of them."""
    identity: Identity | None = None
    """Which ids are of one user, if that is known."""
    consent: Consent | None = None
    """Who agreed to what; without it no consent is asked for."""
    privacy: Privacy = Privacy()
    """Key, pseudonyms and people who object."""
    retention: Retention = Retention()
    """How long what is kept about people is kept."""
    exclude: Exclude = Exclude()
    """Users who do not count."""
    machines: Machines = Machines()
    """Opens and clicks that no person made."""
    checks: Checks = Checks()
    """Limits the data must keep."""
    quality: Quality = Quality()
    """Measurements of the data, and what they may be."""
    events: Events = Events()
    """Event types and their roles."""
    features: Features = Features()
    """Windows, families and event types of one's own."""
    engagement: Engagement = Engagement()
    """The engagement score."""
    rfm: Rfm = Rfm()
    """Recency, frequency and monetary scores."""
    targets: tuple[Target, ...] = ()
    """Propensity models to train; none when empty."""
    model: Model = Model()
    """Training of the propensity models."""
    value: CustomerValue | None = None
    """Customer value (BG/NBD and Gamma-Gamma), if it is wanted."""
    drift: Drift = Drift()
    """Comparison of each run with the fit."""
    clusters: Clusters = Clusters()
    """Clusters of similar users."""
    points: tuple[PointCard, ...] = ()
    """Score cards."""
    lifecycle: tuple[Lifecycle, ...] = ()
    """Lifecycle stages by their usual names."""
    segments: tuple[Segment, ...] = ()
    """Segments, in the order in which they are tried."""
    experiments: tuple[Experiment, ...] = ()
    """Random arms and hold-outs."""
    guards: Guards = Guards()
    """What is looked at before a publish."""
    kpis: Kpis = Kpis()
    """The window of the key figures."""
    publish: Publish = Publish()
    """Table formats that the tables are committed to."""
    execution: Execution = Execution()
    """Where the work is done."""
    watch: Watch = Watch()
    """Logs, metrics, history and messages."""
    exports: Exports = Exports()
    """Files of segments for e-mail tools."""
    schedule: Schedule = Schedule()
    """When a run may begin, and what it does about other runs."""
    report: Report = Report()
    """What reports show."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        problems = []
        for label, names in (
            ("sources", [source.name for source in self.sources]),
            ("targets", [target.name for target in self.targets]),
            ("segments", [segment.name for segment in self.segments]),
            ("points", [card.name for card in self.points]),
            ("experiments", [experiment.name for experiment in self.experiments]),
            ("lifecycle", [str(lifecycle.preset) for lifecycle in self.lifecycle]),
        ):
            seen: dict[str, str] = {}
            for name in names:
                # In NFD "é" is two characters, and a file system may take both for one name.
                other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
                if names.count(name) > 1 or other != name:
                    problems.append(
                        f"{label}: two entries named {name!r}"
                        + (f" and {other!r}: they must differ by more than case" if other != name else "")
                    )
        if problems:
            raise ValueError("; ".join(sorted(set(problems))))
        return self

    @model_validator(mode="after")
    def _targets_are_complete(self) -> Self:
        missing = [
            InitErrorDetails(
                type="value_error",
                loc=("targets", index, "preset"),
                input=target.preset,
                ctx={"error": ValueError(problem)},
            )
            for index, target in enumerate(self.targets)
            if (problem := missing_role(target, self.events)) is not None
        ]
        if missing:
            raise ValidationError.from_exception_data(type(self).__name__, missing)
        pause = self.features.reactivated_after_days
        # A validator has to return the instance it got, and that one is frozen.
        object.__setattr__(self, "targets", tuple(resolve(target, self.events, pause) for target in self.targets))
        return self

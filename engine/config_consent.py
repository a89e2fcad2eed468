"""The section of the configuration about consent: who agreed to what, and what is done without it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from engine.config_values import Names, Paths, Section, Text, TimeZone

PROFILING: Final = "profiling"
EMAIL_MARKETING: Final = "email_marketing"
OPEN_TRACKING: Final = "open_tracking"
TRANSACTIONAL: Final = "transactional"
PRESETS: Final = (PROFILING, EMAIL_MARKETING, OPEN_TRACKING, TRANSACTIONAL)
"""Purposes by their usual names; a configuration can name others."""

Purpose = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Consent(Section):
    """A log of consents. Once there is one, what nobody agreed to is not done.

    For each user and purpose the last row before midnight of the day that is looked at counts; of several at one
    instant, a withdrawal. Users without a row have agreed to nothing.
    """

    path: Paths
    """Files, globs or folders of Parquet or CSV files, relative to the configuration file."""
    user_id: Text = "user_id"
    """Column with the user's id."""
    purpose: Text = "purpose"
    """Column with the purpose."""
    status: Text = "status"
    """Column that says whether it was granted or withdrawn."""
    at: Text = "at"
    """Column with the instant; a timestamp or a date."""
    form_version: Text = "form_version"
    """Column with the version of the form or text that was agreed to."""
    source: Text = "source"
    """Column with where it was given: a form, a shop, an import."""
    timezone: TimeZone = "UTC"
    """Zone of instants that carry none."""
    granted: Names = ("granted", "true", "1", "yes")
    """Values of `status` that grant, compared without case."""
    withdrawn: Names = ("withdrawn", "false", "0", "no")
    """Values of `status` that withdraw."""
    purposes: tuple[Purpose, ...] = ()
    """Purposes of one's own, beside `profiling`, `email_marketing`, `open_tracking` and `transactional`."""
    unknown_purposes: Literal["refuse", "ignore"] = "refuse"
    """What to do about rows of purposes that are neither preset nor listed: stop, or count them."""
    process: tuple[Purpose, ...] = (PROFILING,)
    """What a user must have agreed to, all of it, to be in features, scores and segments at all."""
    inputs: dict[Purpose, Names] = Field({})
    """Event types that only count for users who agreed to the purpose, such as `{ open_tracking = ["email_open"] }`."""
    without_inputs: Literal["leave_out", "reduced"] = "reduced"
    """Users who agreed to be processed, but not to some of the inputs: they are left out, or their features are made
    without these events and their scores come from models that never saw any of them."""
    exports: tuple[Purpose, ...] = (EMAIL_MARKETING,)
    """What a user must have agreed to, all of it, to be in the files of `tamis export`."""

    @property
    def known(self) -> tuple[str, ...]:
        """All purposes: the presets, then those of the configuration, in a fixed order."""
        return tuple(dict.fromkeys((*PRESETS, *self.purposes)))

    @model_validator(mode="after")
    def _purposes_are_known(self) -> Self:
        named = {"process": self.process, "inputs": tuple(self.inputs), "exports": self.exports}
        unknown = [f"{key}: {name!r}" for key, names in named.items() for name in names if name not in self.known]
        if unknown:
            message = f"no such purpose: {', '.join(unknown)}; there are {', '.join(self.known)}; list more in purposes"
            raise ValueError(message)
        both = sorted({text.casefold() for text in self.granted} & {text.casefold() for text in self.withdrawn})
        if both:
            message = f"granted and withdrawn have {', '.join(map(repr, both))} in common"
            raise ValueError(message)
        return self

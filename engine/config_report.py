"""Section `report` of the configuration: what the report of a run shows, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.config_values import Section


class Report(Section):
    """What reports show, and how; none of it changes a published table."""

    min_cell: int = Field(10, ge=1)
    """Numbers of fewer people are merged with others or left out of reports."""
    language: Literal["en", "fr"] = "en"
    """Language in which a report opens; its reader can choose the other one."""
    currency: str = Field("", pattern=r"^([A-Z]{3})?$")
    """ISO 4217 code of the amounts, such as `EUR`; they are written as plain numbers when empty."""

"""Section `execution` of the configuration: where and in which portions the work is done."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.config_values import Section


class Execution(Section):
    """Where and in which portions the work is done; none of it changes a number."""

    executor: Literal["local", "ray"] = "local"
    """`local`: in this process, on all cores; `ray`: tasks on a Ray cluster."""
    address: str | None = None
    """Ray cluster to join; a local one is started when neither this nor RAY_ADDRESS is given."""
    rows_per_task: int = Field(4_000_000, ge=1, le=100_000_000)
    """Event rows per task; decides how many buckets the users are cut into, and so the number of files."""
    cpus_per_task: int = Field(1, ge=1)
    """Threads of one Ray task; a local run uses all cores."""
    task_timeout_seconds: float = Field(3600, gt=0, le=31_536_000)
    """A task that runs for longer is ended and tried once more, on Ray; the second time it stops the run."""
    straggler_factor: float = Field(4, ge=0)
    """A task that takes this many times as long as most is ended and tried elsewhere, once, on Ray; 0: never."""
    retries: int = Field(3, ge=0, le=100)
    """How often a task is started again whose worker was lost or whose storage failed, on Ray."""
    local_cpus: int | None = Field(None, ge=1)
    """Processors of a Ray that is started here; all of them when not given."""
    dashboard: bool = False
    """Whether a Ray that is started here has its dashboard, on the loopback interface."""

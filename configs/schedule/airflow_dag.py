"""Tamis as a DAG of Airflow 2.9 or later: one run per day, for the day at which its data interval ends.

Put this file into the folder of DAGs, and change the constants. Tamis is called as a program, so that it may have an
environment of its own and Airflow's workers need nothing but its path.

What the dates mean: events before midnight of `--as-of` count. The interval of the first of March begins then, and ends
with the second; its run has `ds` 2026-03-01 (where the schedule has intervals, as in Airflow 2), and all of its events
are there as of 2026-03-02. So it is the end of the interval that is given, in the zone of the schedule: `ds` is in UTC,
and a midnight of Paris is still the day before there.

`catchup=False`: days that Airflow has missed are filled in by the back-fill of the last week, in order and by one
process. For a longer gap: `tamis backfill --from … --to …`, which leaves what is done; to clear old runs here does the
same one by one, and skips what is done.
"""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pendulum
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

try:
    from airflow.providers.standard.hooks.subprocess import SubprocessHook
    from airflow.sdk import DAG, BaseOperator
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.models.baseoperator import BaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

TAMIS = "/opt/tamis/bin/tamis"
CONFIG = "/srv/tamis/tamis.toml"
ZONE = "Europe/Paris"  # of tamis.toml
SCHEDULE = "30 4 * * *"  # after the log of the day has arrived, and not in an hour that summer time skips or repeats
LOCK_SECONDS = 7200

NOTHING_TO_DO = 99
TRY_AGAIN = {5, 75}  # another run is writing; a store, a cluster or the day is not there yet

AS_OF = "{{ params.as_of or (data_interval_end or dag_run.run_after).in_timezone(dag.timezone).strftime('%Y-%m-%d') }}"


class TamisOperator(BaseOperator):
    """Runs one command of Tamis; its exit code decides whether the task succeeds, is skipped, fails or is tried again.

    Args:
        arguments: The command and its options; templates are filled in.
        others: As for every operator.
    """

    template_fields: ClassVar[Sequence[str]] = ("arguments",)

    def __init__(self, *, arguments: Sequence[str], **others: Any) -> None:
        super().__init__(**others)
        self.arguments = list(arguments)

    def execute(self, context: Any) -> None:
        """Run the command to its end; what it writes goes to the log of the task.

        Raises:
            AirflowSkipException: There was nothing to do.
            AirflowFailException: Another try would fail as well.
            AirflowException: Another try may succeed.
        """
        del context
        self.hook = SubprocessHook()
        code = self.hook.run_command([TAMIS, *self.arguments]).exit_code
        if code == 0:
            return
        text = f"{shlex.join(['tamis', *self.arguments])} ended with exit code {code}"
        if code == NOTHING_TO_DO:
            raise AirflowSkipException(text)
        raise AirflowException(text) if code in TRY_AGAIN else AirflowFailException(text)

    def on_kill(self) -> None:
        """Stop it politely: published tables stay as they are."""
        if hasattr(self, "hook"):
            self.hook.send_sigterm()


with DAG(
    dag_id="tamis",
    description="Segments as of the end of each day",
    schedule=SCHEDULE,
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    params={"as_of": ""},  # for a run by hand: any day, YYYY-MM-DD
    default_args={
        "retries": 6,
        "retry_delay": timedelta(minutes=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": timedelta(hours=8),
    },
) as dag:
    how = ("-c", CONFIG, "--wait-for-lock", str(LOCK_SECONDS))
    run = TamisOperator(
        task_id="run",
        arguments=["run", *how, "--as-of", AS_OF, "--if-done", "skip", "--noop-exit-code", str(NOTHING_TO_DO)],
    )
    late = TamisOperator(
        task_id="late_data",
        arguments=["backfill", *how, "--last", "7", "--to", AS_OF],
        trigger_rule="none_failed",
    )
    run >> late

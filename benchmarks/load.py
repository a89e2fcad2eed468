"""Rows of a published table into PostgreSQL, against a bare COPY of the same rows from a file: `load_vs_copy`.

    python -m benchmarks.load                 a server of this machine is started in a temporary folder
    BENCH_LOAD_ROWS=1000000 BENCH_TURNS=3

The bare COPY is what one would write by hand: `COPY segments FROM '/…/rows.csv' (FORMAT csv)`, read by the server from
its own disk, into a table with the same columns. Both begin with an empty table, in turn; the best of each counts.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

AS_OF = date(2026, 3, 1)
SEGMENTS = tuple(f"segment_{number:02d}" for number in range(12))


def load_vs_copy(rows: int, turns: int) -> dict[str, float]:
    """Seconds of `tamis load postgres` and of a bare COPY, and the one divided by the other."""
    import adbc_driver_postgresql.dbapi as driver

    from engine.warehouse.into_postgres import load_postgres
    from tests.warehouse.postgres_server import binaries, server
    from tests.warehouse.sample import TOML, HandMade, publish_frames

    programs = binaries()
    if programs is None:
        message = "no PostgreSQL server on this machine: `make servers` installs it"
        raise SystemExit(message)
    with (
        tempfile.TemporaryDirectory(prefix="tamis-load-") as folder,
        server(programs, ("max_wal_size=8GB",)) as started,
    ):
        made = HandMade(_configuration(Path(folder), TOML))
        frame = segment_rows(rows)
        publish_frames(made, AS_OF, {"segments": frame})
        asked = made.asked("postgres", "segments", as_of=AS_OF)
        columns = [
            "as_of",
            "segment",
            "user_id",
            *(name for name in frame.columns if name not in {"user_id", "segment"}),
        ]
        file = started.folder / "rows.csv"
        frame.with_columns(as_of=pl.lit(AS_OF)).select(columns).write_csv(file, include_header=False)
        if started.owner is not None:
            shutil.chown(file, started.owner)
        loads, copies = [], []
        for turn in range(turns):
            with closing(driver.connect(started.dsn, autocommit=True)) as connection, connection.cursor() as cursor:
                _fresh(cursor)
                start = time.perf_counter()
                load_postgres(started.dsn, asked, made.out)
                loads.append(time.perf_counter() - start)
                cursor.execute("CREATE TABLE bare (LIKE segments)")
                cursor.execute("CHECKPOINT")
                start = time.perf_counter()
                cursor.execute(f"COPY bare FROM '{file}' (FORMAT csv)")
                copies.append(time.perf_counter() - start)
                if turn == 0:
                    cursor.execute(
                        "SELECT count(*) FROM (SELECT * FROM segments EXCEPT ALL SELECT * FROM bare) AS other"
                    )
                    if cursor.fetchone() != (0,):
                        raise SystemExit("the load and the COPY left other rows")
    best, bare = min(loads), min(copies)
    return {
        "rows": rows,
        "load_seconds": round(best, 3),
        "copy_seconds": round(bare, 3),
        "load_vs_copy": round(best / bare, 3),
    }


def segment_rows(rows: int) -> pl.DataFrame:
    """Rows as `segments` has them: 14 columns, a fifth of the values missing in some."""
    rng = np.random.default_rng(7)
    hundredth = rng.integers(0, 100, rows)
    frame = pl.DataFrame(
        {
            "user_id": np.arange(1, rows + 1),
            "segment": np.array(SEGMENTS)[rng.integers(0, len(SEGMENTS), rows)],
            "rfm_recency_days": rng.integers(0, 400, rows),
            "rfm_frequency": rng.integers(1, 40, rows),
            "rfm_monetary": rng.integers(100, 100_000, rows) / 100,
            "engagement_score": rng.integers(0, 10_000, rows) / 100,
            **{name: rng.integers(1, 6, rows).astype(np.int32) for name in ("r_score", "f_score", "m_score")},
            "rfm_segment": np.array(SEGMENTS)[rng.integers(0, len(SEGMENTS), rows)],
            "cluster": rng.integers(0, 8, rows).astype(np.int32),
            "cluster_name": np.array(["recent buyers of much", "asleep", "openers"])[rng.integers(0, 3, rows)],
            "propensity_buys": rng.random(rows),
            "propensity_buys_decile": rng.integers(1, 11, rows).astype(np.int32),
            "propensity_buys_class": np.array(["unlikely", "likely", "possible"])[rng.integers(0, 3, rows)],
        }
    )
    missing = pl.Series(hundredth < 20)
    return frame.with_columns(
        pl.when(missing).then(None).otherwise(pl.col(name)).alias(name) for name in ("rfm_recency_days", "rfm_monetary")
    )


def _configuration(folder: Path, text: str) -> Any:
    from engine.config_file import load_config

    (folder / "tamis.toml").write_text(text, encoding="utf-8")
    return load_config(folder / "tamis.toml", overrides=[]).config


def _fresh(cursor: Any) -> None:
    for table in ("segments", "bare"):
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
    cursor.execute("CHECKPOINT")


if __name__ == "__main__":
    print(
        json.dumps(
            load_vs_copy(int(os.environ.get("BENCH_LOAD_ROWS", "1_000_000")), int(os.environ.get("BENCH_TURNS", "3")))
        )
    )

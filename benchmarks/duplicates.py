"""`make bench-duplicates`: what it costs to find the duplicates of many contacts, and how many of them are found.

Contacts are made with duplicates planted among them (`people.py`): typing errors, accents left out, first and last
names that change places, words in another order, other e-mail domains, and missing values. `tamis duplicates find` runs
in a process of its own. Recall is the share of the planted pairs that are listed, precision the share of the listed
pairs that were planted, both for pairs to review and for those that are sure enough to be merged unasked.
BENCH_CONTACTS sets the size.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.end_to_end import DATA
from benchmarks.measure import RESULTS, run_measured, table, write_result
from benchmarks.people import people

CONTACTS = 1_000_000
REVIEW = 0.92
MERGE = 0.95
GOAL_SECONDS = 180.0
CONFIG = f"""\
out = "out"

[[sources]]
name = "log"
path = "log"
[sources.columns]
user_id = "user_id"
event_type = {{ value = "visit" }}
event_time = "at"

[contacts]
path = "contacts.parquet"
user_id = "user_id"

[contacts.duplicates]
exact = ["email"]
compare = {{ last_name = 3, first_name = 2, street = 2, postcode = 1 }}
block = [
    "soundex(last_name)+postcode",
    "first(first_name, 2)+soundex(last_name)",
    "birth_date+first(last_name, 2)",
    "digits(phone, 8)",
]
review = {REVIEW}
merge = {MERGE}
"""


@dataclass(frozen=True)
class Quality:
    """How good a list of pairs is.

    Attributes:
        listed: Pairs in it.
        recall: Share of the planted pairs that are in it.
        precision: Share of its pairs that were planted.
    """

    listed: int
    recall: float
    precision: float


def ensure_contacts(folder: Path, contacts: int) -> None:
    """Make the contacts and the configuration, unless they are in `folder` already; the truth lies beside them."""
    if (folder / "tamis.toml").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    made = people(contacts)
    made.select("user_id", "person").write_parquet(folder / "truth.parquet")
    made.drop("person").write_parquet(folder / "contacts.parquet")
    (folder / "tamis.toml").write_text(CONFIG, encoding="utf-8")


def quality(pairs: pl.DataFrame, truth: pl.DataFrame, least: float) -> Quality:
    """How good the pairs are that have a score or an equal value.

    Args:
        pairs: `user_id`, `other_id`, `kind`, `score`.
        truth: `user_id`, `person`.
        least: The score.
    """
    listed = pairs.filter((pl.col("kind") == "exact") | (pl.col("score") >= least)).select("user_id", "other_id")
    both = listed.join(truth, on="user_id").join(
        truth.rename({"user_id": "other_id", "person": "other"}), on="other_id"
    )
    right = both.filter(pl.col("person") == pl.col("other")).height
    sizes = truth.group_by("person").len()["len"].cast(pl.Int64)
    planted = int((sizes * (sizes - 1) // 2).sum())
    return Quality(listed.height, right / max(1, planted), right / max(1, listed.height))


def bench(contacts: int, folder: Path, results: Path) -> str:
    """Make contacts, find their duplicates, compare with the truth, write `<results>/duplicates.json`; the tables."""
    place = folder / f"duplicates-{contacts}"
    ensure_contacts(place, contacts)
    shutil.rmtree(place / "out", ignore_errors=True)
    code = "from jobs.app import main; main()"
    command = [sys.executable, "-c", code, "duplicates", "find", "-c", str(place / "tamis.toml"), "--json"]
    done = run_measured("tamis duplicates find", command)
    told = json.loads(done.stdout)
    pairs = pl.read_parquet(place / "out" / "_contacts" / "pairs.parquet")
    truth = pl.read_parquet(place / "truth.parquet")
    found = {name: quality(pairs, truth, least) for name, least in (("review", REVIEW), ("merge", MERGE))}
    ratios = {"time_vs_goal": done.measurement.seconds / GOAL_SECONDS}
    write_result(
        "duplicates",
        size={"contacts": contacts, "candidate_pairs": told["compared"]},
        measurements=[done.measurement],
        ratios=ratios,
        folder=results,
        more={
            "pairs": {
                name: {"listed": one.listed, "recall": round(one.recall, 4), "precision": round(one.precision, 4)}
                for name, one in found.items()
            },
            "not_compared": len(told["crowds"]),
        },
    )
    lines = [
        table([done.measurement], ratios),
        "",
        f"{told['compared']:,} candidate pairs, {len(told['crowds']):,} blocks too large",
        *(
            f"{name}: {one.listed:,} pairs, recall {one.recall:.1%}, precision {one.precision:.1%}"
            for name, one in found.items()
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark at the size that the environment asks for."""
    contacts = int(float(os.environ.get("BENCH_CONTACTS", CONTACTS)))
    sys.stdout.write(bench(contacts, Path(os.environ.get("BENCH_DIR", DATA)), RESULTS) + "\n")


if __name__ == "__main__":
    main()

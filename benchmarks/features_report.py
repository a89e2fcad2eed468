"""What the measurements of `benchmarks.features` come to: statistics, ratios, tables."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import RESULTS, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- features: begin -->", "<!-- features: end -->"


@dataclass(frozen=True)
class Summary:
    """The runs of one contender: seconds of the fastest and of the median run, MiB of the largest peak."""

    runs: int
    min_seconds: float
    median_seconds: float
    max_peak_mb: float


@dataclass(frozen=True)
class Section:
    """One log and what was measured on it.

    Attributes:
        size: What the log holds.
        measurements: Every run, in the order in which they were made.
        source_bytes: Of the log's files.
        store_bytes: Of the rollup store, the largest that was seen.
    """

    size: Mapping[str, int]
    measurements: Sequence[Measurement]
    source_bytes: int
    store_bytes: int

    def to_json(self, growth: int = 1) -> dict[str, Any]:
        summaries = summarize(self.measurements)
        store = {"store_vs_source": self.store_bytes / self.source_bytes}
        return {
            "size": dict(self.size),
            "measurements": [asdict(one) for one in self.measurements],
            "ratios": _rounded(ratios(summaries, lambda one: one.median_seconds, growth) | store),
            "ratios_of_minima": _rounded(ratios(summaries, lambda one: one.min_seconds, growth) | store),
            "summary": {what: asdict(one) for what, one in summaries.items()},
            "bytes": {"source": self.source_bytes, "store": self.store_bytes},
        }


def summarize(measurements: Sequence[Measurement]) -> dict[str, Summary]:
    """The summary of each contender, in the order of their first runs."""
    by_name: dict[str, list[Measurement]] = {}
    for one in measurements:
        by_name.setdefault(one.what, []).append(one)
    return {
        what: Summary(
            runs=len(runs),
            min_seconds=min(run.seconds for run in runs),
            median_seconds=round(median(run.seconds for run in runs), 3),
            max_peak_mb=max(run.peak_mb for run in runs),
        )
        for what, runs in by_name.items()
    }


def ratios(summaries: Mapping[str, Summary], seconds: Callable[[Summary], float], growth: int = 1) -> dict[str, float]:
    """Times against each contender that took part, peaks in MiB, and what `growth` times the log costs.

    Args:
        summaries: By name of the contender; `tamis cold` and `tamis daily` must be among them.
        seconds: Which of the times counts.
        growth: Size of the larger log in sizes of this one; 1 when there is none.
    """
    found: dict[str, float] = {}
    for run in ("cold", "daily"):
        ours = summaries[f"tamis {run}"]
        for contender in ("duckdb", "polars", "scan"):
            if contender in summaries:
                found[f"{run}_vs_{contender}"] = seconds(ours) / seconds(summaries[contender])
        found[f"{run}_peak_mb"] = ours.max_peak_mb
    for run, name in (("cold", f"growth_{growth}x"), ("daily", f"growth_{growth}x_daily")):
        small, large = summaries[f"tamis {run}"], summaries.get(f"tamis {run} {growth}x")
        if large is not None:
            found[f"{name}_time"] = seconds(large) / seconds(small)
            found[f"{name}_memory"] = large.max_peak_mb / small.max_peak_mb
    return found


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


def tables(result: Mapping[str, Any]) -> str:
    """The result as Markdown: contenders, ratios, and the same for Complete Journey when it was measured."""
    size, versions = result["size"], result["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("python", "polars", "duckdb") if name in versions)
    log = f"{size['users']:,} users, {size['events']:,} events, {size['days']} days"
    machine = f"{size['turns']} turns on {versions['cpus']} cores; {packages}"
    lines = [f"{result['date']}: {log}, {machine} (`results/features.json`).", "", *_section(result)]
    journey = result.get("complete_journey")
    if journey is not None:
        size = journey["size"]
        lines += ["", f"Complete Journey: {size['rows']:,} rows in {size['files']} files.", "", *_section(journey)]
    return "\n".join(lines)


def _section(section: Mapping[str, Any]) -> list[str]:
    lines = ["| what | fastest s | median s | peak MiB |", "|---|---:|---:|---:|"]
    for what, one in section["summary"].items():
        lines.append(f"| {what} | {one['min_seconds']:.2f} | {one['median_seconds']:.2f} | {one['max_peak_mb']:,.0f} |")
    lines += ["", "| ratio | of medians | of fastest |", "|---|---:|---:|"]
    fastest = section["ratios_of_minima"]
    for name, value in section["ratios"].items():
        form = ",.0f" if name.endswith("_mb") else ".2f"
        lines.append(f"| `{name}` | {value:{form}} | {fastest[name]:{form}} |")
    return lines


def with_tables(page: str, text: str) -> str:
    """`page` with `text` between its two markers.

    Raises:
        ValueError: The page does not have each marker once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        message = f"expected {BEGIN} and, after it, {END}, each once"
        raise ValueError(message)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    """Put the tables of `results/features.json` into the README of the benchmarks, and print them."""
    text = tables(json.loads((RESULTS / "features.json").read_text(encoding="utf-8")))
    README.write_text(with_tables(README.read_text(encoding="utf-8"), text), encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()

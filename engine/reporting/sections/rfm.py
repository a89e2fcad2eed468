"""The RFM grid: recency against frequency."""

from __future__ import annotations

from itertools import product

import polars as pl

from engine.reporting.facts import Facts
from engine.reporting.masking import hidden_rows, without
from engine.reporting.message import Message, Quantity, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.parts import field, money, note, share


def section(facts: Facts) -> Section:
    """People by their scores for recency and frequency."""
    title, grid = say("rfm.title"), facts.now.grid
    if grid is None or grid.is_empty():
        return Section("rfm", "manager", title, missing=say("rfm.missing"))
    table = masked_grid(facts, grid)
    known = table.filter(pl.col("users") > 0)
    if known.is_empty():
        return Section("rfm", "manager", title, missing=say("rfm.nobody", people=facts.min_cell))
    figure = _figure(facts, table, known)
    sentences = tuple(_sentences(facts, known)) or (figure.title,)
    return Section("rfm", "manager", title, sentences, (figure,))


def masked_grid(facts: Facts, grid: pl.DataFrame) -> pl.DataFrame:
    """The cells with both scores, the most recent first; numbers of few people are null.

    A segment of the RFM map is a few cells, and its size is shown: within each, what is hidden must not follow from it.
    """
    cells = grid.filter(pl.col("r_score").is_not_null() & pl.col("f_score").is_not_null())
    cells = cells.sort("r_score", "f_score", descending=[True, False])
    codes = list(zip(cells["r_score"].to_list(), cells["f_score"].to_list(), strict=True))
    regions = _regions(facts)
    groups = [regions.get(code, "") for code in codes]
    hidden = hidden_rows(cells["users"].to_list(), facts.min_cell, groups)
    # People without a purchase have no cell: their number is the rest of all users.
    return without(cells, hidden, [name for name in cells.columns if name not in {"r_score", "f_score"}])


def _regions(facts: Facts) -> dict[tuple[int, int], str]:
    """The segment of each pair of scores, where money does not decide."""
    if facts.bundle is None:
        return {}
    named: dict[tuple[int, int], set[str]] = {}
    for code, name in facts.bundle.segment_table.items():
        named.setdefault((code // 100, code // 10 % 10), set()).add(name)
    return {cell: names.pop() for cell, names in named.items() if len(names) == 1}


def _ends(facts: Facts, known: pl.DataFrame) -> tuple[int, int]:
    edges = None if facts.bundle is None else facts.bundle.rfm_edges
    most = [max(known[name].to_list()) for name in ("r_score", "f_score")]
    return 1, max(most) if edges is None else max(*most, 1)


def _sentences(facts: Facts, known: pl.DataFrame) -> list[Message]:
    low, high = _ends(facts, known)
    said = []
    for key, r, f in (("rfm.top", high, high), ("rfm.fading", low, high), ("rfm.bottom", low, low)):
        found = known.filter((pl.col("r_score") == r) & (pl.col("f_score") == f))
        if not found.is_empty():
            row = found.row(0, named=True)
            said.append(
                say(
                    key,
                    users=row["users"],
                    share=share(row["users"], facts.now.users),
                    value=money(row.get("mean_value")),
                    r=Quantity(r, "ordinal"),
                    f=Quantity(f, "ordinal"),
                )
            )
    return said


def _figure(facts: Facts, table: pl.DataFrame, known: pl.DataFrame) -> Figure:
    top = known.sort("users", "r_score", "f_score", descending=[True, True, True]).row(0, named=True)
    columns = ("user_share", "mean_value", "mean_recency_days")
    there = [name for name in columns if name in table.columns]
    full = _complete(table)
    units = {"user_share": "share", "mean_value": "money", "mean_recency_days": "days"}
    return Figure(
        key="rfm_grid",
        kind="heat",
        title=say(
            "rfm.figure_title",
            users=top["users"],
            share=share(top["users"], facts.now.users),
            r=Quantity(top["r_score"], "ordinal"),
            f=Quantity(top["f_score"], "ordinal"),
        ),
        definition=say("rfm.figure_definition", note=note(facts)),
        table=full.select("r_score", "f_score", "users", *there),
        fields=(
            field("r_score", "ordinal"),
            field("f_score", "ordinal"),
            field("users", "count"),
            *(field(name, units[name]) for name in there),  # type: ignore[arg-type]
        ),
        x="f_score",
        y="r_score",
        colour="users",
        users="users",
    )


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    """A row for each pair of scores, those of nobody too."""
    r_scores, f_scores = (sorted(set(table[name].to_list())) for name in ("r_score", "f_score"))
    pairs = list(product(reversed(r_scores), f_scores))
    schema = {"r_score": table.schema["r_score"], "f_score": table.schema["f_score"]}
    every = pl.DataFrame(pairs, schema, orient="row")
    return every.join(table, on=["r_score", "f_score"], how="left", maintain_order="left")

"""Rows in blocks that a function visits one by one: in memory, or in files that tasks of an executor read.

Every figure of a clustering over all users is a sum over blocks of what a function gives for each: the function and its
argument go to the blocks, small records come back. Whether the blocks are arrays or files, here or on other machines,
the function sees the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from engine.clusters.nearest import Floats
from engine.clusters.units import Whole, whole
from engine.execution.protocol import Executor
from engine.tables import disk

A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Block:
    """Prepared rows, at most some hundred thousand; both arrays may be read-only.

    Attributes:
        rows: Shape (n, d), finite, in whole units (`engine.clusters.units`); column-major is fastest.
        weights: How many times each counts, shape (n,), whole numbers ≥ 0; once when None.
        threads: Threads that a function may use for it.
    """

    rows: Floats
    weights: Whole | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Checks the weights, which may come as floats.

        Raises:
            ValueError: One of them is not whole, or is negative.
        """
        if self.weights is not None:
            object.__setattr__(self, "weights", whole(self.weights))


class Blocks(Protocol):
    """Blocks in a fixed order."""

    @property
    def count(self) -> int:
        """Rows of all blocks."""
        ...

    def map(self, function: Callable[[Block, A], R], argument: A) -> list[R]:
        """What the function gives for each block and the argument, in the order of the blocks.

        Args:
            function: A top-level function; the blocks may be visited in any order and more than once.
            argument: Small and picklable (centroids and settings, never data).
        """
        ...


@dataclass(frozen=True)
class ArrayBlocks:
    """Blocks in memory."""

    blocks: Sequence[Block]

    @property
    def count(self) -> int:
        """Rows of all blocks."""
        return sum(len(block.rows) for block in self.blocks)

    def map(self, function: Callable[[Block, A], R], argument: A) -> list[R]:
        """See `Blocks.map`."""
        return [function(block, argument) for block in self.blocks]


def array_blocks(rows: Floats, weights: Floats | Whole | None = None, threads: int = 1) -> ArrayBlocks:
    """All rows as one block in memory; weights are whole numbers."""
    return ArrayBlocks((Block(rows, None if weights is None else whole(weights), threads),))


@dataclass(frozen=True)
class BlockFile:
    """A block on disk: a .npy file of `rows` rows, column-major floats."""

    path: str
    rows: int


def write_block(rows: Floats, path: Path) -> BlockFile:
    """Write prepared rows, shape (n, d); whoever reads the path sees the whole file or none."""
    with disk.replacing(path) as file:
        np.save(file, np.asfortranarray(rows, dtype=np.float64), allow_pickle=False)
    return BlockFile(str(path), len(rows))


def read_block(file: BlockFile) -> Floats:
    """The rows of a file, shape (n, d), read-only: mapped, so that only what is looked at is read.

    Raises:
        ValueError: The file is not what `write_block` wrote.
    """
    # A file of no rows cannot be mapped.
    rows = np.asarray(np.load(file.path, mmap_mode="r" if file.rows else None, allow_pickle=False))
    if rows.ndim != 2 or rows.dtype != np.float64 or len(rows) != file.rows or not rows.T.flags.c_contiguous:
        message = f"{file.path}: expected {file.rows} column-major rows of floats, got {rows.dtype} {rows.shape}"
        raise ValueError(message)
    return rows


@dataclass(frozen=True, eq=False)
class Visit(Generic[A, R]):
    """One block of a pass, as a task."""

    function: Callable[[Block, A], R]
    argument: A
    file: BlockFile
    threads: int


def visit(task: Visit[Any, R]) -> R:
    """What the function of a pass gives for a block."""
    return task.function(Block(read_block(task.file), threads=task.threads), task.argument)


@dataclass(frozen=True, eq=False)
class FileBlocks:
    """Blocks in files, each of which a task of the executor reads."""

    executor: Executor
    files: Sequence[BlockFile]

    @property
    def count(self) -> int:
        """Rows of all blocks."""
        return sum(file.rows for file in self.files)

    def map(self, function: Callable[[Block, A], R], argument: A) -> list[R]:
        """See `Blocks.map`."""
        return self.executor.map(visit, [Visit(function, argument, file, self.executor.threads) for file in self.files])

"""What is on a disk, and what of it would be left after a power cut."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0
Place = tuple[int, str]


@dataclass
class Change:
    """Names that change together: a rename is one change of a file system with a journal, however many folders."""

    names: dict[Place, int | None]
    needs: list[Change]
    durable: bool = False

    def keep(self) -> None:
        self.durable = True
        for change in self.needs:
            if not change.durable:
                change.keep()


@dataclass
class Content:
    now: bytes = b""
    synced: bytes = b""


@dataclass
class Storage:
    """Folders and files by number, their names, and the changes of names since the beginning.

    A name is durable when its folder was synced after it was given, a file's content when the file was synced.
    A change that came durably brings those before it of the same names and of the same files and folders.
    """

    root: Path
    names: dict[Place, int] = field(default_factory=dict)
    at_first: dict[Place, int] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    count: int = ROOT

    @classmethod
    def of(cls, root: Path) -> Storage:
        """Everything that is there now is taken for durable."""
        storage = cls(root)
        for path in sorted(root.rglob("*")):
            number = storage._new()
            storage.names[storage._place(path)] = number
            if not path.is_dir():
                content = path.read_bytes()
                storage.contents[number] = Content(content, content)
        storage.at_first = dict(storage.names)
        return storage

    def copy(self, root: Path) -> Storage:
        """The same, before any change."""
        assert not self.changes
        contents = {number: Content(content.now, content.synced) for number, content in self.contents.items()}
        return Storage(root, dict(self.names), self.at_first, contents, [], self.count)

    def mkdir(self, path: Path) -> None:
        if self._place(path) not in self.names:
            self._change({self._place(path): self._new()})

    def create(self, path: Path) -> None:
        if self._place(path) not in self.names:
            number = self._new()
            self.contents[number] = Content()
            self._change({self._place(path): number})

    def number(self, path: Path) -> int:
        return self.names[self._place(path)]

    def write(self, number: int, data: bytes) -> None:
        self.contents[number].now += data

    def sync_file(self, number: int) -> None:
        self.contents[number].synced = self.contents[number].now

    def sync_folder(self, path: Path) -> None:
        folder = ROOT if path == self.root else self.number(path)
        for change in self.changes:
            if not change.durable and any(parent == folder for parent, _ in change.names):
                change.keep()

    def rename(self, source: Path, target: Path) -> None:
        first, second = self._place(source), self._place(target)
        self._change({first: None, second: self.names[first]})

    def swap(self, first: Path, second: Path) -> None:
        one, other = self._place(first), self._place(second)
        self._change({one: self.names[other], other: self.names[one]})

    def remove(self, path: Path) -> None:
        self._change({self._place(path): None})

    def write_now(self) -> None:
        """Makes the folder what it is without a power cut."""
        self._write(self.names, {number: content.now for number, content in self.contents.items()})

    def write_after_power_cut(self, chance: random.Random | None = None) -> None:
        """Makes the folder what is left: what is durable, and of the rest nothing, or what chance kept of it."""
        kept = {id(change) for change in self.changes if change.durable}
        if chance is not None:
            lucky = [change for change in self.changes if not change.durable and chance.random() < 0.5]
            kept |= {id(needed) for change in lucky for needed in _with_needs(change)}
        names: dict[Place, int] = dict(self.at_first)
        for change in self.changes:
            if id(change) in kept:
                _apply(change, names)
        contents = {number: content.synced for number, content in self.contents.items()}
        if chance is not None:
            for number, content in self.contents.items():
                if content.synced != content.now:
                    contents[number] = content.now[: chance.randrange(len(content.now) + 1)]
        self._write(names, contents)
        self.names = names
        for number, data in contents.items():
            self.contents[number] = Content(data, data)
        self.at_first, self.changes = dict(names), []

    def _write(self, names: dict[Place, int], contents: dict[int, bytes]) -> None:
        below: dict[int, list[tuple[str, int]]] = {}
        for (parent, name), number in names.items():
            below.setdefault(parent, []).append((name, number))
        shutil.rmtree(self.root, ignore_errors=True)
        waiting = [(self.root, ROOT)]
        while waiting:
            path, number = waiting.pop()
            if number in contents:
                path.write_bytes(contents[number])
            else:
                path.mkdir()
                waiting += [(path / name, child) for name, child in below.get(number, ())]

    def _change(self, names: dict[Place, int | None]) -> None:
        before = {self.names.get(place) for place in names} | set(names.values())
        touched = {number for number in before if number is not None}
        needs = [
            change
            for change in self.changes
            if not change.durable and (change.names.keys() & names.keys() or touched & set(change.names.values()))
        ]
        change = Change(names, needs)
        self.changes.append(change)
        _apply(change, self.names)

    def _new(self) -> int:
        self.count += 1
        return self.count

    def _place(self, path: Path) -> Place:
        number = ROOT
        *parents, name = path.relative_to(self.root).parts
        for parent in parents:
            number = self.names[number, parent]
        return number, name


def _apply(change: Change, names: dict[Place, int]) -> None:
    for place, number in change.names.items():
        names.pop(place, None)
        if number is not None:
            names[place] = number


def _with_needs(change: Change) -> Iterable[Change]:
    yield change
    for needed in change.needs:
        if not needed.durable:
            yield from _with_needs(needed)

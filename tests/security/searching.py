from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

# Protocols 2 to 5 begin with 0x80 and their number; what follows is a frame, or an opcode that makes something.
_PICKLE = re.compile(rb"\x80[\x02-\x05](?:\x95|[\x8c\x8d()\]}cKXUC])")
_TEXT = re.compile(r"[A-Za-z0-9+/=_-]{8,}")


def files_below(*folders: Path) -> list[Path]:
    return [
        path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()
    ]


def holding(word: str, *folders: Path) -> list[Path]:
    """The files that hold a word, plainly or as base64, and those whose name does."""
    needles = [word.encode(), *(base64.b64encode(pad + word.encode())[4:-4] for pad in (b"", b"x", b"xx"))]
    return [
        path
        for path in files_below(*folders)
        if word in path.name or any(needle in path.read_bytes() for needle in needles)
    ]


def is_pickle(content: bytes) -> bool:
    """Whether bytes begin like a pickle, or are a numpy array of pickled objects."""
    return _PICKLE.match(content) is not None or (content.startswith(b"\x93NUMPY") and b"'|O'" in content[:128])


def pickles(*folders: Path) -> Iterator[str]:
    """Files that are pickles, and texts of JSON files that are pickles written as base64."""
    for path in files_below(*folders):
        content = path.read_bytes()
        if is_pickle(content):
            yield str(path)
        if path.suffix in {".json", ".jsonl", ".txt"}:
            for text in _TEXT.findall(content.decode("utf-8", "replace")):
                if is_pickle(_decoded(text)):
                    yield f"{path}: {text[:24]}"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if set(text) & set("-_") else None)
    except ValueError:
        return b""


def as_json(value: object) -> str:
    return json.dumps(value)

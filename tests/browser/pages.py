"""A page in a browser, and what a reader would see there that the text of the page does not show."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LANGUAGES = ("en", "fr")
THEMES = ("light", "dark")

# What a polygon of text covers, upright or slanted; two of them overlap by the least of the overlaps on any side.
_HELPERS = """
const shown = element => element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
const corners = element => {
  const box = element.getBBox(), matrix = element.getScreenCTM();
  return [[0, 0], [1, 0], [1, 1], [0, 1]].map(([right, down]) => {
    const point = new DOMPoint(box.x + right * box.width, box.y + down * box.height).matrixTransform(matrix);
    return [point.x, point.y];
  });
};
const span = (polygon, axis) => {
  const along = polygon.map(([x, y]) => x * axis[0] + y * axis[1]);
  return [Math.min(...along), Math.max(...along)];
};
const axes = polygon => [0, 1].map(place => {
  const [a, b] = [polygon[place], polygon[place + 1]], length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
  return [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
});
const overlap = (one, other) => Math.min(...[...axes(one), ...axes(other)].map(axis => {
  const [from, to] = span(one, axis), [since, until] = span(other, axis);
  return Math.min(to, until) - Math.max(from, since);
}));
const words = element => element.textContent.trim().slice(0, 50);
const symbols = inside => [...inside.querySelectorAll('[role="graphics-symbol"]')]
  .filter(mark => !mark.matches('.role-axis, .role-legend'));
const texts = svg => [...svg.querySelectorAll('text')].filter(text => text.textContent.trim() && shown(text));
const drawings = () => [...document.querySelectorAll('.chart svg')].filter(shown);
"""

_WIDE = """() => {
  const root = document.documentElement;
  const found = root.scrollWidth > root.clientWidth ? [`page: ${root.scrollWidth} > ${root.clientWidth}`] : [];
  for (const element of document.body.querySelectorAll('*:not(svg *)')) {
    if (!shown(element) || element.closest('.scroll, .hidden, svg')) continue;
    const box = element.getBoundingClientRect();
    const cut = element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1;
    const skip = element.classList.contains('skip');
    if (cut || !skip && (box.left < -1 || box.right > root.clientWidth + 1))
      found.push(`${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 50)}`);
  }
  return found;
}"""

_CUT = """() => drawings().flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return texts(svg).filter(text => corners(text).some(([x, y]) =>
    x < box.left - 2 || x > box.right + 2 || y < box.top - 3 || y > box.bottom + 3)
  ).map(text => `${svg.closest('figure').id}: ${words(text)}`);
})"""

_OVERLAPPING = """() => drawings().flatMap(svg => {
  const placed = texts(svg).map(text => [text, corners(text)]), found = [];
  placed.forEach(([one, polygon], place) => placed.slice(place + 1).forEach(([other, second]) => {
    if (overlap(polygon, second) > 4) found.push(`${svg.closest('figure').id}: ${words(one)} | ${words(other)}`);
  }));
  return found;
})"""

_EMPTY = """() => [...document.querySelectorAll('figure')].filter(figure => shown(figure)).filter(figure => {
  const chart = figure.querySelector('.chart');
  if (!chart) return !figure.querySelector('table tbody tr');
  const marks = symbols(chart).filter(shown).filter(mark => {
    const box = mark.getBoundingClientRect();
    return box.width + box.height > 0;
  });
  return !marks.length;
}).map(figure => figure.id)"""

_UNTOLD = """() => drawings().flatMap(svg =>
  symbols(svg).filter(mark => !(mark.querySelector('title')?.textContent.trim()))
    .map(mark => `${svg.closest('figure').id}: ${mark.outerHTML.slice(0, 80)}`))"""

_FAINT = """least => {
  const luminance = colour => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const page = getComputedStyle(document.body).backgroundColor;
  return drawings().flatMap(svg => {
    const cells = symbols(svg)
      .map(mark => [mark.getBoundingClientRect(), getComputedStyle(mark).fill]);
    return texts(svg).filter(text => {
      const box = text.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
      const under = cells.filter(([cell]) => cell.left < x && x < cell.right && cell.top < y && y < cell.bottom);
      const ground = under.length && under.at(-1)[1].startsWith('rgb') ? under.at(-1)[1] : page;
      const [a, b] = [luminance(getComputedStyle(text).fill), luminance(ground)];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < least;
    }).map(text => `${svg.closest('figure').id}: ${words(text)}`);
  });
}"""

_SAID = """() => {
  const named = [...document.querySelectorAll('[title], [aria-label]')].filter(shown)
    .flatMap(element => [element.title, element.ariaLabel]);
  const drawn = drawings().flatMap(svg => [...svg.querySelectorAll('title, text')].map(text => text.textContent));
  return [document.body.innerText, ...named, ...drawn].filter(Boolean).join('\\n');
}"""


@dataclass
class Opened:
    """A file that a browser shows, and what went wrong since it was opened."""

    page: Page
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, browser: Browser, file: Path, *, width: int, height: int, scheme: str) -> Opened:
        """Open a file; whatever it asks for besides pages, says to the console, or fails with is a problem."""
        page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()  # type: ignore[arg-type]
        view = cls(page)
        page.on("console", lambda message: view.problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: view.problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (view.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.is_navigation_request() or view.problems.append(f"request: {request.url}"),
        )
        page.goto(file.resolve().as_uri())
        return view

    def ask(self, script: str, argument: Any = None) -> Any:
        """What a function of the browser's language answers; `_HELPERS` are at hand."""
        return self.page.evaluate(f"argument => {{ {_HELPERS} return ({script})(argument); }}", argument)

    def language(self, language: str) -> None:
        self.page.click(f"label[for=language-{language}]")

    def theme(self, theme: str) -> None:
        self.page.click(f"label[for=theme-{theme}]")

    def said(self) -> str:
        """All that is read, shown on hover, or heard."""
        return str(self.ask(_SAID))

    def too_wide(self) -> list[str]:
        """Elements that do not fit into the page or into themselves."""
        return list(self.ask(_WIDE))

    def cut(self) -> list[str]:
        """Texts of drawings that end outside of them."""
        return list(self.ask(_CUT))

    def overlapping(self) -> list[str]:
        """Pairs of texts of one drawing that cover each other."""
        return list(self.ask(_OVERLAPPING))

    def empty(self) -> list[str]:
        """Figures in which nothing is drawn, and tables without rows."""
        return list(self.ask(_EMPTY))

    def untold(self) -> list[str]:
        """Marks that say nothing on hover."""
        return list(self.ask(_UNTOLD))

    def faint(self, least: float) -> list[str]:
        """Texts of drawings with less contrast against what is under them."""
        return list(self.ask(_FAINT, least))


def chromium() -> Path | None:
    """The browser of this machine."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return None if found is None else Path(found)


@cache
def fragments(language: str, other: str) -> tuple[str, ...]:
    """Parts of the sentences of a language that do not stand in those of the other one."""
    here, there = _texts(language), _texts(other)
    all_there = "\n".join(there.values())
    parts = {max(re.split(r"\{[^{}]*\}|[{}|]", text), key=len).strip() for text in here.values()}
    return tuple(sorted(part for part in parts if len(part) >= 14 and " " in part and part not in all_there))


def _texts(language: str) -> dict[str, str]:
    raw = tomllib.loads((files("engine.reporting") / "texts" / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{head}.{key}": text for head, table in raw.items() for key, text in table.items()}

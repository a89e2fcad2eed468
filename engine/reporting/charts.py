"""Figures as drawings: Vega-Lite specifications, rendered to SVG without a browser (vl-convert, of the Altair project).

Colours are variables of the page (`--series-1`, `--heat-3`, …), so one drawing serves light and dark. Nothing in a
drawing runs or is fetched. Every mark has a title: its numbers, in the words of the language.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from engine.reporting.drawing import LABELS, LETTER, LINE, LINES, Drawing, Width, lines_of
from engine.reporting.model import Figure
from engine.reporting.numbers import THIN, missing_extra, short_day

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.reporting.words import Voice

Spec = dict[str, Any]

SERIES: Final = 8
"""Colours of the page for names: `--series-1` to `--series-8`."""

HEAT: Final = 7
"""Steps of the page's scale for numbers: `--heat-0` to `--heat-6`."""

_HEIGHTS: Final[Mapping[Width, int]] = {"wide": 260, "narrow": 220}
_FONT: Final = "system-ui, sans-serif"
_NAMED: Final = frozenset({"grouped_bars", "stacked_bars"})
"""Kinds with a legend above the numbers alone, not above the names."""

_MANY: Final = 40
"""Dates beyond which the points of a line run into each other."""
_TITLE: Final = {"field": "_title", "type": "nominal"}
_CLIP = re.compile(r"(?<=[\"#])(clip\d+)(?=[\")])")
_MARK = re.compile(r"<(path|rect|circle|text|g)\b([^>]*?)aria-label=\"([^\"]*)\"([^>]*?)(/?)>")
_SIZE = re.compile(r'<svg ([^>]*?)width="(\d+)" height="(\d+)"')


def draw(figure: Figure, voice: Voice, width: Width = "wide") -> str:
    """A figure as an SVG element; empty for a figure of kind `none` or without rows.

    Args:
        figure: What is drawn.
        voice: The language of axes and titles.
        width: For a screen, or for a phone.

    Raises:
        ConfigError: The renderer is not installed.
    """
    if figure.kind == "none" or figure.table.is_empty():
        return ""
    try:
        import vl_convert
    except ImportError as error:
        raise missing_extra("vl-convert-python") from error
    drawing = Drawing(figure, voice, width)
    made = {
        "width": drawing.plot_width,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 4,
        "data": {"values": drawing.rows()},
        "config": _config(drawing),
        **_MAKERS[figure.kind](drawing),
    }
    place = f"{voice.language}-{figure.key}-{width}"
    return _as_element(_CLIP.sub(rf"{place}-\1", _numbered(vl_convert.vegalite_to_svg(made))), voice.put(figure.title))


def _numbered(svg: str) -> str:
    """The drawing with its clips counted from 1: the renderer goes on counting from one drawing to the next."""
    places = {name: f"clip{place}" for place, name in enumerate(dict.fromkeys(_CLIP.findall(svg)), start=1)}
    return _CLIP.sub(lambda found: places[found[0]], svg)


def _as_element(svg: str, title: str) -> str:
    # An image with one name for those who hear the page; the numbers are in the table that follows.
    sized = _SIZE.sub(
        lambda found: f'<svg {found[1]}width="{found[2]}" height="{found[3]}" role="img" aria-label="{escape(title)}"',
        svg,
        count=1,
    )
    return _MARK.sub(_with_title, sized)


def _with_title(found: re.Match[str]) -> str:
    tag, before, label, after, closed = found.groups()
    if any(word in before + after for word in ('"axis"', "legend", "mark container")):
        return found[0]
    opened = f'<{tag}{before}aria-label="{label}"{after}><title>{label}</title>'
    return f"{opened}</{tag}>" if closed else opened


def _config(drawing: Drawing) -> Spec:
    text: Spec = {"labelColor": "var(--ink)", "titleColor": "var(--ink)", "labelFontSize": 12, "titleFontSize": 12}
    text |= {"titleFontWeight": "normal", "labelLimit": LABELS[drawing.width]}
    lines = {"gridColor": "var(--grid)", "domainColor": "var(--axis)", "tickColor": "var(--axis)"}
    return {
        "font": _FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": text | lines,
        "legend": text | _legend(drawing),
        "text": {"color": "var(--ink)", "fontSize": 12},
        "point": {"opacity": 1},
    }


def _legend(drawing: Drawing) -> Spec:
    """As many columns as have room in a wider font than that of the drawing, too."""
    if drawing.figure.colour is None or drawing.figure.kind == "heat":
        return {}
    longest = max(map(len, drawing.order(drawing.figure.colour)))
    inner = drawing.plot_width - (drawing.room(drawing.figure.y) if drawing.figure.kind in _NAMED else 60)
    columns = max(1, int(inner / (longest * LETTER + 40)))
    return {"orient": "top", "columns": columns, "columnPadding": 12 + round(longest * (LETTER - 5.5))}


def _names(drawing: Drawing, column: str) -> Spec:
    """The vertical axis of names, in the order of the table, with room for the longest."""
    axis: Spec = {"ticks": False, "domain": False, "labelPadding": 6, "minExtent": drawing.room(column), "grid": False}
    # Lines are counted from the middle of the first.
    axis |= _in_lines(drawing.wrapped(column), "labelOffset", 0, -LINE / 2)
    return {"field": f"_{column}", "type": "nominal", "sort": drawing.order(column), "title": None, "axis": axis}


def _in_lines(lines: Mapping[str, list[str]], moved: str, start: float, each: float) -> Spec:
    """Names in lines: a property of the axis moves those of more than one, by so much for each more."""
    named = json.dumps(lines)
    conditions = [
        {"test": f"length(({named})[datum.value]) === {count}", "value": start + (count - 1) * each}
        for count in range(2, LINES + 1)
    ]
    text = {"labelExpr": f"({named})[datum.label]", "labelLimit": 0, "labelLineHeight": LINE}
    return {**text, moved: {"condition": conditions, "value": start}}


def _number(drawing: Drawing, column: str, **more: Any) -> Spec:
    """An axis of numbers, written as the language writes them."""
    unit = drawing.field(column).unit
    french = drawing.voice.language == "fr"
    percent = unit in {"share", "points"}
    form = f"format(datum.value{' * 100' if percent else ''}, ',.3~f')"
    if french:
        # The separators are exchanged through a letter that no number has.
        form = f"replace(replace(replace({form}, /\\./g, 'd'), /,/g, '{THIN}'), /d/g, ',')"
    suffix = {"share": f"{THIN}%" if french else "%", "factor": f"{THIN}×"}.get(str(unit), "")
    axis: Spec = {"labelExpr": f"{form} + '{suffix}'", "ticks": False, "domain": False, "titlePadding": 14}
    axis |= {"tickCount": 5 if drawing.width == "wide" else 3, "labelFlush": drawing.figure.kind == "calibration"}
    if unit == "count":
        axis["tickMinStep"] = 1
    return {"field": column, "type": "quantitative", "title": drawing.label(column), "axis": axis, **more}


def _colours(drawing: Drawing, column: str) -> Spec:
    names = drawing.order(column)
    palette = [f"var(--series-{place % SERIES + 1})" for place in range(len(names))]
    scale = {"domain": names, "range": palette}
    return {"field": f"_{column}", "type": "nominal", "title": None, "scale": scale, "sort": names}


def _pointed_out(otherwise: str = "var(--series-1)") -> Spec:
    return {"condition": {"test": "datum._marked", "value": "var(--marked)"}, "value": otherwise}


def _bars(drawing: Drawing) -> Spec:
    figure = drawing.figure
    number = {"field": figure.x, "type": "quantitative", "axis": None, "scale": _scale_of_bars(drawing), "stack": None}
    text = {"text": {"field": f"_{figure.x}", "type": "nominal"}}
    below = f"datum[{json.dumps(figure.x)}] < 0"
    return {
        "height": len(drawing.order(figure.y)) * drawing.row_height(figure.y),
        "encoding": {"y": _names(drawing, figure.y), "x": number, "description": _TITLE},
        "layer": [
            {"mark": {"type": "bar", "height": 16, "cornerRadiusEnd": 2}, "encoding": {"color": _pointed_out()}},
            *(
                {
                    "transform": [{"filter": asked}],
                    "mark": {"type": "text", "align": align, "dx": away, "aria": False},
                    "encoding": text,
                }
                for asked, align, away in ((f"!({below})", "left", 4), (below, "right", -4))
            ),
        ],
    }


def _scale_of_bars(drawing: Drawing) -> Spec:
    """The numbers stand behind the ends of the bars: the longest on each side must have room."""
    values = [(float(value or 0), value) for value in drawing.figure.table[drawing.figure.x].to_list()]
    sides = [
        (
            max((abs(size) for size, _ in values if (size < 0) == below), default=0.0),
            max(
                (len(drawing.shown(drawing.figure.x, value)) for size, value in values if (size < 0) == below),
                default=0,
            ),
        )
        for below in (True, False)
    ]
    texts = [letters * LETTER + 8 if letters else 0 for _, letters in sides]
    inner = drawing.plot_width - drawing.room(drawing.figure.y) - 16
    span = sum(size for size, _ in sides) or 1.0
    unit = span / max(inner - sum(texts), inner / 4)
    (least, _), (most, _) = sides
    return {"domain": [-least - texts[0] * unit, most + texts[1] * unit], "nice": False}


def _grouped_bars(drawing: Drawing) -> Spec:
    figure = drawing.figure
    colours = drawing.order(str(figure.colour))
    return {
        "height": len(drawing.order(figure.y)) * max(14 * len(colours) + 10, drawing.row_height(figure.y)),
        "mark": {"type": "bar"},
        "encoding": {
            "y": _names(drawing, figure.y),
            "yOffset": {"field": f"_{figure.colour}", "type": "nominal", "sort": colours},
            "x": _number(drawing, figure.x, stack=None),
            "color": _colours(drawing, str(figure.colour)),
            "description": _TITLE,
        },
    }


def _stacked_bars(drawing: Drawing) -> Spec:
    figure = drawing.figure
    places = {name: place for place, name in enumerate(drawing.order(str(figure.colour)))}
    rows = [{**row, "_place": places[row[f"_{figure.colour}"]]} for row in drawing.rows()]
    return {
        "height": len(drawing.order(figure.y)) * drawing.row_height(figure.y),
        "data": {"values": rows},
        "mark": {"type": "bar", "height": 18},
        "encoding": {
            "y": _names(drawing, figure.y),
            "x": _number(drawing, figure.x, stack="zero"),
            "color": _colours(drawing, str(figure.colour)),
            "order": {"field": "_place", "type": "quantitative"},
            "description": _TITLE,
        },
    }


def _lines(drawing: Drawing) -> Spec:
    figure = drawing.figure
    days = figure.table[figure.x].dtype.is_temporal()
    rows = drawing.rows()
    if days:
        values = figure.table[figure.x].to_list()
        rows = [
            {**row, f"_{figure.x}": short_day(day, drawing.voice.language)}
            for row, day in zip(rows, values, strict=True)
        ]
    along = list(dict.fromkeys(row[f"_{figure.x}"] for row in rows))
    # Dates are left out rather than slanted; names are all needed.
    fits = days or len(along) * max(map(len, along)) * LETTER < drawing.plot_width
    axis = {"labelAngle": 0 if fits else -40, "labelOverlap": "greedy" if days else False, "labelSeparation": 8}
    x = {"field": f"_{figure.x}", "type": "ordinal", "sort": along, "axis": {**axis, "labelLimit": 0}}
    colour = {"value": "var(--series-1)"} if figure.colour is None else _colours(drawing, figure.colour)
    return {
        "height": _HEIGHTS[drawing.width],
        "data": {"values": rows},
        "encoding": {
            "x": {**x, "title": None if days else drawing.label(figure.x)},
            "y": _number(drawing, figure.y, scale={"zero": True}),
            "color": colour,
            "description": _TITLE,
        },
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2, "aria": False}},
            {"mark": {"type": "point", "filled": True, "size": 45 if len(along) <= _MANY else 10}},
        ],
    }


def _dots(drawing: Drawing) -> Spec:
    figure = drawing.figure
    x = _number(drawing, figure.x, scale={"zero": False, "nice": True})
    point = {
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {"x": x, "color": _pointed_out()},
    }
    layers = [point]
    if figure.low is not None and figure.high is not None:
        span = {"x": {**x, "field": figure.low}, "x2": {"field": figure.high}, "color": _pointed_out()}
        layers.insert(0, {"mark": {"type": "rule", "strokeWidth": 2, "aria": False}, "encoding": span})
    return {
        "height": len(drawing.order(figure.y)) * drawing.row_height(figure.y),
        "encoding": {"y": _names(drawing, figure.y), "description": _TITLE},
        "layer": layers,
    }


def _heat(drawing: Drawing) -> Spec:
    figure, number = drawing.figure, str(drawing.figure.colour)
    values = [value for value in figure.table[number].to_list() if value is not None]
    most, least = max(values, default=0), min([0, *values])

    def step(value: float | None) -> int | None:
        return None if value is None else min(HEAT - 1, int((value - least) / ((most - least) or 1) * HEAT))

    columns, names = drawing.order(figure.x), drawing.order(figure.y)
    size = 12 if drawing.width == "wide" or len(columns) <= 5 else 10
    beside = drawing.room(figure.y) + 32
    numbers_room = (
        max(len(drawing.shown(number, value)) for value in figure.table[number].to_list()) * LETTER * size / 12
    )
    width = max(drawing.plot_width, round(beside + len(columns) * (numbers_room + 6)))
    letters = int((width - beside) / len(columns) / LETTER)
    lines = {name: lines_of(name, max(letters, 1)) for name in columns}
    slanted = any(len(line) > letters or line.endswith("…") for found in lines.values() for line in found)
    if slanted:
        width = round(
            width + min(max(map(len, columns)) * LETTER, LABELS[drawing.width]) * 0.77 * (drawing.width == "narrow")
        )
    # Slanted names end higher and further to the right in a wider font than that of the drawing.
    wider = max(map(len, columns)) * (LETTER - 5) if slanted else 0
    across = {"ticks": False, "domain": False, "grid": False, "orient": "top", "titlePadding": 4 + round(wider * 0.64)}
    across |= {"labelAngle": -40} if slanted else {"labelAngle": 0, **_in_lines(lines, "labelPadding", 4, LINE)}
    shades = {"domain": list(range(HEAT)), "range": [f"var(--heat-{place})" for place in range(HEAT)]}
    # Numbers on the dark end of the scale are written in the colour of the page.
    ink = {"condition": {"test": f"datum._step >= {HEAT - 3}", "value": "var(--heat-ink)"}, "value": "var(--ink)"}
    return {
        "width": width,
        "padding": {"left": 4, "bottom": 4, "top": 4 + round(wider * 0.64), "right": 4 + round(wider * 0.77)},
        "height": len(names) * max(34 if drawing.width == "wide" else 28, drawing.row_height(figure.y)),
        "data": {"values": [{**row, "_step": step(row[number])} for row in drawing.rows()]},
        "encoding": {
            "x": {
                "field": f"_{figure.x}",
                "type": "nominal",
                "sort": columns,
                "title": drawing.label(figure.x),
                "axis": across,
            },
            "y": {**_names(drawing, figure.y), "title": drawing.label(figure.y)},
            "description": _TITLE,
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "var(--page)", "strokeWidth": 2},
                "encoding": {"color": {"field": "_step", "type": "ordinal", "scale": shades, "legend": None}},
            },
            {
                "mark": {"type": "text", "aria": False, "fontSize": size},
                "encoding": {"text": {"field": f"_{number}", "type": "nominal"}, "color": ink},
            },
        ],
    }


def _calibration(drawing: Drawing) -> Spec:
    figure = drawing.figure
    columns = [figure.x, figure.y, *(column for column in (figure.low, figure.high) if column is not None)]
    most = max(float(value or 0) for column in columns for value in figure.table[column].to_list()) or 1
    scale = {"domain": [0, most * 1.05], "nice": False}
    x, y = _number(drawing, figure.x, scale=scale), _number(drawing, figure.y, scale=scale)
    ends = [{figure.x: end, figure.y: end} for end in (0, most * 1.05)]
    layers: list[Spec] = [
        {
            "data": {"values": ends},
            "mark": {"type": "line", "strokeDash": [4, 4], "color": "var(--axis)", "aria": False},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "color": "var(--series-1)"},
            "encoding": {"x": x, "y": y, "description": _TITLE},
        },
    ]
    if figure.low is not None and figure.high is not None:
        span = {"x": x, "y": {**y, "field": figure.low}, "y2": {"field": figure.high}}
        mark = {"type": "rule", "color": "var(--series-1)", "strokeWidth": 1.5, "aria": False}
        layers.insert(1, {"mark": mark, "encoding": span})
    side = min(drawing.plot_width, 420)
    return {"width": side, "height": side - 60, "layer": layers}


_MAKERS: Final[Mapping[str, Callable[[Drawing], Spec]]] = {
    "bars": _bars,
    "grouped_bars": _grouped_bars,
    "stacked_bars": _stacked_bars,
    "lines": _lines,
    "dots": _dots,
    "heat": _heat,
    "calibration": _calibration,
}

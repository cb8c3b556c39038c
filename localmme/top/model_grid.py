"""The grid as a widget: only the rows that are seen are drawn, however many models there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from emulator.printable import printable
from localmme.grid import COLUMNS, MOST_NAMED, Row
from localmme.tables import STYLES, Cell

LEAST_NAME = 16  # characters of a model's name, where there is no more place; the end is shown
GAP = 1


class ModelGrid(ScrollView, can_focus=True):
    """Rows with a cursor."""

    DEFAULT_CSS = "ModelGrid { height: 1fr; scrollbar-size-horizontal: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1000000)", show=False),
        Binding("end,G", "move(1000000)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._names: Sequence[str] = ()
        self._row: Callable[[str], Row] | None = None
        self._instances: Sequence[str] = ()
        self._widths: list[int] = []
        self._cursor = 0
        self._last_drawn: object = None

    @property
    def selected(self) -> Row | None:
        """The row under the cursor; None if there are no rows."""
        return self._row(self._names[self._cursor]) if self._names and self._row is not None else None

    def show(self, instances: Sequence[str], names: Sequence[str], row: Callable[[str], Row] | None) -> None:
        """Show these models from now on, as ``row`` makes them. The cursor stays on its model."""
        before = self._names[self._cursor] if self._names else ""
        self._names, self._row, self._instances = names, row, instances
        if before in names:
            self._cursor = names.index(before)
        self._cursor = min(self._cursor, max(0, len(names) - 1))
        self._widths = self._measured()
        self.virtual_size = Size(sum(width + GAP for width in self._widths), len(names) + 1)
        if (drawn := self._drawn()) != self._last_drawn:  # over ssh, each drawing takes kilobytes
            self._last_drawn = drawn
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the screen; the first is the heading."""
        across, down = self.scroll_offset
        number = y + down - 1
        if y == 0:
            strip = self._strip(self._headings(), Style(bold=True))
        elif number < len(self._names) and self._row is not None:
            is_selected = number == self._cursor and self.has_focus
            strip = self._strip(self._row(self._names[number]).cells(self._has_signs), Style(reverse=is_selected))
        else:
            strip = Strip.blank(self.size.width, self.rich_style)
        return strip.crop_extend(across, across + self.size.width, self.rich_style)

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self._cursor = max(0, min(len(self._names) - 1, self._cursor + by))
        # The heading covers the first line.
        self.scroll_to_region(Region(self.scroll_offset.x, self._cursor, 1, 2), animate=False)
        self.refresh()

    def action_page(self, by: int) -> None:
        """Move the cursor by so many screens."""
        self.action_move(by * max(1, self.size.height - 2))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row that was clicked."""
        if event.y > 0:
            self._cursor = 0
            self.action_move(event.y + self.scroll_offset.y - 1)

    def _drawn(self) -> object:
        """What is seen: equal to itself while nothing of it changes."""
        first = self.scroll_offset.y
        seen = self._names[first : first + self.size.height]
        return self._cursor, self._widths, [*self._instances], [self._row(name) for name in seen if self._row]

    @property
    def _has_signs(self) -> bool:
        return len(self._instances) > MOST_NAMED

    def _headings(self) -> list[str]:
        # Of many instances, the last characters of their names.
        instances = [name[-2:] for name in self._instances] if self._has_signs else self._instances
        return ["target model", *instances, *COLUMNS]

    def _measured(self) -> list[int]:
        """The columns' widths: those of texts that are as long as they can be, and do not jump as they change."""
        longest = max(map(len, self._names), default=0)
        instance = [2] * len(self._instances) if self._has_signs else [max(9, len(each)) for each in self._instances]
        others = [*instance, 9, 6, 4, 8, 6]
        place = self.size.width - sum(width + GAP for width in others) - GAP
        return [max(LEAST_NAME, min(longest, place)), *others]

    def _strip(self, cells: Sequence[str], style: Style) -> Strip:
        segments = []
        left = range(1 + len(self._instances))
        for number, (cell, width) in enumerate(zip(cells, self._widths, strict=True)):
            text = _shortened(printable(cell), width)
            space = " " * (width - cell_len(text))
            text = text + space if number in left else space + text
            own = Style.parse(STYLES[cell.style][0] or "none") if isinstance(cell, Cell) else Style.null()
            segments += [Segment(text, self.rich_style + style + own), Segment(" " * GAP, self.rich_style + style)]
        return Strip(segments)


def _shortened(text: str, width: int) -> str:
    """The end of a text that is too long: names of models differ there."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) > width - 1:
        text = text[1:]
    return f"…{text}"

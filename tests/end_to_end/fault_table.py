"""The fault matrix as a table in Markdown."""

from collections.abc import Mapping
from pathlib import Path

from tests.end_to_end.fault_row import Row
from tests.end_to_end.fault_stage import Moment
from tests.end_to_end.faults import FAULTS

BEGIN, END = "<!-- the table begins -->", "<!-- the table ends -->"


def write_table(path: Path, results: Mapping[tuple[str, Moment], Row | BaseException]) -> None:
    """Put the table in its place in the document. Raises ValueError if that has no place for it."""
    document = path.read_text()
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} does not say where the table begins and ends")
    path.write_text(f"{before}{BEGIN}\n\n{table(results)}\n{END}{after}")


def table(results: Mapping[tuple[str, Moment], Row | BaseException]) -> str:
    """One line for each fault."""
    head = ["", *(moment.value for moment in Moment)]
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [
        _line([fault.name, *(_cell(results[fault.name, moment]) for moment in Moment)]) for fault in FAULTS
    ]
    return "".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(row: Row | BaseException) -> str:
    if isinstance(row, BaseException):
        return "not measured"
    fillers, apologies = row.count("filler"), row.count("apology")
    heard = [f"{fillers} fillers" if fillers > 1 else "filler"] if fillers else []
    heard += ["apology"] if apologies else []
    heard.append("goes on" if row.goes_on else "fallback" if row.fell_back else "lost")
    return f"{', '.join(heard)}: {row.dead_air:.1f} s"

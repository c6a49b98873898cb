"""Which whole dates a text speaks of."""

from __future__ import annotations

import pytest

from tarsd.memory.dates import MAX_DATES, dates_in


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("La caldera se revisó el 4 de mayo de 2026", ["2026-05-04"]),
        ("el 4 de mayo del 2026 y el 3 de enero de 2027", ["2026-05-04", "2027-01-03"]),
        ("on 4 May 2026", ["2026-05-04"]),
        ("on May 4th, 2026", ["2026-05-04"]),
        ("the 1st of June 2026", ["2026-06-01"]),
        ("2026-05-04 and 04/05/2026", ["2026-05-04"]),
        ("5/13/2026", ["2026-05-13"]),
        ("31.12.2026", ["2026-12-31"]),
        ("4 May", []),
        ("32/13/2026 or 2026-02-30", []),
        ("1.2.3.2026", []),
        ("", []),
    ],
)
def test_dates_are_found_with_day_month_and_year(text: str, dates: list[str]) -> None:
    assert dates_in(text) == dates


def test_no_more_than_so_many() -> None:
    assert len(dates_in(" ".join(f"2026-01-{day:02}" for day in range(1, 29)))) == MAX_DATES

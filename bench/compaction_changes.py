"""Makes another memory of one: another number, day or name in it, or the opposite said."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.compaction_texts import Said

_SWAPS = """
Monday/Sunday Tuesday/Friday Wednesday/Monday Thursday/Saturday Mondays/Sundays May/July June/March
September/October December/January lunes/domingo martes/viernes miércoles/lunes jueves/sábado mayo/julio
septiembre/octubre Ana/Eva Tom/Tim Luis/Juan Marta/Berta Maria/Lucia María/Lucía Peter/Paul Pedro/Pablo
Clara/Sara Tomás/Andrés Ruiz/Díaz sister/brother hermana/hermano red/green blue/yellow azul/verde roja/negra
before/after behind/beside under/above second/fourth segundo/cuarto short/long cortas/largas night/noon
English/French español/francés wifi/alarm boiler/oven caldera/lavadora dentist/barber dentista/peluquero
euros/dollars grados/metros degrees/metres monthly/weekly mes/año every/every_other cada/casi_cada
"""
SWAPS = {old: new.replace("_", " ") for old, _, new in (swap.partition("/") for swap in _SWAPS.split())}

_OPPOSITES = """
 is > is not
 are > are not
 must not > must
 must > must not
 may > may not
 needs > does not need
 se > no se
 es > no es
 está > no está
 no puede > puede
 puede > no puede
 works > no longer works
 trabaja > ya no trabaja
 owes > does not owe
 le debe > no le debe
"""
OPPOSITES = [tuple(f" {side.strip()} " for side in line.split(">")) for line in _OPPOSITES.strip().splitlines()]


def substituted(said: Said) -> Iterator[str]:
    """Yield the memory with one thing replaced at a time: a number, a day, a name; and with its opposite."""
    for number in re.finditer(r"\d+", said.text):
        other = str(int(number.group()[-1]) % 9 + 1)
        yield said.text[: number.end() - 1] + other + said.text[number.end() :]
    for word in re.finditer(r"\w+", said.text):
        if word.group() in SWAPS:
            yield said.text[: word.start()] + SWAPS[word.group()] + said.text[word.end() :]
    for old, new in OPPOSITES:
        if old in said.text:
            yield said.text.replace(old, new, 1)
            return

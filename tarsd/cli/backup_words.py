"""What a person reads from `tarsd backup` and `tarsd restore`, in each language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class BackupWords(NamedTuple):
    """The sentences of one language."""

    made: str
    copied: str
    no_copy: str
    no_folder: str
    header: Sequence[str]
    none: str
    sure: str
    yes: str  # the answer that means yes, and its first letter
    not_done: str
    restored: str
    aside: str
    forgotten: str
    next: str


ENGLISH = BackupWords(
    made="{records} records are in {path} ({size}).",
    copied="A copy is in {path}.",
    no_copy="--to copies a backup of this PC only; run it on the PC of that node.",
    no_folder="--to: there is no folder {folder}; nothing was done",
    header=["file", "made", "node", "records", "size", ""],
    none="There are no backups in {folder}. Make one: tarsd backup",
    sure="Put the backup of {name} from {at} ({records} records) in the place of the records of this PC? [yes/no] ",
    yes="yes",
    not_done="Nothing was done.",
    restored="{records} records of {at} are restored.",
    aside="The records that were here are in {path}. When all is well, you may delete it; what was forgotten may stand "
    "in it.",
    forgotten="{count} texts of the backup were forgotten since; they stay forgotten.",
    next="Start tarsd again: what was written since then comes back from the other PCs.",
)

SPANISH = BackupWords(
    made="Hay {records} registros en {path} ({size}).",
    copied="Hay una copia en {path}.",
    no_copy="--to copia solo una copia de seguridad de este PC; úselo en el PC de ese nodo.",
    no_folder="--to: no hay ninguna carpeta {folder}; no se ha hecho nada",
    header=["fichero", "hecha", "nodo", "registros", "tamaño", ""],
    none="No hay copias de seguridad en {folder}. Haga una: tarsd backup",
    sure="¿Poner la copia de {name} del {at} ({records} registros) en lugar de los registros de este PC? [sí/no] ",
    yes="sí",
    not_done="No se ha hecho nada.",
    restored="Se han restaurado {records} registros del {at}.",
    aside="Los registros que había están en {path}. Cuando todo vaya bien puede borrarlo; lo olvidado puede seguir "
    "en él.",
    forgotten="{count} textos de la copia se olvidaron después; siguen olvidados.",
    next="Inicie tarsd de nuevo: lo escrito desde entonces vuelve de los otros PC.",
)

_BY_CODE = {"en": ENGLISH, "es": SPANISH}


def backup_words(code: str) -> BackupWords:
    """Return the words in a language that `cli.language` knows."""
    return _BY_CODE.get(code, ENGLISH)

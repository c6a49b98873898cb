"""What a person reads from `tarsd memory`, in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class MemoryWords(NamedTuple):
    """The sentences of one language."""

    list_header: Sequence[str]
    kinds: Mapping[str, str]
    sorts: Mapping[str, str]
    scopes: Mapping[str, str]
    nothing: str
    more: str
    degraded: str
    fields: Mapping[str, str]
    evidence: Mapping[str, str]
    nobody: str
    saved: str
    known: str
    changed: str
    contradicts: str
    copies: str
    few_copies: str
    would_forget: str
    sure: str
    yes: str
    not_done: str
    receipt: str
    removed_header: Sequence[str]
    states: Mapping[str, str]
    whole: str
    not_whole: str
    backups: str
    damaged: str
    no_receipts: str
    more_keys: str
    receipts_header: Sequence[str]
    exported: str
    exists: str
    import_done: str
    import_preview: str
    import_cut: str
    import_line: str
    import_others: str
    projects_header: Sequence[str]
    no_projects: str
    project_saved: str
    household: str
    diary_header: Sequence[str]
    diary_empty: str
    undone: str
    undo_sure: str
    undo_done: str
    undo_kept: str
    automatic_on: str
    automatic_off: str
    automatic_not_allowed: str
    conversations_header: Sequence[str]
    no_conversations: str


ENGLISH = MemoryWords(
    list_header=["key", "kind", "whose", "when", "what"],
    kinds={"memory": "memory", "summary": "summary"},
    sorts={"fact": "fact", "instruction": "instruction", "preference": "preference"},
    scopes={"person": "mine", "project": "project", "household": "household"},
    nothing="Nothing is remembered that fits.",
    more="{shown} of {total}; --offset {next} shows more.",
    degraded="not at its best: {reason}",
    fields={
        "key": "key",
        "sort": "sort",
        "scope": "whose",
        "person": "person",
        "project": "project",
        "tags": "tags",
        "keywords": "keywords",
        "dates": "speaks of",
        "valid_from": "true from",
        "valid_until": "true until",
        "made_at": "learned",
        "made_by": "by",
        "replaced_by": "replaced by",
        "contradicts": "in place of",
    },
    evidence={"title": "learned from", "conversation": "a conversation", "document": "document", "keys": "memories"},
    nobody="whoever sits at a PC",
    saved="Remembered as {key}.",
    known="That was known already, as {key}.",
    changed="Changed: {key}.",
    contradicts="It takes the place of {key}: {text}",
    copies="On {copies} PCs.",
    few_copies="On {copies} of {wanted} PCs so far: {reason}",
    would_forget="This would be forgotten, for good, on every PC:",
    sure="Forget it? [yes/no] ",
    yes="yes",
    not_done="Nothing was done.",
    receipt="Forgotten. Receipt {receipt}:",
    removed_header=["node", "state", "texts", "vectors", "keywords", "cached", "conversations", "remark"],
    states={"done": "gone", "pending": "is away; when it returns", "failed": "failed"},
    whole="Every PC that was ever seen has obeyed.",
    not_whole="Not yet everywhere; `tarsd memory receipts {receipt}` says how it stands.",
    backups="still in backups until they are pruned: {files}",
    damaged="may still be in: {files}",
    no_receipts="Nothing was forgotten.",
    more_keys="… and {count} more",
    receipts_header=["receipt", "when", "gone everywhere", "what"],
    exported="{count} entries are in {file}.",
    exists="--output: {file} is there already",
    import_done="{new} taken in, {known} known already, {refused} refused.",
    import_preview="{new} would be taken in, {known} are known already, {refused} would be refused.",
    import_cut="The file was cut off: its last line is missing.",
    import_line="line {line}: {field}: {reason}",
    import_others="… and {count} more lines",
    projects_header=["id", "name", "whose", "began", "ended", "memories", "summaries"],
    no_projects="There are no projects.",
    project_saved="Project {name}: {id}.",
    household="household",
    diary_header=["id", "when", "job", "node", "what"],
    diary_empty="The nightly jobs have changed nothing so far.",
    undone="undone",
    undo_sure='Undo "{what}"? [yes/no] ',
    undo_done="Undone: {count} records are back.",
    undo_kept="Changed or forgotten since, and left as it is: {keys}",
    automatic_on="TARS learns about you by itself.",
    automatic_off="TARS learns nothing about you by itself; what you ask it to remember it still does.",
    automatic_not_allowed="The configuration of this PC lets nobody be learned about ([memory] automatic).",
    conversations_header=["id", "last", "exchanges", "what"],
    no_conversations="No conversation is remembered now.",
)

SPANISH = MemoryWords(
    list_header=["clave", "tipo", "de quién", "cuándo", "qué"],
    kinds={"memory": "recuerdo", "summary": "resumen"},
    sorts={"fact": "hecho", "instruction": "instrucción", "preference": "preferencia"},
    scopes={"person": "mío", "project": "proyecto", "household": "hogar"},
    nothing="No se recuerda nada que encaje.",
    more="{shown} de {total}; --offset {next} muestra más.",
    degraded="no está al completo: {reason}",
    fields={
        "key": "clave",
        "sort": "clase",
        "scope": "de quién",
        "person": "persona",
        "project": "proyecto",
        "tags": "etiquetas",
        "keywords": "palabras clave",
        "dates": "habla de",
        "valid_from": "cierto desde",
        "valid_until": "cierto hasta",
        "made_at": "aprendido",
        "made_by": "por",
        "replaced_by": "sustituido por",
        "contradicts": "en lugar de",
    },
    evidence={
        "title": "aprendido de",
        "conversation": "una conversación",
        "document": "documento",
        "keys": "recuerdos",
    },
    nobody="quien esté ante un PC",
    saved="Recordado como {key}.",
    known="Ya se sabía, como {key}.",
    changed="Cambiado: {key}.",
    contradicts="Ocupa el lugar de {key}: {text}",
    copies="En {copies} PC.",
    few_copies="De momento en {copies} de {wanted} PC: {reason}",
    would_forget="Esto se olvidaría, para siempre, en todos los PC:",
    sure="¿Olvidarlo? [sí/no] ",
    yes="sí",
    not_done="No se ha hecho nada.",
    receipt="Olvidado. Recibo {receipt}:",
    removed_header=["nodo", "estado", "textos", "vectores", "palabras", "en caché", "conversaciones", "nota"],
    states={"done": "borrado", "pending": "ausente; cuando vuelva", "failed": "fallido"},
    whole="Han obedecido todos los PC que se han visto alguna vez.",
    not_whole="Aún no en todas partes; `tarsd memory receipts {receipt}` dice cómo va.",
    backups="sigue en copias de seguridad hasta que se eliminen: {files}",
    damaged="puede seguir en: {files}",
    no_receipts="No se ha olvidado nada.",
    more_keys="… y {count} más",
    receipts_header=["recibo", "cuándo", "borrado en todas partes", "qué"],
    exported="Hay {count} entradas en {file}.",
    exists="--output: {file} ya existe",
    import_done="{new} incorporadas, {known} ya conocidas, {refused} rechazadas.",
    import_preview="Se incorporarían {new}, {known} ya se conocen, se rechazarían {refused}.",
    import_cut="El archivo está cortado: le falta la última línea.",
    import_line="línea {line}: {field}: {reason}",
    import_others="… y {count} líneas más",
    projects_header=["id", "nombre", "de quién", "empezó", "acabó", "recuerdos", "resúmenes"],
    no_projects="No hay proyectos.",
    project_saved="Proyecto {name}: {id}.",
    household="hogar",
    diary_header=["id", "cuándo", "tarea", "nodo", "qué"],
    diary_empty="Las tareas nocturnas no han cambiado nada hasta ahora.",
    undone="deshecho",
    undo_sure="¿Deshacer «{what}»? [sí/no] ",
    undo_done="Deshecho: han vuelto {count} registros.",
    undo_kept="Cambiado u olvidado después, y dejado como está: {keys}",
    automatic_on="TARS aprende sobre ti por su cuenta.",
    automatic_off="TARS no aprende nada sobre ti por su cuenta; lo que le pidas recordar, sí.",
    automatic_not_allowed="La configuración de este PC no deja aprender sobre nadie ([memory] automatic).",
    conversations_header=["id", "última", "intercambios", "qué"],
    no_conversations="Ahora no se recuerda ninguna conversación.",
)

WORDS = {"en": ENGLISH, "es": SPANISH}

"""What a person reads from ask, chat and ingest, in each language; a new language is one more `Texts`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple


class Texts(NamedTuple):
    """The sentences of one language."""

    code: str
    sources: str
    page: str
    answered_by: str
    prepared_by: str
    degraded: str
    limits: Mapping[str, str]
    stopped: str
    cut: str
    moved: str
    remembered: str
    chat_welcome: str
    chat_temporary: str
    chat_help: str
    chat_new: str
    chat_bye: str
    chat_lost: str
    uploading: str
    stages: Mapping[str, str]
    file: str
    result: str
    pages: str
    passages: str
    reason: str
    nothing: str
    missing: str
    unreadable: str
    summary: str


ENGLISH = Texts(
    code="en",
    sources="Sources",
    page="page",
    answered_by="answered by {node} ({model}) in {seconds:.1f} s",
    prepared_by="prepared by {node}",
    degraded="not at its best: {reason}",
    limits={
        "max_tokens": "the answer was ended at its length limit",
        "context": "the answer was ended: the model can hold no more text at once",
        "deadline": "the answer was ended: its time ran out",
    },
    stopped="(stopped)",
    cut="the answer was cut off: {reason}",
    moved="{lost} does not answer; {node} goes on.",
    remembered="Remembered",
    chat_welcome="Chat with {node}. Ctrl-C stops an answer, Ctrl-D ends the chat, /help shows more.",
    chat_temporary="Temporary chat: nothing of it is remembered or written.",
    chat_help="/new  start a new conversation\n/quit end the chat",
    chat_new="A new conversation.",
    chat_bye="Goodbye.",
    chat_lost="The connection was lost: {reason}",
    uploading="uploading",
    stages={
        "queued": "waiting",
        "parsing": "reading",
        "embedding": "indexing",
        "done": "done",
        "duplicate": "known already",
        "failed": "failed",
    },
    file="file",
    result="result",
    pages="pages",
    passages="passages",
    reason="reason",
    nothing="there is nothing to read in {path} (PDF, text or Markdown)",
    missing="there is no such file",
    unreadable="cannot be read: {reason}",
    summary="{good} of {all} documents are in.",
)

SPANISH = Texts(
    code="es",
    sources="Fuentes",
    page="página",
    answered_by="respondido por {node} ({model}) en {seconds:.1f} s",
    prepared_by="preparado por {node}",
    degraded="no está al completo: {reason}",
    limits={
        "max_tokens": "la respuesta terminó en su límite de longitud",
        "context": "la respuesta se cortó: al modelo no le cabe más texto a la vez",
        "deadline": "la respuesta se cortó: se acabó su tiempo",
    },
    stopped="(detenido)",
    cut="la respuesta se ha cortado: {reason}",
    moved="{lost} no responde; sigue {node}.",
    remembered="Recordado",
    chat_welcome="Chat con {node}. Ctrl-C detiene una respuesta, Ctrl-D termina, /help muestra más.",
    chat_temporary="Chat temporal: no se recuerda ni se escribe nada de él.",
    chat_help="/new  empezar otra conversación\n/quit terminar",
    chat_new="Una conversación nueva.",
    chat_bye="Hasta luego.",
    chat_lost="Se ha perdido la conexión: {reason}",
    uploading="enviando",
    stages={
        "queued": "en espera",
        "parsing": "leyendo",
        "embedding": "indexando",
        "done": "hecho",
        "duplicate": "ya conocido",
        "failed": "fallido",
    },
    file="archivo",
    result="resultado",
    pages="páginas",
    passages="pasajes",
    reason="motivo",
    nothing="no hay nada que leer en {path} (PDF, texto o Markdown)",
    missing="no existe ese archivo",
    unreadable="no se puede leer: {reason}",
    summary="{good} de {all} documentos están dentro.",
)

_BY_CODE = {texts.code: texts for texts in (ENGLISH, SPANISH)}


def texts_for(wanted: str | None, environ: Mapping[str, str] = os.environ) -> Texts:
    """Return the texts in the wanted language, else in that of the environment, else in English."""
    named = wanted or environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return _BY_CODE.get(named[:2].lower(), ENGLISH)

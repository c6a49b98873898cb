"""A person's name, in the one form in which names are kept and compared. Pure.

"Ana" and "ana" are one person, however an accent is typed.
"""

from __future__ import annotations

import re
import unicodedata

from tarsd.errors import InvalidInput

MAX_PERSON_CHARACTERS = 64
_PERSON = re.compile(r"[^\W_](?:[\w .'-]*[\w.])?\Z")


def person_name(text: str, field: str) -> str:
    """Return a person's name in the form that is kept and compared; raises `InvalidInput` naming `field`."""
    name = unicodedata.normalize("NFC", " ".join(text.split()).casefold())
    if len(name) > MAX_PERSON_CHARACTERS or not _PERSON.match(name):
        raise InvalidInput(
            f"{field}: {text[:MAX_PERSON_CHARACTERS]!r} is no name of a person: 1 to {MAX_PERSON_CHARACTERS} letters, "
            "digits, spaces, or any of . _ - ', a letter or digit first"
        )
    return name

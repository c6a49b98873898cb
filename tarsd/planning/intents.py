"""Whether a message asks that something be remembered, forgotten or told, in English and Spanish. Pure.

What is taken for a wish is carried out without a model, so only plain commands count; a question ("do you remember
that film?"), a report ("I forgot that ..."), a reminder ("remember to buy milk") and a figure of speech ("forget it")
do not.

Rules
1. A command stands first, after a greeting, the assistant's name or "please"; as a question only politely ("can you").
   "..., remember that" stands last, behind the statement that it is about.
2. "Remember that ..." needs its "that" or a colon, or a statement behind it; with "to" it is a reminder.
3. A standing wish says that it stands: "always", "never", "from now on", what to be called by, or nothing but to be
   brief. It is an instruction; so is what one "remembers" of how to answer. What somebody must not eat counts as a
   preference, since no search finds it when it matters.
4. "Forget ..." names a thing. What was just said, instructions, and what goes on after a comma are figures of speech.
5. "delete ..." is meant for the memory only when it says so.
   It is for good, so what may as well say that somebody does not know something ("don't remember where ...") is none.
6. "for everybody" gives a memory to the household, whoever says it; it stands by the command, or apart at the end.
   Within what is told ("a surprise for the whole family") it says nothing of who is to know.
7. What begins with a quotation is about it. A question mark counts where it ends something, not within a password.
8. "What do you know about me?" is a question to the memory as a whole, which no search finds; with any other thing at
   its end it is one for the model.
9. "Remember that ... . And what ...?" is both, where the command says that it is for later: "note that" and "keep in
   mind that" before a question give it its conditions.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tarsd.memory.bodies import Sort

MAX_WORDS = 600  # a longer text is material, not a wish
MAX_CHARACTERS = 8000
_RUN = re.compile(r"[\s.,;:!?¿¡()–—-]{30}")  # nobody writes that, and the patterns below would take minutes
MAX_FORGET_WORDS = 40
MAX_FORGET_CHARACTERS = 600
MAX_NOTE_WORDS = 40  # "note that" opens many a pasted text


class Remember(NamedTuple):
    """Something to remember; `for_all`: it is to be the household's."""

    text: str
    sort: Sort = "fact"
    for_all: bool = False


class Forget(NamedTuple):
    """Something to forget: what `what` names, this conversation, or all that is known of the person."""

    what: str
    which: Literal["matching", "conversation", "everything"] = "matching"


class Tell(NamedTuple):
    """All that is remembered is to be told; not an empty tuple, which would be no wish in a condition."""

    what: Literal["everything"] = "everything"


Intent = Remember | Forget | Tell


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.VERBOSE | re.DOTALL)


_OPENING = _pattern(
    r"^[\s¿¡\"]*(?:(?:please|hey|hi|hello|ok(?:ay)?|tars|oye|hola|por\s+favor|vale|y|and|also|adem[aá]s|"
    r"bueno)[\s,!:.]+)*"
)
_POLITE = _pattern(
    r"^(?:can|could|would|will)\s+you\s+(?:please\s+)?|^(?:me\s+)?(?:puedes|podr[ií]as|quieres|"
    r"te\s+importa)\s+(?:por\s+favor\s+)?|"
    r"^(?:i\s+want|i'd\s+like|i\s+would\s+like|i\s+need)\s+you\s+to\s+|^quiero\s+que\s+"
)
_CLOSING = _pattern(r"(?:^|[\s,]+|(?<=[.!?]))(?:please|por\s+favor|gracias|thanks?(?:\s+you)?|ok(?:ay)?|vale)[\s.!?]*$")
_EVERYBODY = (
    r"(?:for\s+(?:everybody|everyone|all\s+of\s+us|the\s+(?:whole\s+)?(?:house(?:hold)?|family))|"
    r"para\s+(?:tod[oa]s|toda\s+la\s+(?:casa|familia)|la\s+(?:casa|familia)))\b"
)
_FOR_ALL = _pattern(
    rf"^{_EVERYBODY}\s*[,:]?\s*|^(?P<command>(?:(?!que\b|that\b)[\w'’]+\s+){{1,3}}?){_EVERYBODY}\s*,?\s*"
    rf"(?=(?:(?:de\s+)?que|(?:of\s+)?that|the|my|our)\b|:)|\s*[,.;(–—]\s*{_EVERYBODY}[\s.!)]*$"
)

_REMEMBER = _pattern(
    r"^(?:recu[eé]rda(?:te)?|recordar|recuerdes|acu[eé]rdate|acordarte|te\s+acuerdes|memori[cz]a(?:r)?|"
    r"ap[uú]nta(?:te)?|apuntar|apuntes|an[oó]ta(?:te)?|anotar|toma\s+nota|tomar\s+nota|ten\s+(?:en\s+cuenta|"
    r"presente)|gu[aá]rda(?:te)?|"
    r"no\s+(?:te\s+)?olvides|que\s+no\s+se\s+te\s+olvide|remember|memori[sz]e|note|make\s+a\s+note|"
    r"take\s+(?:a\s+)?note|"
    r"keep\s+in\s+mind|bear\s+in\s+mind|don't\s+forget|do\s+not\s+forget)"
    r"(?:\s+(?:de\s+)?que\b|\s+(?:of\s+)?that\b|\s+(?:esto|this|lo\s+siguiente|the\s+following)\s*[:,]|"
    r"\s*:)\s*(?P<text>.+)$"
)
_NOTE = _pattern(r"^note\s+that\b")
# "that" may be left out before a statement; "remember that film" is none, "remember the key is blue" is one
_BARE = _pattern(
    r"^(?:remember|don't\s+forget|recuerda|apunta|anota)[\s,]+(?P<text>(?:my|our|i|i'm|we|we're|the|mi|"
    r"nuestr[oa])\b(?!\s*$).+)$"
)
_STATED = _pattern(
    r"\b(?:is|are|am|'m|'re|was|were|has|have|likes?|lives?|hates?|prefers?|works?|es|est[aá]n?|son|tiene|tengo|"
    r"soy|vivo|vivimos|se\s+llama|me\s+llamo)\b|\w's\s"
)
_BEHIND = _pattern(
    r"^(?P<text>.+?)(?:,|[.;!])\s*(?:y\s+|and\s+|so\s+)?(?:(?:please\s+|por\s+favor,?\s+)?(?:remember|don't\s+forget|"
    r"do\s+not\s+forget|recuerda)\s+(?:that|this|it|eso|esto)|recu[eé]rdalo|no\s+lo\s+olvides|ap[uú]ntalo|"
    r"an[oó]talo)[\s.!]*$"
)
_THAT_THING = _pattern(r"^(?:film|movie|time|day|song|book|one|night|trip|guy|girl|place|story|thing|question|joke)\b")

_FROM_NOW = _pattern(
    r"^(?:from\s+now\s+on|from\s+today(?:\s+on)?|a\s+partir\s+de\s+(?:ahora|hoy)|desde\s+(?:ahora|hoy)|"
    r"de\s+ahora\s+en\s+adelante|"
    r"en\s+adelante)[\s,:]+(?P<text>.+)$"
)
_TO_THE_ASSISTANT = _pattern(
    r"^(?:please\s+|por\s+favor,?\s+)?(?:always\s+|never\s+|siempre\s+|nunca\s+|don't\s+|do\s+not\s+|"
    r"no\s+)?(?:me\s+)?(?:answers?|reply|"
    r"respond|speak|talk|write|call\s+(?:me|us)|use|be|keep|give|explain|address|respond(?:e|eme|as|er)|"
    r"resp[oó]ndeme|contest(?:a|es|ar)|"
    r"cont[eé]stame|habl(?:a|es|ar)|h[aá]blame|escrib(?:e|as|ir)|escr[ií]beme|ll[aá]ma(?:me|nos)|llames|"
    r"tr[aá]ta(?:me|nos)|trates|"
    r"tut[eé]a(?:me)?|usa|uses|usar|s[eé]|da(?:me)?|des|explica(?:me)?|expliques)\b"
)
_ANSWER = (
    r"(?:answers?|reply|respond|speak|talk|responde|resp[oó]ndeme|contesta|cont[eé]stame|h[aá]bla(?:me)?|"
    r"tr[aá]ta(?:me|nos)|tut[eé]a(?:me)?)"
)
_WRITE = r"(?:write|use|explain|escr[ií]be(?:me)?|usa)"
# "always" stands by the command: "explain why the sky is always blue" is a question
_STANDING = _pattern(
    rf"^(?:please\s+)?(?:(?:always|never|siempre|nunca)\s+(?:{_ANSWER}|{_WRITE}|no\s+me\s+\w+s)\b.*|"
    rf"(?:{_ANSWER}|{_WRITE})\s+(?:(?:to\s+)?(?:me|us|nos)\s+)?(?:always|siempre|nunca)\b.*|"
    rf"{_ANSWER}\s+(?!(?:about|of|on|why|how|what|de|del|sobre|por|a|to)\b).*\b(?:always|siempre)[\s.!]*|"
    r"no\s+me\s+(?:respondas|contestes|hables|escribas|llames|trates|tutees)\b.*\b(?:nunca|siempre|jam[aá]s)\b.*)$"
)
_BRIEF = _pattern(
    r"^(?:(?:please|just)\s+)?(?:(?:answer|reply|respond|responde|resp[oó]ndeme|contesta|cont[eé]stame)\s+(?:me\s+)?"
    r"(?:more\s+|m[aá]s\s+)?(?:briefly|concisely|shortly|in\s+short(?:\s+sentences)?|brevemente|breve|con\s+brevedad)|"
    r"(?:be|s[eé])\s+(?:more\s+|m[aá]s\s+)?(?:brief|concise|breve|concis[oa])|"
    r"keep\s+(?:your|the)\s+answers\s+(?:short|brief|concise))"
    r"(?:,?\s+(?:from\s+now\s+on|a\s+partir\s+de\s+ahora|de\s+ahora\s+en\s+adelante))?[\s.!]*$"
)
_CALLED = _pattern(
    r"^(?:call\s+(?:me|us)|ll[aá]ma(?:me|nos)|llamarme|"
    r"you\s+can\s+call\s+me)\s+[\"'“«]?(?P<name>[^\W\d_][\w'’-]*(?:\.?\s+[A-ZÁÉÍÓÚÑ][\w'’-]*)*)"
    r"[\s.!\"'”»]*$"
)
_NO_NAMES = (
    "a an the back later tomorrow tonight today now soon again when if at on in after before crazy maybe asap luego "
    "mañana manana tarde después despues cuando si al en por un una el la hoy ahora pronto ya cada"
)
_NO_NAME = frozenset(_NO_NAMES.split())
_HOW_TO_ANSWER = _pattern(
    r"\b(?:answers|replies|responses|respuestas|respondas|contestes|me\s+(?:hables|llames|trates)|call\s+me|tutees)\b|"
    r"\byou\s+(?:to\s+)?(?:answer|reply|speak|call)\b"
)
_DIET = _pattern(
    r"\b(?:vegetarian[oa]?|vegan[oa]?|al[eé]rgic[oa]|allergic|cel[ií]ac[oa]|coeliac|celiac|intoleran(?:t|te)|diab[eé]tic[oa]?)\b"
)

_FORGET = _pattern(
    r"^(?:olv[ií]da(?:te)?|olvidar|olvides|olvidarte|forget)\b\s*(?P<about>(?:de\s+que|que|"
    r"lo\s+que\s+(?:te\s+)?(?:he\s+dicho|dije|sabes|recuerdas)\s+"
    r"(?:de|del|sobre)|(?:todo\s+)?lo\s+de|todo\s+lo\s+que\s+sabes\s+(?:de|del|sobre)|de|del|that|about|"
    r"(?:todo|cualquier\s+cosa)\s+(?:de|del|sobre)(?!\s+m[ií]\b[\s.!]*$)|"
    r"(?:everything|anything|all)\s+about(?!\s+me\b[\s.!]*$)|"
    r"(?:everything|what|all)\s+"
    r"(?:that\s+)?(?:i\s+(?:said|told\s+you)|you\s+know)\s+about)\b)?\s*(?P<what>.*)$"
)
_ERASE = _pattern(
    r"^(?:borra(?:r)?|b[oó]rrate|elimina(?:r)?|quita(?:r)?|saca|delete|erase|remove|drop|"
    r"wipe)\s+(?P<what>.+?)\s+(?:de\s+(?:tu|la)\s+memoria|"
    r"de\s+lo\s+que\s+(?:sabes|recuerdas)|from\s+(?:your\s+|the\s+)?memor(?:y|ies))[\s.!?]*$"
)
_STOP = _pattern(
    r"^(?:deja\s+de\s+recordar|no\s+recuerdes\s+m[aá]s|ya\s+no\s+recuerdes|stop\s+remembering|"
    r"don't\s+remember(?=.*\bany\s?more[\s.!]*$))\s+(?:que\s+|that\s+)?(?P<what>.+?)(?:\s+(?:any\s?more|ya))?[\s.!?]*$"
)
_CONVERSATION = _pattern(
    r"^(?:de\s+)?(?:esta|this|nuestra|our|the|la)\s+(?:conversaci[oó]n|charla|conversation|chat)|^este\s+chat|"
    r"^(?:lo|todo\s+lo)\s+que\s+hemos\s+hablado|^(?:everything|what)\s+we\s+(?:talked|spoke)\s+about"
)
_EVERYTHING = _pattern(
    r"^(?:todo|everything|all)(?:\s+(?:lo\s+que\s+sabes|(?:that\s+)?you\s+know|tus\s+recuerdos|your\s+memories|"
    r"about\s+me|"
    r"(?:de|sobre)\s+m[ií]))*[\s.!]*$|^(?:todos\s+tus\s+recuerdos|all\s+(?:of\s+)?your\s+memories|"
    r"toda\s+tu\s+memoria|me|mi|m[ií])[\s.!]*$"
)
_FIGURE = _pattern(
    r"^(?:it|lo|that|this|eso|esto|ello|about\s+it)?[\s.!]*$|^(?:lo\s+que|what)\s|^(?:to|how|when|where|why|c[oó]mo|"
    r"cu[aá]ndo|a(?!\s+(?-i:[A-ZÁÉÍÓÚÑ]))|que)\s|"
    r"^(?:comprar|hacer|llamar|ir|poner|traer|sacar|mirar|decir|cerrar|abrir)(?:le|lo|la)?\s|"
    r"\b(?:instruc(?:tions?|ciones|ci[oó]n)|prompt|rules|reglas|above|anterior(?:es)?|previous|lo\s+anterior)\b"
)
_ALL_THE_SAME = _pattern(  # "forget that, tell me the time"
    r"^(?:(?:it|this|that|eso|esto|ello|lo)\b\s*)?(?:[,.;:!–—-]|(?:and|but|now|then|just|y|pero|ahora|mejor)\b)"
)
_TELL = _pattern(
    r"^(?:(?:and\s+|so\s+)?what\s+(?:(?:all|else|exactly)\s+)?do\s+you\s+(?:know|remember)|"
    r"(?:tell|show)\s+me\s+(?:everything|all|what)\s+(?:that\s+)?you\s+(?:know|remember))\s+(?:about|of)\s+(?:me|us)[\s.!?]*$|"
    r"^(?:qu[eé](?:\s+(?:cosas|m[aá]s))?\s+(?:sabes|recuerdas)|"
    r"(?:dime|cu[eé]ntame|mu[eé]strame)\s+(?:todo\s+)?(?:lo\s+que|qu[eé])\s+(?:sabes|recuerdas))\s+"
    r"(?:de|sobre|acerca\s+de)\s+(?:m[ií]|nosotr[oa]s)[\s.!?]*$"
)
_QUESTION = _pattern(r"\?(?=[\s\"'»”)!?.]|$)|¿")
_SENTENCE_END = _pattern(r"[.!…;](?:\s+|(?=¿))|\n+")
_FOR_LATER = _pattern(
    r"^(?:recu[eé]rda|acu[eé]rda|memori|ap[uú]nta|an[oó]ta|toma\s+nota|gu[aá]rda|no\s+(?:te\s+)?olvides|remember|"
    r"don't\s+forget|do\s+not\s+forget|make\s+a\s+note|take\s+(?:a\s+)?note)"
)
_QUOTED = _pattern(r"^[\s¿¡]*[\"'“«](?!.*[\"'”»][\s.!]*$)")
_WHOLLY_QUOTED = _pattern(r"^[\"'“«](?P<text>[^\"“”«»]+)[\"'”»]$")
_GOES_ON = _pattern(r"[,;:—–]\s*\S+\s+\S+|\s-\s|[.!]\s+\S")


def recognise(message: str) -> Intent | None:
    """Return what a message asks of the memory, None where it asks something else."""
    text = message.strip()
    if len(text) > MAX_CHARACTERS or len(text.split()) > MAX_WORDS or _RUN.search(text) or _QUOTED.match(text):
        return None
    text = _OPENING.sub("", text, count=1)
    polite = _POLITE.match(text)
    if polite:
        text = text[polite.end() :]
    text = _CLOSING.sub("", text).strip()
    if _TELL.match(text):
        return Tell()
    if _QUESTION.search(text):
        if polite is None or not text.endswith("?"):
            return None
        text = text.rstrip("? ")
    return _forget(text) or _remember(text)


def remember_and_ask(message: str) -> tuple[Remember, str] | None:
    """Return what is to be remembered and what is asked behind it (rule 8), None for a message that is not both."""
    asked = _QUESTION.search(message)
    ends = [end.end() for end in _SENTENCE_END.finditer(message, 0, asked.start() + 1)] if asked else []
    if not ends or recognise(message) is not None:
        return None
    told, rest = message[: ends[-1]].strip(), message[ends[-1] :].strip()
    found = recognise(told)
    if not isinstance(found, Remember) or not _FOR_LATER.match(_OPENING.sub("", told, count=1)):
        return None
    return found, rest


def _remember(text: str) -> Remember | None:
    plain = _FOR_ALL.sub(r"\g<command>", text, count=1) if (for_all := bool(_FOR_ALL.search(text))) else text
    if match := _CALLED.match(plain):
        told = re.sub(r"^llamarme\b", "llámame", plain, flags=re.IGNORECASE)  # after "puedes"
        return None if match["name"].split()[0].casefold() in _NO_NAME else Remember(_sentence(told), "instruction")
    if match := _FROM_NOW.match(plain):
        told = match["text"]
        is_wish = bool(_TO_THE_ASSISTANT.match(told))
        if not is_wish and not _STATED.search(told):
            return None
        return Remember(_sentence(told), "instruction" if is_wish else "fact", for_all)
    if "\n" not in plain and (_STANDING.match(plain) or _BRIEF.match(plain)):
        return Remember(_sentence(plain), "instruction", for_all)
    if match := _REMEMBER.match(plain):
        told = match["text"]
        if _THAT_THING.match(told) or (_NOTE.match(plain) and len(told.split()) > MAX_NOTE_WORDS):
            return None
        return Remember(_sentence(told), sort_of(told), for_all)
    if (match := _BARE.match(plain)) and _STATED.search(match["text"]) and "\n" not in plain:
        return Remember(_sentence(match["text"]), sort_of(match["text"]), for_all)
    if (match := _BEHIND.match(plain)) and _STATED.search(match["text"]) and "\n" not in plain:
        return Remember(_sentence(match["text"]), sort_of(match["text"]), for_all)
    return None


def sort_of(text: str) -> Sort:
    """Return of which sort something is that is to be remembered (rule 3)."""
    if _TO_THE_ASSISTANT.match(text) and not text.casefold().startswith(("no ", "se ")):
        return "instruction"
    return "preference" if _HOW_TO_ANSWER.search(text) or _DIET.search(text) else "fact"


def _forget(text: str) -> Forget | None:
    if len(text) > MAX_FORGET_CHARACTERS or len(text.split()) > MAX_FORGET_WORDS or "\n" in text:
        return None
    if match := _ERASE.match(text) or _STOP.match(text):
        return _named(match["what"])
    match = _FORGET.match(text)
    if match is None:
        return None
    what, about = match["what"], (match["about"] or "").casefold()
    if _ALL_THE_SAME.match(what):
        return None
    if _GOES_ON.search(what) and about not in ("que", "de que", "that"):
        return None
    if not about and _FIGURE.search(what):
        return None if not _CONVERSATION.match(what) else Forget("", "conversation")
    if about in ("de", "del", "about", "that") and re.fullmatch(
        r"(?:it|eso|esto|ello|this|that)?[\s.!]*", what, re.IGNORECASE
    ):
        return None
    if re.match(r"olv[ií]date$", text.split()[0], re.IGNORECASE) and not what:
        return None
    return _named(what)


def _named(what: str) -> Forget | None:
    what = what.strip(" .!\"'«»")
    if not what or _pattern(r"\b(?:instruc\w+|prompt|previous|anterior(?:es)?)\b").search(what):
        return None
    if _CONVERSATION.match(what):
        return Forget("", "conversation")
    return Forget("", "everything") if _EVERYTHING.match(what) else Forget(what)


def _sentence(text: str) -> str:
    text = text.strip(" ,:")
    if quoted := _WHOLLY_QUOTED.match(text):
        text = quoted["text"]
    return text[:1].upper() + text[1:]

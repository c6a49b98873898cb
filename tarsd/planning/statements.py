"""What a person states about itself and its household in a message: what is learned without being asked to. Pure.

Only what is sure: a wrong memory costs more than a missing one, which can be told again ("remember that ...").

Rules
1. Only whole clauses of a few plain forms: names of oneself, family and animals, home, work, age, birthday, numbers,
   things one owns by kind, what one likes, must not eat, or speaks. English and Spanish.
2. Nothing is learned from questions, conditions, guesses, wishes, jokes, the past, the passing ("today", "right now"),
   what others say, or what stands in quotes.
3. Nothing is learned from a text that is to be worked on ("translate: ..."), from several paragraphs, code, or a long
   message: there "I" may be anybody.
4. What points at something else ("this", "it", "the second one", "the answer") means nothing later.
5. Who has a part played, or a song written, says "I" for somebody else, in any sentence of that message.
6. Nothing is learned from a message that says so: "don't remember this", "que no se guarde".
7. What one owns is told by its make or number: "my car is a mess" is no car.
"""

from __future__ import annotations

import re

from tarsd.memory.extractive import sentences
from tarsd.planning import phrases

MAX_MESSAGE_WORDS = 80
MAX_MESSAGE_CHARACTERS = 1200
MAX_CLAUSE_WORDS = 18
MAX_LEARNED = 5

_NAME = r"(?-i:[A-ZÁÉÍÓÚÑ])[\w'’-]*(?:\s+(?:(?:de|del|la|von|van)\s+)?(?-i:[A-ZÁÉÍÓÚÑ])[\w'’-]*){0,3}"
_PLACE = rf"(?:(?:the|el|la|los|las)\s+)?{_NAME}(?:,\s*{_NAME})?"
_KIN_ES = (
    r"(?:hij[oa]|mujer|marido|espos[oa]|pareja|novi[oa]|madre|padre|hermano|hermana|abuel[oa]|niet[oa]|ti[oa]|"
    r"prim[oa]|sobrin[oa]|"
    r"sueg[ro]a?|cuñad[oa]|perr[oa]|gat[oa]|jef[ea]|m[eé]dic[oa]|vecin[oa]|profesora?)(?:\s+(?:mayor|pequeñ[oa]|"
    r"menor))?"
)
_KIN_EN = (
    r"(?:(?:older|younger|elder|little|big)\s+)?(?:son|daughter|wife|husband|partner|girlfriend|boyfriend|mother|mum|"
    r"mom|father|dad|"
    r"brother|sister|grandmother|grandfather|grandson|granddaughter|uncle|aunt|cousin|nephew|niece|dog|cat|boss|"
    r"doctor|neighbour|"
    r"neighbor|teacher)"
)
_THING_ES = (
    r"(?:impresora|coche|moto|bici(?:cleta)?|router|ordenador|port[aá]til|m[oó]vil|tel[eé]fono|tableta|caldera|"
    r"lavadora|lavavajillas|"
    r"frigor[ií]fico|nevera|horno|tele(?:visi[oó]n|visor)?|c[aá]mara|aspiradora|termostato|piso|casa)"
)
_THING_EN = (
    r"(?:printer|car|motorbike|bike|bicycle|router|computer|laptop|phone|tablet|boiler|washing machine|dishwasher|"
    r"fridge|oven|"
    r"tv|television|camera|vacuum cleaner|thermostat|house|flat)"
)
_MONTH = (
    r"(?:enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|january|february|"
    r"march|april|"
    r"may|june|july|august|september|october|november|december)"
)
_DATE_ES = rf"\d{{1,2}}\s+de\s+{_MONTH}(?:\s+del?\s+\d{{4}})?"
_DAY_EN = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE_EN = rf"(?:(?:the\s+)?{_DAY_EN}(?:\s+of)?\s+{_MONTH}|{_MONTH}\s+{_DAY_EN})(?:,?\s+\d{{4}})?"
_NUMBER = r"\+?\d[\d\s.()-]{4,18}"
_MAIL = r"[^\s@]+@[^\s@]+\.\w+"
_WHAT = (
    r"(?!(?:it|this|that|these|those|them|you|your|how|when|if|to\s+know|esto|eso|ese|esa|este|esta|así|que|cuando|tu|tus)\b)"
    r"\S.*"
)
_IN_THE_CHAT = (  # what one likes in an answer is no liking
    r"(?:the\s+|el\s+|la\s+|los\s+|las\s+|to\s+)?(?:answers?|ideas?|first|second|third|last|other|one|ones|options?|"
    r"suggestions?|versions?|text|results?|jokes?|poems?|way|sound|look|plan|proposal|know|see|respuestas?|primer[oa]?s?|"
    r"segund[oa]s?|tercer[oa]?s?|[uú]ltim[oa]s?|otr[oa]s?|dos|tres|opci[oó]n|opciones|sugerencias?|versi[oó]n|texto|"
    r"resultados?|chistes?|poema|forma|manera|propuestas?)\b"
)
_LIKED = rf"(?!{_IN_THE_CHAT}){_WHAT}"
_MADE = rf"(?=.*(?-i:[A-ZÁÉÍÓÚÑ0-9])){_WHAT}"
_NO_JOB = (
    r"(?!(?:matem[aá]ticas|historia|lengua|literatura|biolog[ií]a|f[ií]sica|qu[ií]mica|geograf[ií]a|ingl[eé]s|"
    r"filosof[ií]a|investigaci[oó]n|fin|clase|casa|grupo|noche|d[ií]a|campo|universidad)\b)"
)
_DIET = (
    r"(?:vegetarian[oa]?|vegan[oa]?|cel[ií]ac[oa]|coeliac|celiac|diab[eé]tic[oa]?|al[eé]rgic[oa]\s+(?:a|al)\s+\S.*|"
    r"allergic\s+to\s+\S.*|"
    r"intolerante\s+a\s+\S.*|(?:lactose|gluten)[- ]intolerant)"
)

_LEADING = r"(?:(?:y|and|pero|but|also|también|hola,?|hi,?|hello,?|hey,?)\s+)?"
_FORMS = tuple(
    re.compile(f"^{_LEADING}{form}$", re.IGNORECASE)
    for form in (
        # who one is
        rf"(?:yo\s+)?me\s+llamo\s+{_NAME}",
        rf"(?:mi\s+nombre\s+es|soy\s+de|vengo\s+de)\s+{_PLACE}",
        rf"(?:my\s+name\s+is|my\s+name's|i\s+am\s+called|i'm\s+called|i\s+am\s+from|i'm\s+from|i\s+come\s+from)\s+{_PLACE}",
        r"(?:yo\s+)?tengo\s+\d{1,2}\s+años",
        r"(?:i\s+am|i'm)\s+\d{1,2}\s+years\s+old",
        rf"(?:soy|somos|i\s+am|i'm|we\s+are|we're)\s+{_DIET}s?",
        rf"(?:mi|nuestr[oa])\s+{_KIN_ES}(?:\s+{_NAME})?\s+es\s+{_DIET}",
        rf"(?:my|our)\s+{_KIN_EN}(?:\s+{_NAME})?\s+is\s+{_DIET}",
        # family and animals
        rf"(?:mi|nuestr[oa])\s+{_KIN_ES}\s+se\s+llama\s+{_NAME}",
        rf"(?:my|our)\s+{_KIN_EN}\s+is\s+(?:called|named)\s+{_NAME}",
        rf"(?:my|our)\s+{_KIN_EN}'s\s+name\s+is\s+{_NAME}",
        rf"(?:mi|nuestr[oa])\s+{_KIN_ES}(?:\s+{_NAME})?\s+tiene\s+\d{{1,2}}\s+años",
        rf"(?:my|our)\s+{_KIN_EN}(?:\s+{_NAME})?\s+is\s+\d{{1,2}}\s+years\s+old",
        r"(?:tengo|tenemos)\s+(?:un|una|dos|tres|cuatro|\d)\s+(?:hij[oa]s?|herman[oa]s?|niet[oa]s?|perr[oa]s?|"
        r"gat[oa]s?)"
        rf"(?:\s+que\s+se\s+llama\s+{_NAME})?",
        r"(?:i|we)\s+have\s+(?:a|an|one|two|three|four|\d)\s+(?:sons?|daughters?|children|kids|brothers?|sisters?|"
        r"dogs?|cats?)"
        rf"(?:\s+(?:called|named)\s+{_NAME})?",
        # home and work
        rf"(?:(?:yo|nosotros)\s+)?(?:ahora\s+)?(?:vivo|vivimos)\s+(?:ahora\s+)?en\s+{_PLACE}",
        rf"(?:i|we)\s+(?:now\s+)?live\s+(?:now\s+)?in\s+{_PLACE}",
        rf"(?:me\s+he\s+mudado|nos\s+hemos\s+mudado|me\s+mud[eé]|nos\s+mudamos)\s+a\s+{_PLACE}",
        rf"(?:i|we|i've|we've)\s+(?:have\s+)?moved\s+to\s+{_PLACE}",
        rf"(?:yo\s+)?trabajo\s+(?:en\s+{_PLACE}|(?:de|como)\s+{_NO_JOB}[^\W\d_]+(?:\s+[^\W\d_]+)?)",
        rf"(?:i\s+work|i'm\s+working)\s+(?:at|for)\s+{_PLACE}",
        r"i\s+work\s+as\s+an?\s+[^\W\d_]+(?:\s+[^\W\d_]+)?",
        # days and numbers
        rf"mi\s+cumpleaños\s+es\s+el\s+{_DATE_ES}",
        rf"(?:el\s+cumpleaños\s+de\s+mi\s+{_KIN_ES}(?:\s+{_NAME})?|el\s+cumpleaños\s+de\s+{_NAME})\s+es\s+el\s+{_DATE_ES}",
        rf"nac[ií]\s+el\s+{_DATE_ES}",
        rf"my\s+(?:{_KIN_EN}(?:\s+{_NAME})?'s\s+)?birthday\s+is\s+(?:on\s+)?{_DATE_EN}",
        rf"i\s+was\s+born\s+on\s+{_DATE_EN}",
        rf"mi\s+(?:n[uú]mero\s+de\s+)?(?:tel[eé]fono|m[oó]vil)\s+es\s+(?:el\s+)?{_NUMBER}",
        rf"my\s+(?:phone|mobile|cell)(?:\s+number)?\s+is\s+{_NUMBER}",
        rf"(?:mi\s+(?:correo|email|e-mail)(?:\s+electr[oó]nico)?\s+es|my\s+(?:e-?mail|email)(?:\s+address)?\s+is)\s+{_MAIL}",
        r"(?:mi\s+talla|mi\s+n[uú]mero\s+de\s+pie)\s+es\s+(?:la\s+|el\s+)?\w{1,4}",
        r"my\s+(?:shoe\s+)?size\s+is\s+(?:a\s+)?\w{1,4}",
        # things, likes, languages
        rf"(?:mi|nuestr[oa])\s+{_THING_ES}\s+es\s+(?:un|una)\s+{_MADE}",
        rf"(?:my|our)\s+{_THING_EN}\s+is\s+an?\s+{_MADE}",
        rf"(?:tengo|tenemos)\s+(?:un|una)\s+{_THING_ES}\s+{_NAME}(?:\s+\S+)?",
        rf"(?:i|we)\s+have\s+an?\s+{_NAME}\s+{_THING_EN}",
        rf"mi\s+(?:color|comida|plato|libro|pel[ií]cula|canci[oó]n|equipo|animal)\s+favorit[oa]\s+es\s+{_WHAT}",
        rf"my\s+favou?rite\s+(?!{_IN_THE_CHAT})\w+\s+is\s+{_LIKED}",
        rf"(?:a\s+m[ií]\s+)?(?:no\s+)?me\s+(?:gustan?|encantan?)\s+(?:mucho\s+)?(?:el|la|los|las)\s+{_LIKED}",
        rf"i\s+(?:really\s+)?(?:like|love|hate|don't\s+like|dislike)\s+(?:to\s+)?{_LIKED}",
        r"hablo\s+(?:español|inglés|francés|alemán|italiano|portugués|catalán)(?:\s+y\s+\w+)?",
        r"i\s+speak\s+(?:spanish|english|french|german|italian|portuguese)(?:\s+and\s+\w+)?",
    )
)
_UNSURE = re.compile(
    r"[\"«»“”`{}<>|]|https?:|\b(?:si|if|suppose|imagin\w*|ojal[aá]|quiz[aá]s?|tal\s+vez|maybe|perhaps|creo|i\s+think|"
    r"i\s+guess|"
    r"probabl\w*|would|could|might|let's\s+say|pretend|finge|broma|joke|kidding|dice|dicen|dijo|says|said|told|hoy|"
    r"ayer|today|"
    r"yesterday|tonight|ahora\s+mismo|right\s+now|por\s+ahora|for\s+now|antes|used\s+to|era|eran|was\s+(?!born)|were|"
    r"when|cuando|"
    r"como\s+si|as\s+if|unless|a\s+menos|poem|poema|story|cuento)\b",
    re.IGNORECASE,
)
_WORK_ON = re.compile(
    r"\b(?:translate|rephrase|rewrite|proofread|summari[sz]e|correct|pretend|role\s?play|act\s+as|write|traduc\w*|"
    r"tradúc\w*|"
    r"reescrib\w*|resum\w*|resúm\w*|corrig\w*|escrib\w*|redact\w*|haz\s+como\s+si|act[uú]a\s+como|say|"
    r"di)\b[^.!?]*[:\"«“]",
    re.IGNORECASE,
)
_PLAYED = re.compile(
    r"\b(?:pretend|role\s?play|act\s+as|you\s+are\s+(?:an?|the)|imagine|character|lyrics|song|novel|monologue|dialogue|"
    r"essay|finge|imagina|act[uú]a|haz\s+(?:como|de)|eres\s+(?:un|una|el|la)|personaje|letra|canci[oó]n|novela|"
    r"mon[oó]logo|di[aá]logo|redacci[oó]n)\b",
    re.IGNORECASE,
)
_NOT_TO_BE_KEPT = re.compile(
    r"\b(?:don['’]?t|do\s+not|never|without)\s+(?:\w+\s+)?(?:remember|memori[sz]e|save|sav|keep|stor|store|learn|record|note|"
    r"writ|write)(?:ing)?\b|\bforget\s+(?:that|this|it|what)\b|\boff\s+the\s+record\b|\bbetween\s+(?:us|you\s+and\s+me)\b|"
    r"\bno\s+(?:lo\s+|la\s+|los\s+|te\s+lo\s+|se\s+)?(?:recuerdes|guardes?|memorices|apuntes|anotes|aprendas|registres)\b|"
    r"\bolv[ií]da(?:lo|te|\s+(?:esto|eso|lo))\b|\bsin\s+(?:recordar|guardar|apuntar|anotar)(?:lo|la)?\b|"
    r"\bentre\s+(?:nosotros|t[uú]\s+y\s+yo)\b",
    re.IGNORECASE,
)
_RUN = re.compile(r"\s{30}")  # nobody writes that, and the patterns would take minutes for thousands
_BREAK = re.compile(
    r"\s*(?:;|\s[-–—]\s|,?\s*(?=¿)|,\s+(?=(?:what|how|can|could|where|when|who|which|why|do|does|please|so|qu[eé]|"
    r"c[oó]mo|d[oó]nde|"
    r"cu[aá]ndo|puedes|por\s+favor|as[ií]\s+que)\b)|,?\s+(?=(?:and|y)\s+(?:i|i'm|my|we|our|me|mi|vivo|tengo|soy|"
    r"trabajo|nuestr[oa])\b))",
    re.IGNORECASE,
)


def statements(message: str) -> list[str]:
    """Return the clauses of a message that are to be learned, as they are to be remembered."""
    text = message.strip()
    if len(text) > MAX_MESSAGE_CHARACTERS or len(text.split()) > MAX_MESSAGE_WORDS or _RUN.search(text):
        return []
    is_material = "\n\n" in text or text.count("\n") > 2 or "```" in text
    if is_material or any(each.search(text) for each in (_NOT_TO_BE_KEPT, _WORK_ON, _PLAYED, phrases.WRITING)):
        return []
    clauses = [
        clause.strip(" ,.!") for sentence in sentences(text) for clause in _BREAK.split(sentence) if "?" not in clause
    ]
    learned = [clause for clause in clauses if _is_sure(clause)]
    return [_as_sentence(clause) for clause in dict.fromkeys(learned)][:MAX_LEARNED]


def _is_sure(clause: str) -> bool:
    if not clause or len(clause.split()) > MAX_CLAUSE_WORDS or _UNSURE.search(clause):
        return False
    return any(form.match(clause) for form in _FORMS)


def _as_sentence(clause: str) -> str:
    plain = re.sub(r"^(?:y|and|pero|but|also|también|hola|hi|hello|hey),?\s+", "", clause, flags=re.IGNORECASE)
    return plain[:1].upper() + plain[1:]

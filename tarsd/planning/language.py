"""Tells in which of six languages a short question is written. Pure, and small enough for a lean daemon.

Rules
1. A word of a language's small words counts for it, less the more of the six languages share it; a letter or an ending
   that only some of them have counts for those.
2. The best language wins when it has at least one full clue and is ahead of the next by `_LEAD`; else nobody knows: "".
3. What a statistical model of letters would add for long texts is not needed here: passages get theirs from the parser.
"""

from __future__ import annotations

import re
from collections import Counter

_SMALL_WORDS = {
    "en": """
        a about after all am an and any are as at be been before between but by can cost could day did do does
        don't door during every explain find for from get give go had has have he hello help her here hi him his
        house how i if in into is it its kitchen let light lights long machine make many me more most much my name
        need no not now of off often old on one open or our out over password please price put remind room say set
        she should show so some switch tell than thanks that the their them there these they this those time to
        today tomorrow turn two up us use was washing we were what what's when where which while who whom whose
        why will with would write year yes yesterday you your
    """,
    "es": """
        a abre ahora al algo alguna algún antes apaga aquí así ayer ayuda año años baja bajar bien buenas buenos
        cada casa cerca cierra cocina como con cual cuales cuando cuanto cuesta cuál cuáles cuándo cuánta cuántas
        cuánto cuántos cómo da dame de debe debo del desde después di dice dime donde dos durante dónde e el ella
        ellos en encender encienda enciende entre era eran eres es esa ese eso esta estado estas este esto estos
        está están explica explique fue fueron gracias grados ha haber habitación había hace hacer hacia hago han
        hasta hay haz hola hora hoy la las le les lista lo los luces luz mañana me mi minutos mis mucho muchos muy
        más necesito ni no nos nuestra nuestro o otra otro para pasa pero persona pon poner por porque precio
        puede pueden puedo puerta que quien quiero quién quiénes qué resume sala salón segundos según ser si sin
        sobre son soy su sube subir sus sí también te temperatura tener tengo tenía tiempo tiene tienen todas todo
        todos tras tu tus un una uno y ya yo él
    """,
    "fr": """
        allume après au aujourd'hui aussi aux avant avec avoir bien bonjour c'est ce ces cette chat chez combien
        comme comment coûte d'un d'une dans de demain depuis des dis dois donne dont du elle elles en entre est et
        eu explique faire fait faut garde hier il ils j'ai je l'on la le les leur lui lumière ma mais maison me
        merci mes moi mon ne non nos notre nous on ont ou ouvre où par pas pendant peut peux plus pour pourquoi
        prix qu'est quand que quel quelle quelles quels qui quoi sa salut sans se ses si son sont suis sur ta te
        tes toi ton tous tout toute toutes très tu un une va veux vos votre vous y à était éteins été être
    """,
    "de": """
        aber alle allen als also am an auch auf aus bei beim bin bis bist bitte da damit dann das dass dein dem
        den denn der des dich die dies diese dieser dieses dir doch du durch ein eine einem einen einer eines er
        es euch für gegen geht gestern gibt guten habe haben hallo hat hatte heute hier hilfe ich ihm ihn ihr ihre
        im in ist ja jahr kann kannst kein keine kostet küche licht mach mein meine mich mir mit morgen muss nach
        nicht noch nun nur ob oder ohne schalte schon sehr sein seine sich sie sind so soll sollte um und uns
        unser unter viel viele vom von vor wann war waren warum was welche welchen welcher welches wem wen wenn
        wer werden wie wieder wieviel will wir wird wo woher wohin wurde zeig zu zum zur zwischen über
    """,
    "pt": """
        a agora ainda ajuda amanhã ano anos antes ao aos apague aqui as até boa bom cada casa com como cozinha
        custa da das de dela dele deles depois desde deve devo diga dizer do dois dos durante e ela elas ele eles
        em entre era eram essa esse esta estava este está estão eu explique faz fazer fica foi foram hoje há isso
        isto já lhe ligue limpar luz luzes mais mas me meu meus minha minhas minutos muito muitos na nas nem no
        nos nossa nosso num numa não nós o obrigada obrigado olá onde ontem os ou para pela pelas pelo pelos pode
        podem por porque porta posso precisa preciso quais qual quando quanta quantas quanto quantos que quem
        quero sala se sem ser seu seus sim sobre sua suas são também te tem temperatura tempo tenho ter teve todos
        tudo têm um uma você vocês à às é
    """,
    "it": """
        a accendi adesso ai aiuto al alla alle allo altri anche ancora anni anno apri bene buongiorno c'è casa che
        chi ci ciao cioè come con cos'è cosa costa così cucina cui da dal dalla dalle degli dei del dell' della
        delle dello deve devo di dimmi domani dopo dov'è dove due durante e era erano essere fa fare fino fra fu
        gli grazie ha hai hanno ho i ieri il in io l' la le lei li lo loro luce luci lui ma mi mia mie miei mio
        molti molto ne nei nel nella nelle nello nessuno no noi non nostra nostro o oggi ogni oppure per perché
        più po' porta posso prima può quale quali quando quanta quante quanti quanto quel quella quelle quelli
        quello questa queste questi questo qui sala sarà se sei si solo sono spegni stato su sua sue sugli sul
        sulla suo suoi sì temperatura tra tu tua tuo tutte tutti tutto un un' una uno vi voglio è
    """,
}

# (pattern, what one find is worth, the languages it speaks for)
_CLUES = (
    (re.compile(r"[¿¡ñ]"), 2.0, ("es",)),
    (re.compile(r"[ãõ]|lh[aeoi]|nh[aoe]\b|ç(?:ão|ões)\b"), 1.0, ("pt",)),
    (re.compile(r"[ßäöü]"), 1.0, ("de",)),
    (re.compile(r"[êîôûœ]|\b[cdjlmnqst]['’][aeéèêhiouy]"), 0.5, ("fr",)),
    (re.compile(r"\b(?:dell|nell|all|sull|dall|un|c|cos|dov|com)['’]"), 1.0, ("it",)),
    (re.compile(r"\w(?:ción|ciones|dad|dades|aje|illo|illa)\b|ll[aeo]|\b\w+[áéíóú]\w*\b"), 0.5, ("es",)),
    (re.compile(r"\w(?:zione|zioni|tà|ggio|cchi\w|gli\w)\b"), 1.0, ("it",)),
    (re.compile(r"\w(?:eau|eux|aux|ait|ez|oir|ais|ette|ement)\b|\w{3}é[es]?\b"), 0.5, ("fr",)),
    (re.compile(r"\w(?:ung|ungen|heit|keit|lich|isch|schaft|chen)\b|sch|tz\b|[bcdfgklmnprt]t\b"), 0.4, ("de",)),
    (re.compile(r"\w(?:ing|ed|ly|ness|tion|ful|ght|ck|th)\b|\bth|wh|sh|ee|oo"), 0.4, ("en",)),
    (re.compile(r"w\w"), 0.3, ("en", "de")),
    (re.compile(r"\w{3}(?:os|as|ar|ad|or|es)\b"), 0.2, ("es", "pt")),
    (re.compile(r"\w{4}mente\b"), 0.3, ("es", "pt", "it")),
)

_ENOUGH = 1.0
_LEAD = 0.35  # less is a coin's toss: "no" or "sala" belong to three languages

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def _weights() -> dict[str, list[tuple[str, float]]]:
    """Return for each small word the languages it speaks for, and how strongly (rule 1)."""
    speakers: dict[str, list[str]] = {}
    for language, words in _SMALL_WORDS.items():
        for word in set(words.split()):
            speakers.setdefault(word, []).append(language)
    return {word: [(language, 1.0 / len(known)) for language in known] for word, known in speakers.items()}


_WEIGHTS = _weights()


def detect_language(text: str) -> str:
    """Return "en", "es", "fr", "de", "pt" or "it", or "" when `text` does not say clearly enough."""
    text = text.casefold().replace("’", "'")
    scores: Counter[str] = Counter()
    for word in _WORD.findall(text):
        for language, weight in _WEIGHTS.get(word, ()):
            scores[language] += weight  # type: ignore[assignment]
    for pattern, worth, languages in _CLUES:
        finds = len(pattern.findall(text))
        for language in languages:
            scores[language] += worth * finds / len(languages)  # type: ignore[assignment]
    ranked = [*scores.most_common(2), ("", 0.0)]
    (best, first), (_, second) = ranked[0], ranked[1]
    return best if first >= _ENOUGH and first - second >= _LEAD else ""

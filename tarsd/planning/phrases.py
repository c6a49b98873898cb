"""The words by which the router recognises what is asked, in English and Spanish, as regular expressions.

Alternatives stand apart by " | "; a new language is a few more of them.
"""

from __future__ import annotations

import re


def _anywhere(alternatives: str) -> re.Pattern[str]:
    """Match any of the alternatives as whole words."""
    return re.compile(rf"(?<!\w)(?:{_join(alternatives)})(?!\w)", re.IGNORECASE)


def _opening(alternatives: str, *, politely: bool = False) -> re.Pattern[str]:
    """Match any of the alternatives at the start of the text, after "please" and its like where `politely`."""
    please = r"(?:(?:please|can you|could you|would you|por favor|puedes|podr[ií]as|quiero(?: que)?|me)[,\s]+)*"
    return re.compile(rf"^[\s¿¡\"'(]*{please if politely else ''}(?:{_join(alternatives)})(?!\w)", re.IGNORECASE)


def _join(alternatives: str) -> str:
    return "|".join(part.strip() for part in re.split(r"\s\|\s", alternatives.strip()))


DOCUMENT = _anywhere(
    r"""
    documents? | files? | pdfs? | contracts? | invoices? | receipts? | bills? | manuals? | letters? | policy |
    policies | warranty | warranties | lease | statements? | scans? | page \d+ | according to | my notes? |
    documentos? | archivos? | ficheros? | contratos? | facturas? | recibos? | manual(?:es)? | cartas? | póliza |
    poliza | pólizas | garant[ií]as? | escaneos? | p[aá]gina \d+ | seg[uú]n | mis notas?
    """,
)

OVERVIEW = _anywhere(
    r"""
    summar(?:y|ies|i[sz]e) | overview | compare | comparison | differences? | everything |
    all (?:of )?(?:the|my|our) | across | list (?:all|every) | timeline | main points? |
    key points? | resum(?:e|en|ir|eme) | resúme(?:me)? | compara(?:r|ci[oó]n)? | diferencias? | todo (?:lo|sobre) |
    tod[oa]s (?:l[oa]s|mis|nuestr[oa]s) | lista (?:de )?tod[oa]s | cronolog[ií]a |
    puntos (?:principales|clave) | panorama
    """,
)

SMALL_TALK = _opening(
    r"""
    hi | hello | hey | good (?:morning|afternoon|evening|night) | thanks?(?: you)? | bye | ok(?:ay)? |
    how are you | who are you | what (?:can|do) you do | what(?:'s| is) your name | never ?mind | tell me a joke |
    hola | buen[oa]s(?: (?:d[ií]as|tardes|noches))? | gracias | adi[oó]s | hasta luego | vale | qu[eé] tal |
    c[oó]mo est[aá]s | qui[eé]n eres | qu[eé] (?:puedes|sabes) hacer | c[oó]mo te llamas |
    (?:no importa|olv[ií]dalo|da igual)$ | cu[eé]ntame un chiste
    """,
)

COMMAND = _opening(
    r"""
    turn | switch | dim | brighten | lock | unlock | mute | unmute | pause | resume playing | skip | vacuum |
    set (?:the|a|my) | start (?:the|a) | stop (?:the|a) | open the | close the | cancel | add .+ to | remind |
    play | increase | decrease | raise | lower | enci[eé]nd\w* | encender | prend\w* | apag\w* | activ\w* |
    desactiv\w* | conect\w* | desconect\w* | abr\w* | cierr\w* | cerrar | sub\w* | baj\w* | ba[jh]ar |
    pon(?:er|me|le|ga|gas|te|la|lo)? | pas(?:a|ar) | para(?:r|d)? | deten\w* | paus\w* | reanud\w* | continu\w* |
    reproduc\w* | silenci\w* | bloque\w* | desbloque\w* | ajust\w* | configur\w* | cambi\w* | aument\w* |
    disminu\w* | reduc\w* | increment\w* | a[ñn]ad\w* | agreg\w* | inici\w* | empiez\w* | empez\w* | comienz\w* |
    comenz\w* | cancel\w* | aspir\w* | limpi\w* | recu[eé]rd\w* | qui?t\w* | vuelv\w* | volver | devuelv\w* |
    regres\w* | extiend\w* | recog\w* | levant\w* | despleg\w* | despliega\w* | coloc\w* | fij\w* | establec\w* |
    regul\w* | manda\w* | env[ií]a\w* | haz | dale | siguiente | anterior | ech\w* | tir\w* | corr\w* | marc\w* |
    complet\w* | crea\w* | program\w* | retom\w* | atenu\w* | ilumin\w* | salt\w*
    """,
    politely=True,
)

DEVICE = _anywhere(
    r"""
    lights? | lamps? | thermostat | temperature (?:in|of) the | timers? | alarm | blinds? | curtains? |
    shopping list | volume | weather | what time | what day | luz | luces | l[aá]mparas? | bombillas? |
    termostato | temporizador(?:es)? | alarma | persianas? | cortinas? | toldos? | lista de la compra | volumen |
    puertas? | ventanas? | garaje | ventilador(?:es)? | cerraduras? | cerrojo | grifo | v[aá]lvulas? | enchufes? |
    interruptor(?:es)? | sensor(?:es)? | bater[ií]as? | tiempo (?:hace|hará|va a hacer) | qu[eé] hora |
    qu[eé] d[ií]a | qu[eé] fecha | temperatura | grados | humedad | clima | aspiradora | m[uú]sica |
    tele(?:visi[oó]n|visor)? | calefacci[oó]n | d[oó]nde est[aá] \w+$
    """,
)

WRITING = _opening(
    r"""
    write | compose | draft | translate | rephrase | rewrite | correct | proofread | calculate | compute |
    convert | code | imagine | invent | spell | escrib\w* | redact\w* | tradu\w* | reformul\w* | reescrib\w* |
    corrig\w* | corregir | calcul\w* | convert\w* | conviert\w* | program\w* | imagin\w* | invent\w* | deletre\w* |
    what(?:'s| is) [\d\s().,+*/x^-]+\??$ | cu[aá]nto (?:es|son) [\d\s().,+*/x^-]+\??$
    """,
    politely=True,
)

QUESTION = _opening(
    r"""
    what | when | where | which | who | whom | whose | why | how | is | are | was | were | do | does | did | can |
    could | should | will | would | has | have | had | tell me | explain | find | show me | look up | search |
    (?:a|de|en|por|para|con|desde|hasta|sobre)? ?(?:qu[eé]|cu[aá]l(?:es)?|qui[eé]n(?:es)?|cu[aá]nt[oa]s?) |
    cu[aá]ndo | (?:a|de)?d[oó]nde | por qu[eé] | c[oó]mo | hay | est[aá]n? | es | son | tengo | tenemos | tiene |
    puedo | podemos | debo | dime | expl[ií]ca\w* | busca\w* | encuentra | mu[eé]stra\w* | averigua
    """,
)

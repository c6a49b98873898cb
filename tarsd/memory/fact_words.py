"""The words that facts are told by: months, days, currencies, and those that open sentences without being names."""

from __future__ import annotations

_MONTHS = (
    "january jan enero ene",
    "february feb febrero",
    "march mar marzo",
    "april apr abril abr",
    "may mayo",
    "june jun junio",
    "july jul julio",
    "august aug agosto ago",
    "september sept sep septiembre setiembre",
    "october oct octubre",
    "november nov noviembre",
    "december dec diciembre dic",
)
MONTHS: dict[str, int] = {word: number for number, row in enumerate(_MONTHS, 1) for word in row.split()}

# Alone and in lower case these are other words, too.
MAYBE_MONTHS = frozenset(("may", "march", "mar", "jan", "ene", "dec", "dic", "sep", "sept", "oct", "ago", "feb", "jun"))

_DAYS = (
    "monday lunes",
    "tuesday martes",
    "wednesday miércoles miercoles",
    "thursday jueves",
    "friday viernes",
    "saturday sábado sabado",
    "sunday domingo",
)
DAYS: dict[str, str] = {word: row.split()[0] for row in _DAYS for word in row.split()}

CURRENCIES = r"euros?|eur|usd|gbp|d[oó]lares|dollars?|libras|pounds?|c[eé]ntimos|cents?"

# Verbs, greetings, titles and such at the head of a sentence; little words (`stopwords`) are left out anyway.
_OPENERS = """
    a about actually add after again all also an any anyone apart are as ask at bad be before besides both bring
    but by call can check could did do does don't each either email enough every everything exactly fine finally
    first for from get give go good great had has have he hello help her here hi his how however i i'll i'm i've
    i'd if in is it it's its just keep last later let let's look make many may maybe mind most much must my need
    next no nobody none not note nothing now of ok okay on once one only or our otherwise over pay perhaps
    please put remember remind right same see send set shall she should since so some sorry still sure take tell
    thank thanks that that's the their then there there's these they they're this those though to today tomorrow
    tonight too total two under until up use user used very wait was we we'll we're we've well were what what's
    whatever when where which while who why will with without would write yes yesterday yet you you'll you're
    your assistant noted done understood reminder summary welcome ahora además al algo alguien algún alguna
    ambos anota antes apunta aquí así aunque ayer añade añadir bien buenas bueno buenos busca cada casi claro
    como cómo con confirma creo cual cuál cualquier cuando cuándo cuánto cuanto cuánta da de debe debes debo
    deja del desde después dice dile dime donde dónde e el él ella ellas ellos en encantado entonces entendido
    era eran eres es esa ese eso esta está están estas este esto estos estoy falta finalmente fue gracias guarda
    guardado ha había hace haz hay han hasta hola hoy igual incluye incluido la las le les listo lo los luego
    llama llamar llámalo mañana más manda me mejor menos mi mientras mis mira muchas mucho muy nada nadie
    necesito necesitas ni ninguna ninguno nos nosotros nuestra nuestro o ojalá os otra otro para paga pagar
    parece pero perfecto pide pon por porque posiblemente primero pues puede puedes puedo pueden que qué quedan
    queda quedamos quién quien quiero quiere quieres recuerda recuérdame recuérdamelo resumen se según ser será
    serán si sí siempre sin sobre solo sólo somos son soy su sus suele también tampoco tanto te tenemos tengo
    tiene tienes tienen toda todas todavía todo todos tu tú tus último un una unas uno unos usa usted usuario
    asistente va vale vamos van veces ven verá vez voy y ya yo entre hablé hemos compra cambia reserva hecho
    apuntado anotado sr sra srta d dr dra doña don prof mr mrs ms
"""
OPENERS = frozenset(_OPENERS.split())

"""Lexicon: the closed-class words that the guard knows, and those that tell another language (written for it)."""

from __future__ import annotations

from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Function words by what they can change in an answer. A word that is in no table carries content.
STOP: Final = _set(
    """
    a an the this that these those there here please kindly just really very quite so too also well ok okay hi
    hello hey thanks thank you i me we us it its itself of do does did done doing be is are am was were been
    being has have had having would could can may might shall should will ought let as such which what who whom
    whose when where why how if then than thing s t d ll re ve m name named called get got gotten give gave show
    tell list find want need like know say said see look provide display return state describe explain identify
    according per actual actually currently exactly basically simply now yet still ever even though anyone
    someone somebody anybody wonder wondering wondered regard regarding concerning question i'd i'm sort kind
    type possible able help
    """
)
WH: Final = {
    "what": "what", "which": "which", "who": "who", "whom": "who", "whose": "whose", "when": "when",
    "where": "where", "why": "why", "how": "how",
}  # fmt: skip
NEGATION: Final = _set(
    """
    not no never none nobody nothing nowhere neither nor without cannot cant wont dont doesnt didnt isnt arent
    wasnt werent hasnt havent hadnt shouldnt wouldnt couldnt mustnt n't non except excluding unless lack lacking unable
    """
)
AUXILIARY: Final = {
    "is": "be", "are": "be", "am": "be", "was": "past", "were": "past", "did": "past", "had": "past",
    "will": "future", "shall": "future", "would": "modal", "could": "modal", "should": "should", "must": "should",
    "may": "modal", "might": "modal", "can": "modal", "becoming": "becoming", "become": "become", "do": "be",
    "does": "be", "has": "perfect", "have": "perfect", "used": "used", "still": "still", "already": "already",
    "yet": "already", "ought": "should", "became": "become", "becomes": "become", "been": "perfect",
}  # fmt: skip
PREPOSITION: Final = _set(
    """
    in on at by for with from to into onto about of off out up down through across along around near between
    among within inside outside toward towards against via upon beside besides behind beyond
    """
)
TEMPORAL: Final = {
    "before": "before", "prior": "before", "earlier": "before", "previous": "before", "previously": "before",
    "preceding": "before", "after": "after", "later": "after", "following": "after", "afterwards": "after",
    "subsequent": "after", "during": "during", "while": "during", "until": "until", "till": "until",
    "since": "since", "next": "after", "last": "last", "past": "last", "ago": "last", "first": "first",
    "early": "early", "late": "late", "recent": "last", "latest": "last", "newer": "after", "older": "before",
}  # fmt: skip
CONJUNCTION: Final = {
    "and": "and",
    "or": "or",
    "both": "and",
    "either": "or",
    "but": "and",
    "simultaneously": "and",
}
QUANTIFIER: Final = {
    "all": "all", "every": "all", "each": "each", "any": "any", "some": "some", "only": "only", "most": "most",
    "least": "least", "few": "few", "fewer": "less", "many": "many", "much": "much", "several": "several",
    "another": "other", "other": "other", "same": "same", "different": "different", "always": "always",
    "sometimes": "sometimes", "often": "often", "usually": "often", "rarely": "rarely", "seldom": "rarely",
    "once": "once", "again": "again", "entire": "all", "whole": "all", "everyone": "all", "everything": "all",
    "everybody": "all", "more": "more", "less": "less", "too": "too", "enough": "enough", "almost": "almost",
    "about": "about", "approximately": "about", "roughly": "about", "extra": "more", "additional": "more",
    "total": "total", "average": "average", "mean": "average", "maximum": "max", "minimum": "min",
    "altogether": "total", "combined": "total", "remaining": "left", "left": "left",
}  # fmt: skip
PRONOUN: Final = {
    "he": "he", "him": "he", "his": "he", "she": "she", "her": "she", "hers": "she", "they": "they",
    "them": "they", "their": "they", "my": "my", "mine": "my", "your": "your", "yours": "your", "our": "our",
    "ours": "our", "myself": "my", "yourself": "your", "himself": "he", "herself": "she", "themselves": "they",
}  # fmt: skip

ONES: Final = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
TENS: Final = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
SCALES: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
OTHER_NUMBERS: Final = {
    "half": "0.5", "halves": "0.5", "quarter": "0.25", "third": "3", "thirds": "3", "twice": "2", "double": "2",
    "doubled": "2", "doubles": "2", "thrice": "3", "triple": "3", "tripled": "3", "triples": "3",
    "quadruple": "4", "dozen": "12", "couple": "2", "second": "2", "fourth": "4", "fifth": "5", "sixth": "6",
    "seventh": "7", "eighth": "8", "ninth": "9", "tenth": "10", "eleventh": "11", "twelfth": "12",
    "pair": "2", "single": "1", "fourths": "4", "fifths": "5", "quarters": "0.25",
}  # fmt: skip

MONTHS: Final = {
    "january": "jan", "february": "feb", "march": "mar", "april": "apr", "june": "jun", "july": "jul",
    "august": "aug", "september": "sep", "october": "oct", "november": "nov", "december": "dec", "jan": "jan",
    "feb": "feb", "apr": "apr", "jun": "jun", "jul": "jul", "aug": "aug", "sep": "sep", "sept": "sep", "oct": "oct",
    "nov": "nov", "dec": "dec",
}  # fmt: skip
DATE_WORDS: Final = _set(
    """
    monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays
    saturdays sundays weekday weekend today tomorrow yesterday tonight morning mornings afternoon afternoons
    evening evenings night nights noon midnight spring summer autumn fall winter christmas easter century decade
    am pm bc ad bce ce
    """
)
UNITS: Final = {
    "second": "second", "seconds": "second", "sec": "second", "secs": "second", "minute": "minute",
    "minutes": "minute", "min": "minute", "mins": "minute", "hour": "hour", "hours": "hour", "hr": "hour",
    "hrs": "hour", "day": "day", "days": "day", "daily": "day", "week": "week", "weeks": "week", "weekly": "week",
    "month": "month", "months": "month", "monthly": "month", "year": "year", "years": "year", "yearly": "year",
    "annual": "year", "annually": "year", "kb": "kb", "kib": "kb", "kilobyte": "kb", "kilobytes": "kb",
    "mb": "mb", "mib": "mb", "megabyte": "mb", "megabytes": "mb", "gb": "gb", "gib": "gb", "gigabyte": "gb",
    "gigabytes": "gb", "tb": "tb", "byte": "byte", "bytes": "byte", "km": "km", "kilometer": "km",
    "kilometers": "km", "kilometre": "km", "kilometres": "km", "mile": "mile", "miles": "mile", "meter": "m",
    "meters": "m", "metre": "m", "metres": "m", "foot": "ft", "feet": "ft", "ft": "ft", "inch": "inch",
    "inches": "inch", "cm": "cm", "centimeter": "cm", "centimeters": "cm", "yard": "yard", "yards": "yard",
    "kg": "kg", "kilogram": "kg", "kilograms": "kg", "gram": "g", "grams": "g", "lb": "lb", "lbs": "lb",
    "pound": "lb", "pounds": "lb", "ounce": "oz", "ounces": "oz", "oz": "oz", "ton": "ton", "tons": "ton",
    "liter": "l", "liters": "l", "litre": "l", "litres": "l", "gallon": "gal", "gallons": "gal",
    "dollar": "usd", "dollars": "usd", "cent": "cent", "cents": "cent", "euro": "eur", "euros": "eur",
    "percent": "pct", "percentage": "pct", "mph": "mph", "kph": "kph", "celsius": "c", "fahrenheit": "f",
}  # fmt: skip

CONTRACTIONS: Final = {
    "what's": ("what", "is"), "whats": ("what", "is"), "who's": ("who", "is"), "whos": ("who", "is"),
    "where's": ("where", "is"), "wheres": ("where", "is"), "when's": ("when", "is"), "how's": ("how", "is"),
    "it's": ("it", "is"), "that's": ("that", "is"), "there's": ("there", "is"), "i'm": ("i", "is"),
    "im": ("i", "is"), "i've": ("i", "have"), "ive": ("i", "have"), "i'll": ("i", "will"), "i'd": ("i", "would"),
    "let's": ("let", "us"), "can't": ("can", "not"), "won't": ("will", "not"), "cannot": ("can", "not"),
    "cant": ("can", "not"), "wont": ("will", "not"), "dont": ("do", "not"), "doesnt": ("does", "not"),
    "didnt": ("did", "not"), "isnt": ("is", "not"), "arent": ("are", "not"), "wasnt": ("was", "not"),
    "havent": ("have", "not"), "hasnt": ("has", "not"), "couldnt": ("could", "not"), "wouldnt": ("would", "not"),
    "shouldnt": ("should", "not"), "gonna": ("will",), "wanna": ("want",), "&": ("and",), "thats": ("that", "is"),
    "etc": (), "vs": ("or",), "versus": ("or",), "w/": ("with",), "u": ("you",),
    "noone": ("nobody",), "no-one": ("nobody",), "nonexistent": ("not", "exist"), "youre": ("you", "are"),
}  # fmt: skip

EDIT_TERMS: Final = (
    r"\b(?:no no no|no no|no wait|wait no|no sorry|sorry no|no i'?m sorry|no i mean[t]?|i mean[t]? to say|"
    r"or i mean[t]?|i mean[t]?|i really mean[t]?|or rather|no rather|no actually|or actually|or maybe|or wait|"
    r"or sorry|or no|wait i mean[t]?|no make that|make that|scratch that|strike that|excuse me|pardon me|"
    r"let me rephrase|never ?mind|what am i saying|i should say|i want to say|i meant to ask|um+|uh+|er+m?|hmm+|"
    r"oops|whoops|wait|sorry|well no|well actually|actually no|nope|not that|no not|on second thought|or like|"
    r"no|rather|actually|well|ok|okay|instead|i guess|i think|you know)\b"
)
EDIT_HINTS: Final = _set(
    """
    no wait sorry mean meant rather um umm uh uhh er erm hmm oops whoops scratch strike excuse pardon actually
    nope rephrase instead nevermind well okay ok
    """
)

# Frequent words of German, Spanish, French, Italian, Portuguese and Dutch that are no English words.
FOREIGN: Final = _set(
    """
    der das und ist nicht ein eine einen einem einer wurde wurden werden wird alle aller gib geben mir wen wie viele
    viel wo wer wann warum welche welcher welches wieviel für mit auf von zu zum zur dem des im ich wir sie kann
    mein meine meinen sind bei auch gibt oder hat el los las una unos es que qué cómo cuál cuándo dónde quién cuánto
    como donde cuando por para con mi mis su puedo puede hay del está le les une et est où quel quelle quels quelles
    quand comment pourquoi combien je tu nous vous ma pour dans avec sur puis cette il di della che dove quando
    perché quanto quale sono un uno gli nel mio mia posso os uma não onde meu minha eu você são na het een van niet
    hoe waar wat ik mijn kan voor
    """
)

"""Word pools, and the values drawn from them by a given `random.Random`."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


FIRST_NAMES: Final = words(
    """
    Maria Ada Amara Anton Aisha Bela Boris Carla Cem Chiara Clara Dana Daniel Diego Dora Edith Elena
    Emil Enzo Erik Esra Eva Farid Felix Fiona Frida Gita Greta Hana Hugo Ibrahim Ida Igor Ines Ivan
    Jana Jonas Jorge Julia Kai Karim Katya Kenji Lara Lea Leo Lina Luca Lucia Magnus Mara Marco
    Mateo Mei Mila Milan Mira Nadia Nils Nina Noah Nora Olga Omar Oscar Otto Paula Pedro Petra Pia
    Rafael Rana Rosa Ruth Samir Sara Selma Sofia Stefan Sven Tara Teo Tomas Uma Vera Viktor Wanda
    Yara Yusuf Zara Zoe
    """
)
LAST_NAMES: Final = words(
    """
    Lopez Abe Adler Almeida Bauer Becker Bell Berg Bianchi Blum Brandt Bruno Castro Chen Costa Cruz
    Dahl Diaz Dubois Duran Eder Egger Ferrari Fischer Fontana Foster Frank Fuchs Garcia Gomez Grant
    Gruber Haas Hansen Hart Holm Horvat Huber Ito Jansen Jung Kaya Keller Khan Kim Klein Kovac
    Kruger Lang Larsen Lind Lund Marin Martins Meyer Mohr Moreau Moretti Nagy Nakamura Navarro
    Nilsen Novak Okoye Olsen Ortega Park Patel Pereira Petrov Pinto Ramos Reyes Ricci Rossi Roth
    Sato Schmidt Silva Singh Sokolov Stein Suzuki Tanaka Torres Vargas Vidal Vogel Wagner Walsh
    Weber Winter Wolf Yilmaz Zeman
    """
)
CITIES: Final = words(
    """
    Lima Oslo Rome Paris Cairo Delhi Tokyo Kyoto Osaka Seoul Busan Lagos Accra Nairobi Dakar Tunis
    Rabat Athens Sofia Vienna Graz Linz Prague Brno Warsaw Gdansk Berlin Hamburg Munich Bremen
    Zurich Basel Bern Geneva Milan Turin Naples Bologna Madrid Seville Bilbao Lisbon Porto Dublin
    Cork Leeds York Bath Glasgow Lyon Nantes Ghent Antwerp Utrecht Aarhus Malmo Bergen Turku Riga
    Vilnius Tallinn Boston Denver Dallas Austin Miami Tampa Reno Toronto Ottawa Quebec Bogota Quito
    Santiago Havana Perth Sydney Hobart Auckland Manila Jakarta Hanoi Bangkok Mumbai Chennai
    """
)
COUNTRIES: Final = words(
    """
    Japan Norway Italy France Egypt India Korea Nigeria Ghana Kenya Senegal Tunisia Morocco Greece
    Bulgaria Austria Poland Germany Switzerland Spain Portugal Ireland Scotland Belgium Denmark
    Sweden Finland Latvia Estonia Canada Mexico Colombia Ecuador Chile Peru Brazil Bolivia Uruguay
    Cuba Australia Fiji Indonesia Vietnam Thailand Nepal Turkey Iceland Hungary Croatia Malta
    """
)
ADJECTIVES: Final = words(
    """
    Silent Golden Broken Hidden Silver Distant Empty Final Frozen Gentle Green Hollow Iron Last
    Little Lonely Long Lost Midnight New Northern Old Open Pale Quiet Red Second Secret Slow Small
    Southern Still Stone Strange Summer Tall Third White Wild Winter Wooden Young Blue Bright
    Burning Crooked Deep Dark Early Electric
    """
)
NOUNS: Final = words(
    """
    River Garden Mountain Harbor Window Mirror Bridge Forest Island Letter Lantern Orchard Palace
    Road Shadow Signal Storm Tower Valley Voyage Winter Moon Sun Sea Song Bell Castle City Clock
    Cloud Compass Crown Dream Echo Engine Falcon Field Fire Flower Fox Gate Ghost Heart Hill Horizon
    House Journey Key Lake Light Machine Map Meadow Morning Night Ocean Path Raven Rose Ship Sky
    Snow Star Station Stream Street Tide Train Tree Wall Wave Wind Wolf Wood World
    """
)
MASCOTS: Final = words(
    """
    Tigers Bears Falcons Sharks Wolves Eagles Lions Hawks Comets Rockets Kings Pirates Rangers
    Giants Bulls Foxes Rovers United Stars Storm
    """
)
FIRM_ENDS: Final = words(
    """
    Works Group Labs Foods Motors Press Systems Air Lines Studio Partners Energy Media
    """
)
_STARTS: Final = [
    *words("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s st t tr v w y z"),
    "",
    "",
]
_VOWELS: Final = words(
    """
    a e i o u a e i o ai ea io ou ei
    """
)
_ENDS: Final = ["", "", "", "n", "r", "l", "s", "m", "nd", "rt", "x", "lt"]


@dataclass(frozen=True)
class Values:
    """What a column may hold: whether it is numeric, and how to draw one value as text."""

    numeric: bool
    make: Callable[[Random], str]


def invented(rng: Random) -> str:
    """Return a made-up capitalised word of two or three syllables."""
    parts = [
        rng.choice(_STARTS) + rng.choice(_VOWELS) + rng.choice(_ENDS)
        for _ in range(rng.choice((2, 2, 3)))
    ]
    return "".join(parts).capitalize()


def _mostly(pool: list[str], rng: Random, odd: float = 0.2) -> str:
    """Return a word of the pool, or (with probability `odd`) an invented one."""
    return invented(rng) if rng.random() < odd else rng.choice(pool)


def person(rng: Random) -> str:
    """Return a first and a last name."""
    return f"{_mostly(FIRST_NAMES, rng)} {_mostly(LAST_NAMES, rng)}"


def city(rng: Random) -> str:
    """Return a town's name."""
    return _mostly(CITIES, rng)


def country(rng: Random) -> str:
    """Return a country's name."""
    return _mostly(COUNTRIES, rng, 0.1)


def title(rng: Random) -> str:
    """Return a title as of a film or a book."""
    form = rng.randrange(4)
    if form == 0:
        return f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    if form == 1:
        return f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    if form == 2:
        return f"{rng.choice(NOUNS)} of {_mostly(CITIES, rng, 0.5)}"
    return f"{invented(rng)} {rng.choice(NOUNS)}"


def place(rng: Random) -> str:
    """Return the name of a building, river or the like."""
    return f"{_mostly(ADJECTIVES, rng, 0.5)} {rng.choice(NOUNS)}"


def team(rng: Random) -> str:
    """Return a sports team's name."""
    return f"{_mostly(CITIES, rng)} {rng.choice(MASCOTS)}"


def firm(rng: Random) -> str:
    """Return a company's name."""
    return f"{_mostly(LAST_NAMES, rng, 0.6)} {rng.choice(FIRM_ENDS)}"


def word(rng: Random) -> str:
    """Return one invented word."""
    return invented(rng)


def code(rng: Random) -> str:
    """Return letters and digits, as of a flight or a room: never digits alone."""
    letters = "".join(rng.choice("ABCDEFGHKLMNPQRSTVXZ") for _ in range(rng.choice((1, 2))))
    return f"{letters}{rng.choice(('', '-'))}{rng.randrange(1, 1000)}"


MAKERS: Final[dict[str, Callable[[Random], str]]] = {
    "person": person,
    "city": city,
    "country": country,
    "title": title,
    "place": place,
    "team": team,
    "firm": firm,
    "word": word,
    "code": code,
}


def values(spec: str) -> Values:
    """Read a column's values: a maker's name, `low-high`, `low.0-high.0`, or words and `/`."""
    if spec in MAKERS:
        return Values(False, MAKERS[spec])
    if "/" in spec:
        pool = spec.split("/")
        return Values(False, lambda rng: rng.choice(pool))
    low, high = spec.split("-")
    if "." in spec:
        bottom, top = float(low), float(high)
        return Values(True, lambda rng: f"{rng.uniform(bottom, top):.1f}")
    first, last = int(low), int(high)
    return Values(True, lambda rng: str(_round(rng, rng.randint(first, last))))


def _round(rng: Random, number: int) -> int:
    """Return big numbers rounded, most of the time, as people name them."""
    if number >= 1000 and not 1800 <= number <= 2030 and rng.random() < 0.7:
        unit = int("1" + "0" * (len(str(number)) - 2))
        return number // unit * unit
    return number

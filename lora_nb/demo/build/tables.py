"""The demo's tables, and made-up ones that teach the base model to read any schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from lora_nb.demo.build.lexicon import NOUNS, Values, invented, values, words


@dataclass(frozen=True)
class Column:
    """A column: its name in the schema, its values, and what is special in asking about it."""

    name: str
    values: Values
    counts: bool = False
    """The name is a plural one can count ("songs"), so "more than 30 songs" is said."""
    lookups: tuple[str, ...] = ()
    """Questions that ask for it, with `{k}` for the row's key."""
    most: str = ""
    """Superlative that means its maximum ("oldest")."""
    least: str = ""
    """Superlative that means its minimum."""
    where: tuple[tuple[str, str], ...] = ()
    """Pairs of operator and phrase with `{v}` after a noun, such as ("=", "from {v}")."""

    @property
    def phrase(self) -> str:
        """The column's name as one says it."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Table:
    """A table: its plural name, the singular, whether its rows are people, the key and the rest."""

    name: str
    singular: str
    people: bool
    key: Column
    columns: tuple[Column, ...]

    @property
    def plural(self) -> str:
        """The table's name as one says it."""
        return self.name.replace("_", " ")


# name | values | c if it can be counted | lookups (;) | most, least | operator phrase (;)
_COLUMNS: Final = """
age | 16-79 ||\
    How old is {k}?;What age is {k}? | oldest, youngest | > older than {v};< younger than {v}
height | 150-215 || How tall is {k}?| tallest, shortest | > taller than {v};< shorter than {v}
weight | 2-900 ||\
    How heavy is {k}?;How much does {k} weigh? | heaviest, lightest | > heavier than {v}
salary | 1200-9800 || How much does {k} earn?;What does {k} earn? || > earning more than {v}
price | 2-950 ||\
    How much does {k} cost?;What does {k} cost? | priciest, cheapest | < cheaper than {v}
cost | 2.0-99.0 || How much is {k}? ||
rating | 1.0-9.9 || How is {k} rated? || > rated above {v};< rated below {v}
score | 10-100 || What did {k} score? || > scoring above {v}
rank | 1-99 || Where does {k} rank? || = ranked {v}
speed | 20-340 || How fast is {k}? | fastest, slowest | > faster than {v};< slower than {v}
length | 2-900 || How long is {k}? | longest, shortest | > longer than {v}
depth | 3-800 || How deep is {k}? | deepest, | > deeper than {v}
width | 2-400 || How wide is {k}? | widest, narrowest | > wider than {v}
area | 5-9000 || How large is {k}? | largest, smallest | > larger than {v}
elevation | 100-4800 || How high is {k}? | highest, lowest | > above {v}
duration | 20-240 || How long does {k} take? ||
distance | 1-900 || How far is {k}? | farthest, nearest |
power | 40-900 ||||
range | 50-900 || How far does {k} go? ||
population | 900-980000 || How many people live in {k}?;How big is the population of {k}? ||
capacity | 40-90000 || How many people fit in {k}? ||
year_founded | 1800-2020 ||\
    When was {k} founded? || > founded after {v};< founded before {v};= founded in {v}
year_opened | 1850-2022 ||\
    When did {k} open? || > opened after {v};< opened before {v};= opened in {v}
year_built | 1200-2015 ||\
    When was {k} built? || > built after {v};< built before {v};= built in {v}
release_year | 1950-2024 ||\
    When did {k} come out? || > released after {v};< released before {v};= released in {v}
debut_year | 1960-2022 || When did {k} start? || > starting after {v};= starting in {v}
birth_year | 1930-2005 || When was {k} born? || > born after {v};< born before {v};= born in {v}
year | 1900-2024 || What year is {k} from? || > after {v};< before {v};= of {v}
budget | 1000-900000 ||||
revenue | 1000-900000 || How much does {k} take in? ||
profit | 100-90000 || How much does {k} gain? ||
temperature | 1-45 || How warm is {k}? | warmest, coldest | > warmer than {v}
rainfall | 10-900 || How much rain falls in {k}? | wettest, driest |
mass | 1-900 ||||
diameter | 1-9000 || How wide across is {k}? ||
lifespan | 1-120 || How long does {k} live? ||
wingspan | 10-300 ||||
discount | 1-70 ||||
stock | 0-500 || How many of {k} are left? ||
tuition | 500-30000 || What does {k} charge? ||
first_flight | 1920-2015 || When did {k} first fly? ||
max_load | 10-9000 || How much can {k} carry? ||
fuel_use | 2.0-25.0 ||||
songs | 3-240 | c | How many songs does {k} have? ||
albums | 1-40 | c | How many albums did {k} make? ||
goals | 0-60 | c | How many goals did {k} score? ||
wins | 0-99 | c | How often did {k} win? ||
losses | 0-60 | c | How often did {k} lose? ||
games | 1-400 | c | How many games did {k} play? ||
points | 0-999 | c | How many points does {k} have? ||
medals | 0-28 | c | How many medals has {k} won? ||
titles | 0-30 | c | How many titles does {k} hold? ||
floors | 1-110 | c | How many floors does {k} have? ||
rooms | 1-600 | c | How many rooms are in {k}? ||
beds | 1-900 | c | How many beds are there in {k}? ||
seats | 2-900 | c | How many seats does {k} have? ||
pages | 40-1200 | c | How many pages are in {k}? ||
chapters | 3-60 | c |||
students | 20-40000 | c | How many students go to {k}? ||
teachers | 2-900 | c | How many teachers work at {k}? ||
employees | 2-90000 | c | How many people work at {k}? ||
visitors | 100-900000 | c | How many people visit {k}? ||
exhibits | 5-900 | c |||
tickets | 10-9000 | c | How many tickets were sold for {k}? ||
copies | 1-900 | c | How many copies of {k} are there? ||
votes | 10-90000 | c | How many votes did {k} get? ||
calories | 40-990 | c | How many calories are in {k}? ||
passengers | 1-900 | c | How many people can {k} take? ||
engines | 1-8 | c |||
decks | 1-16 | c |||
moons | 0-60 | c | How many moons does {k} have? ||
eggs | 1-30 | c | How many eggs does {k} lay? ||
players | 1-12 | c | How many can play {k}? ||
levels | 1-90 | c |||
credits | 1-12 | c | How many credits does {k} give? ||
episodes | 4-300 | c | How many episodes does {k} have? ||
seasons | 1-20 | c | How many seasons of {k} are there? ||
steps | 2-30 | c |||
servings | 1-12 | c | How many does {k} serve? ||
patients | 1-900 | c | How many patients does {k} see? ||
lifts | 1-60 | c |||
tracks | 1-30 | c | How many tracks are on {k}? ||
acres | 2-900 | c |||
cows | 0-400 | c | How many cows does {k} keep? ||
laps | 10-90 | c |||
country | country ||\
    Where is {k} from?;Which country does {k} belong to? || = from {v};!= not from {v}
city | city || In which city is {k}? || = in {v};!= not in {v};= based in {v}
region | word || In which region is {k}? ||
continent | Africa/Asia/Europe/Oceania/South America/North America ||\
    On which continent is {k}? ||
genre | jazz/rock/pop/folk/blues/soul/drama/comedy/horror/mystery/romance/fantasy ||\
    What kind of work is {k}? ||
color | red/blue/green/white/black/silver/yellow/orange/purple/brown ||\
    What color is {k}? || = in {v}
team | team || Which team is {k} on?;Who does {k} play for? || = playing for {v}
position | guard/forward/center/keeper/defender/striker ||\
    What position does {k} play? || = playing {v}
coach | person || Who coaches {k}? || = coached by {v}
director | person || Who directed {k}? || = directed by {v}
author | person || Who wrote {k}? || = by {v};= written by {v}
painter | person || Who painted {k}? || = painted by {v}
composer | person || Who composed {k}? || = composed by {v}
publisher | firm || Who published {k}? || = published by {v}
language | English/Spanish/French/German/Hindi/Arabic/Turkish/Polish/Swahili ||\
    What language is {k} in? || = in {v}
cuisine | Thai/Greek/Mexican/Indian/Italian/Korean/French/Persian ||\
    What food does {k} serve? || = serving {v}
chef | person || Who cooks at {k}? ||
owner | person || Who owns {k}? || = owned by {v}
manager | person || Who runs {k}? || = run by {v}
captain | person || Who sails {k}? || = under {v}
mayor | person || Who is mayor of {k}? ||
doctor | person || Who treats {k}? || = treated by {v}
teacher | person || Who teaches {k}? || = taught by {v}
brand | firm || Who makes {k}? || = made by {v}
maker | firm || Who built {k}? || = built by {v}
material | wood/steel/glass/stone/brick/concrete/marble/cotton ||\
    What is {k} made of? || = made of {v}
style | modern/gothic/baroque/classic/rustic/abstract ||||
status | open/closed/active/planned/retired/delayed || What state is {k} in? ||
surface | grass/clay/sand/ice/gravel || What surface does {k} have? || = on {v}
habitat | desert/forest/swamp/coast/tundra/reef || Where does {k} live? || = living in {v}
diet | plants/insects/fish/seeds/meat || What does {k} eat? || = eating {v}
sport | tennis/rowing/boxing/judo/fencing/skiing/cycling ||\
    What sport does {k} do? || = doing {v}
instrument | piano/violin/cello/flute/drums/guitar/trumpet ||\
    What does {k} play? || = playing {v}
label | firm || Who released {k}? ||
platform | console/phone/desktop/arcade || What does {k} run on? ||
developer | firm || Who developed {k}? || = developed by {v}
studio | firm || Which studio made {k}? ||
network | firm || Who airs {k}? || = aired by {v}
architect | person || Who designed {k}? || = designed by {v}
party | word || What party is {k} in? ||
subject | history/biology/physics/music/law/geography/chemistry ||\
    What is {k} about? || = about {v}
department | sales/support/finance/design/research/legal ||\
    Where does {k} work? || = working in {v}
room | code || In which room is {k}? ||
gate | code || Which gate does {k} use? ||
shelf | code || On which shelf is {k}? ||
airline | firm || Who operates {k}? || = operated by {v}
origin | city || Where does {k} come from? || = leaving {v}
destination | city || Where does {k} go? || = going to {v}
category | basic/deluxe/junior/senior/family/special ||||
breed | terrier/poodle/collie/beagle/spaniel/boxer || What breed is {k}? ||
crop | wheat/rice/corn/apples/grapes/olives || What does {k} grow? || = growing {v}
sponsor | firm || Who pays for {k}? || = paid for by {v}
winner | person || Who won {k}? || = won by {v}
host | city || Where was {k} held? || = held in {v}
currency | word || What money is used in {k}? ||
capital | city || What is the capital of {k}? ||
fuel | diesel/petrol/electric/hybrid/gas || What fuel does {k} use? || = running on {v}
season | spring/summer/autumn/winter || When does {k} bloom? ||
star | word || Which star does {k} circle? || = circling {v}
metal | iron/copper/zinc/gold/nickel/tin || What metal does {k} give? ||
flavor | mint/lemon/vanilla/coffee/cherry/mango || What does {k} taste of? ||
nationality | word || What nationality is {k}? ||
job_title | clerk/analyst/engineer/designer/driver/nurse || What is the job of {k}? ||
"""

# table | singular | key:values (! for people) | columns
_TABLES: Final = """
singers | singer | name:person! | age country songs genre albums debut_year
players | player | name:person! | team position goals height age games
swimmers | swimmer | name:person! | country medals age height coach
teams | team | team:team | city coach wins losses year_founded points
films | film | title:title | director release_year genre budget duration studio
books | book | title:title | author pages publisher year language copies
paintings | painting | title:title | painter year style width price
songs | song | title:title | composer duration genre year rating
albums | album | title:title | label tracks release_year genre copies
operas | opera | title:title | composer year language duration
shows | show | title:title | network seasons episodes rating genre
video_games | video game | title:title | developer platform release_year levels rating
board_games | board game | title:title | players duration price publisher age
cities | city | city:city | population mayor area country elevation
countries | country | country:country | capital population currency continent area
rivers | river | river:place | length country depth width
lakes | lake | lake:place | area depth elevation country
mountains | mountain | peak:place | elevation country region
islands | island | island:word | area population country
bridges | bridge | bridge:place | length year_built material city width
towers | tower | tower:place | height floors year_built architect city
castles | castle | castle:place | year_built rooms owner region
museums | museum | museum:place | city visitors exhibits year_opened manager
stadiums | stadium | stadium:place | capacity city year_opened surface team
hotels | hotel | hotel:place | city rooms price rating floors manager
restaurants | restaurant | name:place | city cuisine chef seats rating
schools | school | school:place | city students teachers year_founded
universities | university | name:city | students year_founded tuition rank country
courses | course | course:title | teacher credits subject room students
hospitals | hospital | hospital:place | city beds year_opened doctor
patients | patient | name:person! | age doctor room weight
employees | employee | name:person! | department salary age city job_title
companies | company | company:firm | revenue employees year_founded city profit
products | product | product:place | brand price stock category color
cars | car | model:word | maker power price fuel year color
trains | train | train:code | speed origin destination seats
flights | flight | flight:code | airline origin destination gate duration status
planes | plane | model:code | maker engines passengers range first_flight
ships | ship | ship:place | captain length year_built passengers decks
rockets | rocket | rocket:word | height country max_load first_flight
planets | planet | planet:word | diameter moons mass star temperature
birds | bird | bird:place | wingspan habitat diet eggs weight
animals | animal | animal:word | habitat diet lifespan weight speed
dogs | dog | name:word | breed age owner weight color
farms | farm | farm:place | acres crop cows owner region
dishes | dish | dish:place | calories price cuisine servings
recipes | recipe | recipe:title | chef steps duration servings calories
cakes | cake | cake:place | flavor price calories servings
races | race | race:place | distance winner year laps host
athletes | athlete | name:person! | sport country medals age weight
matches | match | match:code | host winner year tickets surface
elections | election | election:code | winner votes year region party
mines | mine | mine:place | metal depth year_opened owner employees
parks | park | park:place | area city year_opened visitors
trucks | truck | truck:code | max_load fuel_use maker price
festivals | festival | festival:title | city tickets year sponsor
musicians | musician | name:person! | instrument country birth_year albums
ski_resorts | ski resort | resort:place | lifts elevation country price
apartments | apartment | apartment:code | rooms price floors owner city
"""


def _cells(line: str) -> list[str]:
    """Return the stripped cells of a line parted by `|`."""
    return [cell.strip() for cell in line.split("|")]


def _items(cell: str) -> tuple[str, ...]:
    """Return the parts of a cell parted by `;`."""
    return tuple(item.strip() for item in cell.split(";") if item.strip())


def _column(line: str) -> Column:
    """Read one line of the columns."""
    name, spec, counts, lookups, extremes, where = (*_cells(line), "", "", "")[:6]
    most, _, least = extremes.partition(",")
    pairs = tuple((op, phrase) for op, _, phrase in (i.partition(" ") for i in _items(where)))
    return Column(
        name, values(spec), bool(counts), _items(lookups), most.strip(), least.strip(), pairs
    )


COLUMNS: Final[dict[str, Column]] = {
    column.name: column for column in map(_column, _COLUMNS.strip().splitlines())
}


def _table(line: str) -> Table:
    """Read one line of the tables."""
    name, singular, key, columns = _cells(line)
    key_name, _, spec = key.rstrip("!").partition(":")
    return Table(
        name,
        singular,
        key.endswith("!"),
        Column(key_name, values(spec)),
        tuple(COLUMNS[column] for column in columns.split()),
    )


TABLES: Final[tuple[Table, ...]] = tuple(map(_table, _TABLES.strip().splitlines()))

_KINDS: Final = words(
    "person city country title place team firm word code 1-20 1-999 100-9000 1.0-9.9"
)
_LETTERS: Final = "aaabcdeeeeffghiiijklmnnooopprrssttuuvwxyz"
_FIRST: Final = words("max min home main last first net total base next unit new old side")


def _word(rng: Random) -> str:
    """Return a lower-case word: real, invented, or mere letters."""
    form = rng.random()
    if form < 0.35:
        return rng.choice(NOUNS).lower()
    if form < 0.75:
        return invented(rng).lower()
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(3, 7)))


def _made_up_columns(rng: Random) -> Iterator[Column]:
    """Yield columns without end: known ones, new names, and compounds."""
    while True:
        form = rng.random()
        if form < 0.45:
            yield rng.choice(list(COLUMNS.values()))
            continue
        name = _word(rng) if form < 0.75 else f"{rng.choice(_FIRST)}_{_word(rng)}"
        yield Column(name, values(rng.choice(_KINDS)))


def made_up_table(rng: Random) -> Table:
    """Return a table that is not among `TABLES`, with three to six columns beside the key."""
    singular = _word(rng)
    key = Column(
        rng.choice(("name", "title", "id_code", "label", singular, _word(rng))),
        values(rng.choice(_KINDS[:9])),
    )
    found = {key.name: key}
    size = rng.randint(4, 7)
    for column in _made_up_columns(rng):
        found.setdefault(column.name, column)
        if len(found) == size:
            break
    return Table(singular + "s", singular, rng.random() < 0.3, key, tuple(found.values())[1:])

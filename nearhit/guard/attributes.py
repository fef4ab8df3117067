"""Attributes: which property a question asks for, seen through the words that name it (English, written for it)."""

from __future__ import annotations

from typing import Final

ATTRIBUTE_LINES: Final = """
birth: born birth birthplace birthday birthdate
death: die died dies death deceased dying
burial: buried burial grave cemetery rest
place: where place location located situated site spot venue
country: country nation countries nationality citizenship homeland national
city: city town hometown village municipality
time: when year years date dates time month decade century day era
person: who whom person people
direct: directed director direct directs directing
write: wrote write writer writers written author authored authors writes screenplay screenwriter story penned
music: composer composed compose composers music lyrics lyricist soundtrack
produce: producer produced produces produce
publish: publisher published publish
perform: performed performs performer sings sang sung singer recorded artist
genre: genre genres kind kinds type types style styles category categories classification classified sort format
language: language languages tongue spoken speak
gender: gender sex male female
religion: religion religious faith worship believe
profession: job occupation profession living career work works employed
position: position positions played playing plays
label: label signed records
ethnicity: ethnicity ethnic race
cause: cause caused causes why reason reasons led
parent: parent parents father mother mom dad
child: child children son daughter kids kid
sibling: brother sister sibling siblings
spouse: spouse wife husband married marry
count: number count total many amount quantity sum
price: price cost costs fee fees charge charged charges expensive pay paid
age: age old young
height: height tall high elevation
length: length long
weight: weight weigh heavy
area: area acres
population: population inhabitants residents
distance: distance far
speed: speed fast
capacity: capacity seats hold
score: score scores points scored
rank: rank ranked ranking
result: result outcome results
winner: winner won win wins champion
opponent: opponent against opponents
attendance: attendance crowd attended
name: name names called title titles
team: team teams club
league: league division
school: school university college educated studied
found: founded founder founders established
discover: discovered discoverer invented inventor discovery
influence: influenced influence inspired
conflict: war battle conflict fought
film: film movie filmed
album: album song track
book: book novel
meaning: mean meaning means define definition stand
method: how way method steps procedure
use: used use uses purpose
part: contain contains include includes consist
example: example examples
color: color colour colors
size: size large big
percent: percent percentage share
average: average mean
minimum: lowest minimum smallest least min fewest
maximum: highest maximum largest most max greatest biggest
status: status pending
limit: limit limits
cancel: cancel cancelled cancellation
change: change changed update
activate: activate activation enable
order: order ordered request
arrive: arrive arrival arrived delivery deliver delivered
lost: lost stolen missing
refund: refund refunded reimbursement
fail: fail failed declined decline rejected denied
exchange: exchange rate currency currencies convert
receive: receive received get
send: send sent transfer transferred
verify: verify verification identity identify
prerequisite: prerequisite prerequisites prereq prereqs requirement requirements required
credit: credit credits
instructor: instructor teacher professor teach teaches taught teaching
difficulty: difficult hard easy easiest difficulty challenging
enroll: enroll enrolled enrollment register
delete: delete remove erase
find: find search locate
copy: copy duplicate
move: move rename
show: print display show
list: list
sort: sort order
replace: replace substitute
compress: compress archive zip
""".strip()

_IGNORED: Final = frozenset({"name", "method"})


ATTRIBUTE_OF: Final = {
    word: name
    for name, _, words in [line.partition(":") for line in reversed(ATTRIBUTE_LINES.splitlines())]
    if name not in _IGNORED
    for word in words.split()
}
"""Which property a word names. If several lines have the word, the first one decides."""

"""Synonyms: forms of one word, words that stand for each other, and opposites (English, written for the guard)."""

from __future__ import annotations

from typing import Final

# A word and its forms that no ending shows; the first stands for all.
FORM_LINES: Final = """
take took taken taking
go went gone goes going
write wrote written writing
make made making
find found
get got gotten getting
give gave given giving
know knew known
come came coming
see saw seen
think thought
tell told
become became becoming
leave left
feel felt
bring brought
begin began begun beginning
keep kept
hold held
stand stood
hear heard
mean meant
meet met
run ran running
pay paid
sit sat sitting
speak spoke spoken
lie lay lain lying
lead led
read reading
grow grew grown
lose lost losing
fall fell fallen
send sent
build built
understand understood
draw drew drawn
break broke broken
spend spent
rise rose risen
drive drove driven driving
buy bought
wear wore worn
choose chose chosen choosing
sell sold
teach taught
win won winning
fight fought
catch caught
sing sang sung
swim swam swum swimming
shoot shot
steal stole stolen
throw threw thrown
fly flew flown
eat ate eaten
drink drank drunk
bear born borne
die died dying dies
man men
woman women
child children
person people persons
foot feet
tooth teeth
mouse mice
life lives
wife wives
half halves
leaf leaves
datum data
good better best
bad worse worst
strike struck
fill filled
pass passed past
add added
kiss kissed
miss missed
process processed
wed wedded
direct directed director
produce produced producer production
publish published publisher
create created creator creation
author authored authors
compose composed composer
found founded founder founders founding
release released releases
design designed designer
develop developed developer
perform performed performer
act acted actor actress
paint painted
locate located location locations
bury buried burial
marry married marriage
inspire inspired inspiration
influence influenced influences
educate educated education
populate population populated
invent invented inventor
discover discovered discoverer discovery
sign signed
nation nationality national nationalities
religion religious
origin originate originated originates originally original
lyric lyrics lyricist
profession professional
cite citizen citizenship
""".strip().splitlines()

# Words of one line answer the same question when one stands for the other.
SYNONYM_LINES: Final = """
big large huge
small little tiny
fast quick rapid speedy
begin start commence
end finish conclude
buy purchase procure acquire
film movie
picture photo photograph
car automobile vehicle
job occupation profession work career
sex gender
kid child
creator maker
doctor physician
teacher instructor professor prof
class course
student pupil
folder directory
delete remove erase
print display output show
search find locate look
begin start
copy duplicate
modify change alter edit
quantity amount number count
country nation
city town
song track tune
album record
book novel
genre style
biggest largest greatest
smallest tiniest
highest top tallest
brave courageous
happy joyful glad cheerful
sad unhappy
angry mad furious
scared afraid frightened fearful
thankful grateful
smart intelligent clever bright
rich wealthy
poor needy
easy simple
hard difficult tough
important significant
sick ill
quiet silent calm
begin initiate
ask inquire request
answer reply respond
require need requirement prerequisite prereq prereqs
offer available
undergraduate undergrad undergrads
graduate grad
allow permit let
earn make
get receive obtain
lessen reduce decrease decline
increase raise grow
baby infant
street road
home house
shop store
gift present
trip journey travel
near close
correct right
wrong incorrect
money cash fund
freeze block
verify confirm check
card cards
error mistake
begin origin
die death dead
birth born bear
wed marry
sole only
site website
pc computer
phone telephone
tv television
maths math mathematics
fix repair
choose select pick
want wish desire
enough sufficient
show exhibit
approx approximately
usual normal
vacation holiday pto
lunch meal
total sum altogether
spouse husband wife
author writer write
label record
area region
language tongue
kind type sort
compose write
band group
location place
artist singer musician
play perform
publish issue
run execute
contain include
recursive recursively
keep retain
join unite
hurt injure
fear dread
humble modest
polite courteous
honest truthful
lazy idle
famous renowned
shy timid
strange odd weird
stubborn obstinate
wise sage
kind nice
tired exhausted
hungry starving
healthy fit
religious devout
spiritual soulful
successful prosperous
confident assured
friendly amicable
romantic loving
impatient hasty
""".strip().splitlines()

# Left and right of a bar are opposites.
ANTONYM_LINES: Final = """
more most | less least fewer fewest
big large high tall long old great | small little low short young
biggest largest highest tallest longest oldest greatest maximum max top | smallest lowest shortest youngest
biggest largest highest tallest longest oldest greatest maximum max top | minimum min bottom least
bigger larger higher taller longer older greater | smaller lower shorter younger
increase raise grow rise add gain | decrease reduce lower fall subtract lose shrink drop
early earlier earliest | late later latest
old older oldest | new newer newest recent
first | last
before | after
above over | below under
open enable activate start begin unlock allow accept | close disable deactivate stop end lock block reject
buy purchase | sell
import | export
upload | download
send | receive
push | pull
win | lose
love like | hate dislike
good better best | bad worse worst
happy | sad unhappy
hot warm hotter warmer | cold cool colder cooler
fast faster quick | slow slower
easy easier simple | hard harder difficult
rich | poor
strong stronger | weak weaker
cheap cheaper cheapest | expensive pricey
male man boy father son brother husband men he | female woman girl mother daughter sister wife women she
left | right
north northern | south southern
east eastern | west western
true | false
same similar | different
include including contain with | exclude excluding without except
ascending increasing | descending decreasing
encode encrypt compress | decode decrypt decompress uncompress extract
create add make insert | delete remove destroy drop
input | output
read | write
minimum | maximum
positive | negative
public | private
internal | external
possible | impossible
legal | illegal
safe | dangerous unsafe
visible | invisible hidden
optimistic | pessimistic
religious | atheist
brave | cowardly
responsible | irresponsible
patient | impatient
polite | rude
arrive | depart leave
enter | exit
asleep | awake
dead die | alive live
birth born | death die
pass | fail
save | spend
lend | borrow
teach | learn
ask | answer
full | empty
heavy heavier | light lighter
wet | dry
day | night
morning | evening
inside | outside
up | down
front | back
major | minor
upper | lower
majority | minority
freeze | unfreeze
hardworking | lazy
humble | arrogant
modern | ancient
single | married
guilty | innocent
clean | dirty
loud | quiet
wide | narrow
deep | shallow
thick | thin
ally | enemy
undo | redo
pros | cons
on | off
all every | one none
mandatory compulsory obligatory | optional voluntary
plug plugged | unplug unplugged
link linked | unlink unlinked
benefit advantage pro | drawback disadvantage downside con
thin | thicken
cancel | renew reactivate
warm heat | cool chill
freezing melting | boiling
boil | freeze melt
attach | detach
connect | disconnect
install | uninstall
subscribe | unsubscribe
login | logout
mount | unmount
show | hide
expand | collapse
hire | fire
marry | divorce
income | expense
asset | liability
credit | debit
deposit | withdraw withdrawal
upgrade | downgrade
encourage | discourage
forward | backward
horizontal | vertical
attack | defend
victory | defeat
advantage | disadvantage
rural | urban
agree | disagree
progressive | conservative
introverted | extroverted
active | passive
successful | unsuccessful
visitor away guest | home host
mother maternal | father paternal
""".strip().splitlines()

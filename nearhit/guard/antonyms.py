"""Antonyms: words that turn a meaning round (English, written for the guard)."""

from __future__ import annotations

from typing import Final

# Left and right of a bar are opposites; groups end with a semicolon.
ANTONYMS: Final = """
more most | less least fewer fewest; big large high tall long old great | small little low short young;
biggest largest highest tallest longest oldest greatest maximum max top | smallest lowest shortest youngest;
biggest largest highest tallest longest oldest greatest maximum max top | minimum min bottom least;
bigger larger higher taller longer older greater | smaller lower shorter younger;
increase raise grow rise add gain | decrease reduce lower fall subtract lose shrink drop;
early earlier earliest | late later latest; old older oldest | new newer newest recent; first | last; before | after;
above over | below under;
open enable activate start begin unlock allow accept | close disable deactivate stop end lock block reject;
buy purchase | sell; import | export; upload | download; send | receive; push | pull; win | lose;
love like | hate dislike; good better best | bad worse worst; happy | sad unhappy;
hot warm hotter warmer | cold cool colder cooler; fast faster quick | slow slower;
easy easier simple | hard harder difficult; rich | poor; strong stronger | weak weaker;
cheap cheaper cheapest | expensive pricey;
male man boy father son brother husband men he | female woman girl mother daughter sister wife women she;
left | right; north northern | south southern; east eastern | west western; true | false; same similar | different;
include including contain with | exclude excluding without except; ascending increasing | descending decreasing;
encode encrypt compress | decode decrypt decompress uncompress extract;
create add make insert | delete remove destroy drop; input | output; read | write; minimum | maximum;
positive | negative; public | private; internal | external; possible | impossible; legal | illegal;
safe | dangerous unsafe; visible | invisible hidden; optimistic | pessimistic; religious | atheist; brave | cowardly;
responsible | irresponsible; patient | impatient; polite | rude; arrive | depart leave; enter | exit; asleep | awake;
dead die | alive live; birth born | death die; pass | fail; save | spend; lend | borrow; teach | learn; ask | answer;
full | empty; heavy heavier | light lighter; wet | dry; day | night; morning | evening; inside | outside; up | down;
front | back; major | minor; upper | lower; majority | minority; freeze | unfreeze; hardworking | lazy;
humble | arrogant; modern | ancient; single | married; guilty | innocent; clean | dirty; loud | quiet; wide | narrow;
deep | shallow; thick | thin; ally | enemy; undo | redo; pros | cons; on | off; all every | one none;
mandatory compulsory obligatory | optional voluntary; plug plugged | unplug unplugged; link linked | unlink unlinked;
benefit advantage pro | drawback disadvantage downside con; thin | thicken; cancel | renew reactivate;
warm heat | cool chill; freezing melting | boiling; boil | freeze melt; attach | detach; connect | disconnect;
install | uninstall; subscribe | unsubscribe; login | logout; mount | unmount; show | hide; expand | collapse;
hire | fire; marry | divorce; income | expense; asset | liability; credit | debit; deposit | withdraw withdrawal;
upgrade | downgrade; encourage | discourage; forward | backward; horizontal | vertical; attack | defend;
victory | defeat; advantage | disadvantage; rural | urban; agree | disagree; progressive | conservative;
introverted | extroverted; active | passive; successful | unsuccessful; visitor away guest | home host;
mother maternal | father paternal
"""

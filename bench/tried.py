"""Tried: what was tried to make the read path faster and what it gave, as the page of the bench tells it."""

from __future__ import annotations

TRIED = (
    "Profiled first (cProfile; then the whole lookup with recorded replies, which leaves Python's part alone): of a "
    "semantic lookup at 1,000 entries 42 µs were ours, a third of it reading the reply, a third packing commands and "
    "steering two flows at once.",
    "Search alone where the question's vector is known, and look by key only where the search leaves doubt, instead of "
    "HMGET and FT.SEARCH in one round trip: the second reply woke the client twice. Semantic lookup 1.23x → 1.13x of "
    "its FT.SEARCH at 1,000 entries together with the next two. Kept.",
    "Pack the words that never change once (`wire.Template`): HMGET 9 → 2 µs, FT.SEARCH 19 → 3 µs. Kept.",
    "One object a row instead of two, and no copies of its halves: 26 → 13 µs for four rows. Kept. Making the fields "
    "of a row only when it is looked at would save 3 µs more, 1 % of a search; not kept: results were then no list.",
    "Keep idle connections in the asyncio link, as the blocking one did: asyncio exact hit 1.48x → 1.21x of its HMGET. "
    "Kept.",
    "No socket timeout of redis-py's own in asyncio clients: with one, every write is a task. The link bounds the "
    "whole round trip anyway. Exact hit 1.21x → 1.02x, semantic lookup 1.13x → 1.04x. Kept.",
    "Decode a stored answer before `json.loads`, which otherwise guesses the encoding: 2 µs of 4. Kept.",
    "HMGET behind FT.SEARCH in one round trip, instead of before it: 3 % of a search. Not kept, since searching alone "
    "saves 10 %.",
    "hiredis's own packer on every command: 3 to 8 µs, more than twice what a template takes. Not kept.",
    "Ask for the nearest entry alone (KNN 1, one HMGET), and for the next ones only where the guard refuses it or it "
    "has ended: four answers were fetched and read for the one that is served. FT.SEARCH itself 223 → 180 µs at 1,000 "
    "entries, 193 → 148 µs at 10,000 (EF_RUNTIME 10). Kept; a refused neighbour costs one search more.",
    "A chat of one plain user message is read without looking for what else may be in it: 6.0 → 1.6 µs of the 31 that "
    "a lookup takes in Python. Kept.",
    "Local engine, profiled at 10,000 entries: of 117 µs in the replica 50 were the scan of sign bits, 26 the second "
    "look, 10 the question's own bits. 64 rows instead of 192 for the first second look: 117 → 109 µs, at 100,000 "
    "618 → 564. From 512 rows on, instead of 1,024, the scan of bits: 101 → 57 µs at 1,000. Kept.",
    "Local engine, blocks of 1,024 to 4,096 rows whose temporaries fit the first cache: 34 → 35 to 68 µs. Not kept.",
    "Fills, profiled by the server's own counters: of 35 µs that a stored fill took there, two small scripts took 15. "
    "The lease is taken with SET and HGET instead of a script: 15 → 4 µs. Kept.",
    "Fills, larger pieces to the socket (6 to 128 KiB instead of 6 KB): fewer system calls, but the server then begins "
    "later; no gain. Not kept.",
    "Fills, one drain at a time or several: one thread stores 0.8 times as many as a pipelined HSET, since the server "
    "waits while it decodes and acknowledges; two and more 0.9 to 1.5 times, as they insert side by side. Workers "
    "already call for a second thread where a batch is full. Calling at most twice a second saved no time. Not kept.",
    "Many lookups at a time, profiled: nothing stands out, a lookup is a hundred steps of 0.2 to 3 µs. Against a fixed "
    "loop timed in turns: records of the read path as msgspec structs (one of 13 fields: 2.5 → 0.2 µs) and answers "
    "read by msgspec (1.2 → 0.2 µs) 15 %; one timer for all exchanges of a connection (2.3 → 0.3 µs), commands "
    "formatted in one step, no lock to read a known vector, no coroutine for a cache that is open 10 %. Kept.",
    "The bucket of a histogram by bisection, a chat of one message without a reader of conversations, hits as structs: "
    "an exact hit 37 → 33 µs. XADD and SET of a fill as templates, answers that are text by msgspec: a fill 4 % "
    "less. Kept.",
    "256 threads over 64 connections: each that waited counted the living connections first, which took longer than a "
    "lookup. The count is kept until one ends: 730 → 400 µs of CPU a lookup. Kept.",
    "Two and four asyncio connections instead of one: no faster. The server then answers each with a write of its own. "
    "Not kept.",
    "Search with EF_RUNTIME 10 first and with 40 where that finds nothing to serve: hits take 0.80x the time, lookups "
    "that never hit 1.5x. Kept while two thirds of the latest lookups are hits.",
    "Embed while HMGET travels: 0.1 to 1 ms of 10 to 50 less for a semantic hit near the server, 36x the CPU for an "
    "exact one. Not kept.",
    "Embedding calls that lookups share, see the part embedding. First with a call whenever one of four ends: threads "
    "waited for a whole call, 16 at once took 100 ms instead of 50. Kept with eight, and 2 ms in which others join.",
    "The measurement itself: with both sides in a fixed order the second found the server's memory warm and looked "
    "15 % faster; the order now changes every round, and both sides ask for different texts.",
)

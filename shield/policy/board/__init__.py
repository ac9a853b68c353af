"""The memory board: how several workers are one Shield.

    memory        the layout of the memory that they share, records and rings in it
    seat          one worker's place at the board: its cells, who else is there, who leads
    report        what a worker has counted, for whoever leads
    crew          what an engine tells the others, and hears from them

**One leads, the others follow.** The worker with the lowest number that is alive closes the windows for all: it adds
what the others have counted to its own, and its pressure, price and limit are everybody's. Each window it writes them
down, with all that is needed to go on from there; so when it dies, the next one does. Nobody is elected: all see the
same beats.

**No locks.** Each worker writes its own part of the memory, and reads the others'. A record has a version before and a
digest over it and the content; what does not fit was being written, or is of a worker that died while it wrote, and is
left out. A worker that has not beaten for `STALE` seconds counts no more.

The memory is handed in: this folder does no I/O.
"""

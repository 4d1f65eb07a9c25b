-- Several programs answer from one database, which only one on a server allows: who answers which request.

-- A row for each program while it runs. It is dead if it was not seen for a while, by the clock of the database.
CREATE TABLE processes (
    id INTEGER PRIMARY KEY,                         -- the time when it began, in microseconds since 1970 UTC
    seats TEXT NOT NULL,                            -- JSON array: the shards and sockets that are its own
    seen_at_utc INTEGER NOT NULL
) STRICT;

-- The program that answers a request: the id of its row in processes. Without such a row any program may take it over.
ALTER TABLE inbox ADD COLUMN held_by INTEGER;

-- What a program has to know of what another one was told: that a request was deleted or edited, for example.
CREATE TABLE signals (
    id INTEGER PRIMARY KEY,                         -- order of insertion
    process_id INTEGER NOT NULL REFERENCES processes (id) ON DELETE CASCADE,
    platform TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('withdrawn', 'edited', 'stopped', 'erased')),
    subject TEXT NOT NULL                           -- the id of a request; of 'erased' a JSON array of hosted_messages
) STRICT;

CREATE INDEX signals_by_process ON signals (process_id, id);

-- What was deleted lately while its words may be on their way in another program: a message, a person or a place.
CREATE TABLE gone_marks (
    platform TEXT NOT NULL,
    key TEXT NOT NULL,
    gone_at_utc INTEGER NOT NULL,
    PRIMARY KEY (platform, key)
) STRICT;

CREATE INDEX gone_marks_by_time ON gone_marks (gone_at_utc);

-- What is needed to answer each request once, whenever the program ends in between.

-- A row for each request that was accepted. Its words are here only until it is finished; the bare row stays a while,
-- so that a message that is delivered again is known.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL,
    platform TEXT NOT NULL,
    message_id TEXT NOT NULL,                       -- the platform's
    author_id TEXT NOT NULL,                        -- '' when that person was forgotten
    author_name TEXT NOT NULL,
    author_roles TEXT NOT NULL,                     -- JSON array of ids
    is_moderator INTEGER NOT NULL CHECK (is_moderator IN (0, 1)),
    text TEXT,                                      -- NULL: erased
    attachment TEXT,
    reply_to TEXT,
    reach TEXT NOT NULL CHECK (reach IN ('public', 'private', 'form')),
    is_addressed INTEGER NOT NULL CHECK (is_addressed IN (0, 1)),
    created_at_utc INTEGER NOT NULL,
    accepted_at_utc INTEGER NOT NULL,
    token TEXT NOT NULL,                            -- the platform's means to answer later: a secret while it lives
    state TEXT NOT NULL CHECK (state IN ('waiting', 'responding', 'answered', 'refused', 'expired', 'cancelled')),
    finished_at_utc INTEGER,
    UNIQUE (platform, message_id),
    FOREIGN KEY (conversation_id, platform) REFERENCES conversations (id, platform),
    CHECK ((finished_at_utc IS NULL) = (state IN ('waiting', 'responding'))),
    CHECK (finished_at_utc IS NULL OR text IS NULL),
    CHECK (text IS NOT NULL OR (author_name = '' AND author_roles = '[]' AND attachment IS NULL AND token = ''))
) STRICT;

CREATE INDEX inbox_by_conversation ON inbox (conversation_id);
CREATE INDEX inbox_unfinished ON inbox (platform, created_at_utc, id) WHERE finished_at_utc IS NULL;

-- The visible messages of the bot, by the id that the platform gave each. A stored answer names its request in
-- reply_to, so a visible message leads to its request and from there to the stored answer.
CREATE TABLE sent_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,           -- order of sending
    conversation_id INTEGER NOT NULL,
    platform TEXT NOT NULL,
    sent_id TEXT NOT NULL,
    message_id TEXT NOT NULL,                       -- the request's
    position INTEGER NOT NULL CHECK (position >= 0),    -- among the messages that make one answer
    UNIQUE (platform, sent_id),
    FOREIGN KEY (conversation_id, platform) REFERENCES conversations (id, platform)
) STRICT;

CREATE INDEX sent_messages_by_request ON sent_messages (platform, message_id, position);
CREATE INDEX sent_messages_by_conversation ON sent_messages (conversation_id, id);

CREATE INDEX messages_by_request ON messages (platform, reply_to) WHERE is_me = 1;

-- The highest message id of a stream of events below which everything was handled.
CREATE TABLE watermarks (
    platform TEXT NOT NULL,
    key TEXT NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (platform, key)
) STRICT, WITHOUT ROWID;

-- Who asked not to be read. Being forgotten does not take that back.
CREATE TABLE opted_out (
    platform TEXT NOT NULL,
    author_id TEXT NOT NULL,
    opted_out_at_utc INTEGER NOT NULL,
    PRIMARY KEY (platform, author_id)
) STRICT, WITHOUT ROWID;

-- What a platform has to know again after a restart, such as a hash of what it told the servers.
CREATE TABLE notes (
    platform TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (platform, name)
) STRICT, WITHOUT ROWID;

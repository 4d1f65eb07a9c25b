-- Times are whole microseconds since 1970-01-01 UTC (columns *_utc). Everything people said hangs on a conversation,
-- and a conversation belongs to one channel of one server: that is how one server never sees another's words.

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    platform TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    thread TEXT NOT NULL,                           -- '' outside of threads
    -- The fresh line: history reads only rows of messages above fresh_row, said at fresh_utc or later. Both, because
    -- a message said before the line may be delivered after it.
    fresh_row INTEGER NOT NULL DEFAULT 0,
    fresh_utc INTEGER NOT NULL DEFAULT 0,
    UNIQUE (platform, server, channel, thread),
    UNIQUE (id, platform)                           -- for the foreign key of messages
) STRICT;

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,           -- order of arrival, never used twice: fresh_row relies on it
    conversation_id INTEGER NOT NULL,
    platform TEXT NOT NULL,
    message_id TEXT NOT NULL,                       -- the platform's
    author_id TEXT NOT NULL,
    author_name TEXT NOT NULL,
    is_bot INTEGER NOT NULL CHECK (is_bot IN (0, 1)),
    is_me INTEGER NOT NULL CHECK (is_me IN (0, 1)),
    text TEXT NOT NULL,
    attachment TEXT,                                -- text of an attached file
    reply_to TEXT,                                  -- message_id; may name a message that was never stored
    kind TEXT NOT NULL CHECK (kind IN ('chat', 'command')),     -- history reads chat only
    revision INTEGER NOT NULL DEFAULT 1 CHECK (revision >= 1),  -- goes up with every edit
    created_at_utc INTEGER NOT NULL,
    edited_at_utc INTEGER,
    deleted_at_utc INTEGER,                         -- set: a gravestone without words and name
    UNIQUE (platform, message_id),
    FOREIGN KEY (conversation_id, platform) REFERENCES conversations (id, platform),
    CHECK (deleted_at_utc IS NULL OR (text = '' AND author_name = '' AND attachment IS NULL))
) STRICT;

CREATE INDEX messages_by_time ON messages (conversation_id, created_at_utc, id);

-- Every template text that was used, once, so that `why` can show the prompt after the file has changed.
CREATE TABLE template_versions (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    source_text TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    UNIQUE (name, version, source_sha256)
) STRICT;

-- How an answer of the bot came about. The answer itself is the row in messages; nothing here repeats people's words.
CREATE TABLE replies (
    id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    command TEXT NOT NULL,                          -- 'chat' or the command's name
    template_id INTEGER REFERENCES template_versions (id),
    model_name TEXT NOT NULL,
    precision TEXT NOT NULL,
    sampling TEXT,                                  -- JSON of SamplingParams, NULL where nothing was sampled
    seed INTEGER,
    num_prompt_tokens INTEGER NOT NULL,
    num_new_tokens INTEGER NOT NULL,
    finish_reason TEXT,
    queue_ms REAL,
    prefill_ms REAL,
    decode_ms REAL,
    prompt_inputs TEXT NOT NULL,                    -- JSON object: other inputs of the prompt
    prompt_sha256 TEXT                              -- of the exact prompt; forgotten with a message that it contains
) STRICT;

CREATE INDEX replies_by_template ON replies (template_id);

-- The messages that an answer read, in order, at the revision they had. No foreign key: they may be gone by now.
CREATE TABLE reply_reads (
    reply_id INTEGER NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (reply_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX reply_reads_by_message ON reply_reads (message_id);

-- channel '' holds the server's own settings; a channel's beat them.
CREATE TABLE settings (
    platform TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (platform, server, channel, name)
) STRICT, WITHOUT ROWID;

-- What stands behind buttons and typed choices. The state holds people's words: it goes with its source message.
CREATE TABLE open_cards (
    id TEXT PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    owner_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    state TEXT NOT NULL,                            -- JSON object
    source_message_id TEXT,
    created_at_utc INTEGER NOT NULL,
    saved_at_utc INTEGER NOT NULL,
    expires_at_utc INTEGER NOT NULL
) STRICT;

CREATE INDEX open_cards_by_owner ON open_cards (conversation_id, owner_id, saved_at_utc);
CREATE INDEX open_cards_by_source ON open_cards (source_message_id);
CREATE INDEX open_cards_by_expiry ON open_cards (expires_at_utc);

-- The servers, channels, people and messages of a platform that this program hosts itself: the web page. Of other
-- platforms such rows are on their own servers.

CREATE TABLE hosted_servers (
    id TEXT COLLATE "C" PRIMARY KEY,
    platform TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL
);

CREATE TABLE hosted_channels (
    id TEXT COLLATE "C" PRIMARY KEY,
    server_id TEXT COLLATE "C" NOT NULL REFERENCES hosted_servers (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL
);

CREATE INDEX hosted_channels_of_server ON hosted_channels (server_id);

CREATE TABLE hosted_people (
    id TEXT COLLATE "C" PRIMARY KEY,
    platform TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    is_moderator BIGINT NOT NULL CHECK (is_moderator IN (0, 1))
);

-- The id is the time of the message in microseconds since 1970 UTC; no two are the same. Of an answer of the bot,
-- `author_id` is empty, `asked` the id of what it answers and `asker_id` whose request that is.
CREATE TABLE hosted_messages (
    id BIGINT PRIMARY KEY,
    conversation_id BIGINT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    author_id TEXT COLLATE "C" NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    reply_to BIGINT,
    file_name TEXT COLLATE "C" NOT NULL DEFAULT '',
    nonce TEXT COLLATE "C" UNIQUE,
    asked BIGINT,
    asker_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    card TEXT COLLATE "C",
    is_edited BIGINT NOT NULL DEFAULT 0 CHECK (is_edited IN (0, 1)),
    revision BIGINT NOT NULL
);

CREATE INDEX hosted_messages_of_conversation ON hosted_messages (conversation_id, id);
CREATE INDEX hosted_messages_of_author ON hosted_messages (author_id) WHERE author_id <> '';
CREATE INDEX hosted_answers_of_asker ON hosted_messages (asker_id) WHERE asker_id <> '';
CREATE INDEX hosted_answers ON hosted_messages (asked) WHERE asked IS NOT NULL;

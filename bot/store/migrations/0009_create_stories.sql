-- A text that a conversation writes together with the bot: the newest row of a conversation is in progress, or its last.
CREATE TABLE stories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,           -- never used twice: cards carry it
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    revision INTEGER NOT NULL CHECK (revision >= 1),    -- goes up with every step
    sampling TEXT NOT NULL,                         -- JSON of SamplingParams, without stop texts
    num_rounds INTEGER NOT NULL CHECK (num_rounds >= 0),
    offer TEXT NOT NULL,                            -- JSON: the continuations to choose from now
    begun_by TEXT NOT NULL,                         -- message_id of the command that began it
    ended_by TEXT                                   -- … that ended it; NULL: in progress
) STRICT;

CREATE INDEX stories_by_conversation ON stories (conversation_id, id);

-- What was said and chosen, in order. A member's words are only in messages, so they change and go with their message.
CREATE TABLE story_parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,           -- order
    story_id INTEGER NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    message_id TEXT NOT NULL,                       -- whose words these are; of the bot's, the message that they answer
    text TEXT,                                      -- the bot's words; NULL: those of the message
    offer TEXT NOT NULL,                            -- JSON: the continuations to choose from before
    is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1))
) STRICT;

CREATE INDEX story_parts_by_story ON story_parts (story_id, id);
CREATE INDEX story_parts_by_conversation ON story_parts (conversation_id);
CREATE INDEX story_parts_by_message ON story_parts (message_id);
CREATE UNIQUE INDEX story_parts_said ON story_parts (story_id, message_id) WHERE text IS NULL;

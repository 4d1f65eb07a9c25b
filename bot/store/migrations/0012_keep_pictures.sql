-- The pictures of messages that a model reads, as small copies. They belong to the words of their message, whether these
-- are in messages, in inbox or in both: the triggers erase them with the last of the two, in whichever way that happens.
CREATE TABLE message_pictures (
    id INTEGER PRIMARY KEY,                         -- their order in the message
    platform TEXT NOT NULL,
    message_id TEXT NOT NULL,
    picture_id TEXT NOT NULL,                       -- the platform's id of the file
    media_type TEXT NOT NULL CHECK (media_type IN ('image/png', 'image/jpeg')),
    data BLOB NOT NULL,
    UNIQUE (platform, message_id, picture_id)
) STRICT;

-- Of a request that waits: the ids of all pictures that were attached, a JSON array; some may not have been read.
ALTER TABLE inbox ADD COLUMN picture_ids TEXT NOT NULL DEFAULT '[]';

CREATE TRIGGER erase_pictures_of_erased_message AFTER UPDATE OF deleted_at_utc ON messages
WHEN new.deleted_at_utc IS NOT NULL
BEGIN
    DELETE FROM message_pictures WHERE platform = new.platform AND message_id = new.message_id;
END;

CREATE TRIGGER erase_pictures_of_deleted_message AFTER DELETE ON messages
BEGIN
    DELETE FROM message_pictures WHERE platform = old.platform AND message_id = old.message_id;
END;

CREATE TRIGGER erase_pictures_of_ended_request AFTER UPDATE OF text ON inbox
WHEN new.text IS NULL
BEGIN
    DELETE FROM message_pictures WHERE platform = new.platform AND message_id = new.message_id AND NOT EXISTS (
        SELECT 1 FROM messages m
         WHERE m.platform = new.platform AND m.message_id = new.message_id AND m.deleted_at_utc IS NULL);
END;

CREATE TRIGGER erase_pictures_of_deleted_request AFTER DELETE ON inbox
BEGIN
    DELETE FROM message_pictures WHERE platform = old.platform AND message_id = old.message_id AND NOT EXISTS (
        SELECT 1 FROM messages m
         WHERE m.platform = old.platform AND m.message_id = old.message_id AND m.deleted_at_utc IS NULL);
END;

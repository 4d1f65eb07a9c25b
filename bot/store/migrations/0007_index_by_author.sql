-- What is looked up by its author or its age costs the same however much is stored.

CREATE INDEX messages_by_author ON messages (platform, author_id, is_me, deleted_at_utc) WHERE author_id <> '';
CREATE INDEX messages_of_chat ON messages (conversation_id, created_at_utc, id)
    WHERE kind = 'chat' AND deleted_at_utc IS NULL;
CREATE INDEX answers_by_time ON messages (conversation_id, created_at_utc, id) WHERE is_me = 1;
CREATE INDEX inbox_by_author ON inbox (platform, author_id) WHERE author_id <> '';
CREATE INDEX inbox_by_age ON inbox (accepted_at_utc);
CREATE INDEX inbox_with_text ON inbox (accepted_at_utc) WHERE text IS NOT NULL;
CREATE INDEX open_cards_of_owner ON open_cards (owner_id);

-- How many messages and answers are stored, kept up to date by triggers: counting millions takes seconds.
CREATE TABLE totals (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    num_messages INTEGER NOT NULL,
    num_replies INTEGER NOT NULL
) STRICT;

INSERT INTO totals (id, num_messages, num_replies)
SELECT 1, (SELECT count(*) FROM messages WHERE deleted_at_utc IS NULL), (SELECT count(*) FROM replies);

CREATE TRIGGER count_new_message AFTER INSERT ON messages WHEN new.deleted_at_utc IS NULL
BEGIN
    UPDATE totals SET num_messages = num_messages + 1;
END;

CREATE TRIGGER count_deleted_message AFTER DELETE ON messages WHEN old.deleted_at_utc IS NULL
BEGIN
    UPDATE totals SET num_messages = num_messages - 1;
END;

CREATE TRIGGER count_erased_message AFTER UPDATE OF deleted_at_utc ON messages
WHEN old.deleted_at_utc IS NULL AND new.deleted_at_utc IS NOT NULL
BEGIN
    UPDATE totals SET num_messages = num_messages - 1;
END;

CREATE TRIGGER count_new_reply AFTER INSERT ON replies
BEGIN
    UPDATE totals SET num_replies = num_replies + 1;
END;

CREATE TRIGGER count_deleted_reply AFTER DELETE ON replies
BEGIN
    UPDATE totals SET num_replies = num_replies - 1;
END;

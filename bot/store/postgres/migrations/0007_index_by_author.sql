-- What is looked up by its author or its age costs the same however much is stored.

CREATE INDEX messages_by_author ON messages (platform, author_id, is_me, deleted_at_utc) WHERE author_id <> '';
CREATE INDEX messages_of_chat ON messages (conversation_id, created_at_utc, id)
    WHERE kind = 'chat' AND deleted_at_utc IS NULL;
CREATE INDEX answers_by_time ON messages (conversation_id, created_at_utc, id) WHERE is_me = 1;
CREATE INDEX inbox_by_author ON inbox (platform, author_id) WHERE author_id <> '';
CREATE INDEX inbox_by_age ON inbox (accepted_at_utc);
CREATE INDEX inbox_with_text ON inbox (accepted_at_utc) WHERE text IS NOT NULL;
CREATE INDEX open_cards_of_owner ON open_cards (owner_id);

-- How many messages and answers are stored, kept up to date by triggers: counting millions takes seconds. The sums of the
-- rows count: each connection has one of several, because two transactions that change the same wait for each other.
CREATE TABLE totals (
    id BIGINT PRIMARY KEY CHECK (id BETWEEN 1 AND 64),
    num_messages BIGINT NOT NULL,
    num_replies BIGINT NOT NULL
);

INSERT INTO totals (id, num_messages, num_replies) SELECT id, 0, 0 FROM generate_series(1, 64) AS id;

CREATE FUNCTION count_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE totals SET num_messages = num_messages + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
    WHERE id = 1 + pg_backend_pid() % 64;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE totals SET num_replies = num_replies + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
    WHERE id = 1 + pg_backend_pid() % 64;
    RETURN NULL;
END
$$;

CREATE TRIGGER count_new_message AFTER INSERT ON messages FOR EACH ROW WHEN (new.deleted_at_utc IS NULL)
EXECUTE FUNCTION count_message();

CREATE TRIGGER count_deleted_message AFTER DELETE ON messages FOR EACH ROW WHEN (old.deleted_at_utc IS NULL)
EXECUTE FUNCTION count_message();

CREATE TRIGGER count_erased_message AFTER UPDATE OF deleted_at_utc ON messages FOR EACH ROW
WHEN (old.deleted_at_utc IS NULL AND new.deleted_at_utc IS NOT NULL)
EXECUTE FUNCTION count_message();

CREATE TRIGGER count_new_reply AFTER INSERT ON replies FOR EACH ROW
EXECUTE FUNCTION count_reply();

CREATE TRIGGER count_deleted_reply AFTER DELETE ON replies FOR EACH ROW
EXECUTE FUNCTION count_reply();

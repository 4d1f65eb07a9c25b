-- What the platform says the place of a request is: rights follow from it when the request is answered after a restart.
ALTER TABLE inbox ADD COLUMN place_kind TEXT NOT NULL DEFAULT 'server'
    CHECK (place_kind IN ('server', 'direct', 'group', 'foreign', 'terminal'));
-- The card in the message that was replied to, and its revision there: a word may answer it.
ALTER TABLE inbox ADD COLUMN replied_card TEXT;
ALTER TABLE inbox ADD COLUMN replied_revision INTEGER NOT NULL DEFAULT 0;

-- Requests that are open now: an interaction outside servers may be of a group conversation, where fewer rights hold.
UPDATE inbox SET place_kind = iif(token = '', 'direct', 'group')
    WHERE conversation_id IN (SELECT id FROM conversations WHERE server = '@me');

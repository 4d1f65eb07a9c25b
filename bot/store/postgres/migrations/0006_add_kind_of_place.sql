-- What the platform says the place of a request is: rights follow from it when the request is answered after a restart.
ALTER TABLE inbox ADD COLUMN place_kind TEXT COLLATE "C" NOT NULL DEFAULT 'server'
    CHECK (place_kind IN ('server', 'direct', 'group', 'foreign', 'terminal'));
-- The card in the message that was replied to, and its revision there: a word may answer it.
ALTER TABLE inbox ADD COLUMN replied_card TEXT COLLATE "C";
ALTER TABLE inbox ADD COLUMN replied_revision BIGINT NOT NULL DEFAULT 0;

-- What kind of file an attached text was: one with rows is read by its columns or fields.

ALTER TABLE messages ADD COLUMN attachment_format TEXT COLLATE "C" NOT NULL DEFAULT ''
    CHECK (attachment_format IN ('', 'csv', 'tsv', 'jsonl'));
ALTER TABLE inbox ADD COLUMN attachment_format TEXT COLLATE "C" NOT NULL DEFAULT ''
    CHECK (attachment_format IN ('', 'csv', 'tsv', 'jsonl'));

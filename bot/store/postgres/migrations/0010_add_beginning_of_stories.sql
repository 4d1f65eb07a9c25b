-- When a story was begun: what was said before, and is read back after a restart, does not belong to it.
ALTER TABLE stories ADD COLUMN begun_at_utc BIGINT NOT NULL DEFAULT 0;
-- The message or click that took a part back, so that it does so once.
ALTER TABLE story_parts ADD COLUMN undone_by TEXT COLLATE "C";
-- The message whose answer showed a part of the bot first, if it is another than the one that the part answers.
ALTER TABLE story_parts ADD COLUMN asked_id TEXT COLLATE "C";

CREATE INDEX story_parts_by_asked ON story_parts (asked_id) WHERE asked_id IS NOT NULL;

-- Whether what somebody said is a message on the platform, which can be deleted or edited there: a slash command is none.
-- Of messages from before, the inbox knows it, as long as it has them.
ALTER TABLE messages ADD COLUMN is_visible BIGINT NOT NULL DEFAULT 0;

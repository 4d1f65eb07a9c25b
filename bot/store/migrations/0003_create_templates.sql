-- Templates that a server's moderators write. `channel` is '' but in direct messages, where every channel has its own.

-- The versions of each template. A row stays as it was written, but for what forgetting takes out of it.
CREATE TABLE server_templates (
    id INTEGER PRIMARY KEY,
    platform TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    action TEXT NOT NULL CHECK (action IN ('new', 'edit', 'rollback', 'import', 'delete', 'forget')),
    author_id TEXT NOT NULL,                        -- '' when that person was forgotten, and of 'forget'
    author_name TEXT NOT NULL,
    reason TEXT NOT NULL,
    parent_number INTEGER NOT NULL CHECK (parent_number >= 0),  -- 0: the shipped template, or none
    created_at_utc INTEGER NOT NULL,
    source_text TEXT,                               -- the whole prompt file; NULL: deleted, or could not be kept
    version TEXT,                                   -- the template's own hash
    score TEXT,                                     -- JSON object of figures
    score_model TEXT,                               -- the fingerprint of the model that was measured
    is_newest INTEGER NOT NULL CHECK (is_newest IN (0, 1)),
    change INTEGER NOT NULL,                        -- of template_changes, when the row was written or changed last
    UNIQUE (platform, server, channel, name, number),
    CHECK ((source_text IS NULL) = (version IS NULL)),
    CHECK (action <> 'delete' OR source_text IS NULL),
    CHECK ((score IS NULL) = (score_model IS NULL)),
    CHECK (score IS NULL OR source_text IS NOT NULL)
) STRICT;

-- What is published, without a look at the older versions.
CREATE UNIQUE INDEX server_templates_newest ON server_templates (platform, server, channel, name) WHERE is_newest = 1;
CREATE INDEX server_templates_by_author ON server_templates (platform, author_id);
CREATE INDEX server_templates_by_change ON server_templates (platform, server, channel, change);

-- Counts every change of any template: by the highest in its rows, a copy in memory knows if it is up to date.
CREATE TABLE template_changes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    latest INTEGER NOT NULL
) STRICT;

INSERT INTO template_changes (id, latest) VALUES (1, 0);

-- What a moderator has not published yet.
CREATE TABLE template_drafts (
    platform TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    author_id TEXT NOT NULL,
    based_on INTEGER NOT NULL CHECK (based_on >= 0),
    based_on_sha256 TEXT,                           -- of the shipped text, where based_on is 0 and there is one
    source_text TEXT,                               -- the last valid state; NULL where there was none yet
    form_values TEXT,                               -- JSON object: what was typed, where that was not valid
    problem TEXT NOT NULL,
    updated_at_utc INTEGER NOT NULL,
    PRIMARY KEY (platform, server, channel, name, author_id)
) STRICT;

CREATE INDEX template_drafts_by_author ON template_drafts (platform, author_id);
CREATE INDEX template_drafts_by_time ON template_drafts (updated_at_utc);

-- Which words in a template's rows were taken from a message, so that forgetting reaches them.
CREATE TABLE template_origins (
    platform TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    words_sha256 TEXT NOT NULL,
    message_id TEXT NOT NULL,
    author_id TEXT NOT NULL,
    created_at_utc INTEGER NOT NULL,
    PRIMARY KEY (platform, server, channel, name, words_sha256, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX template_origins_by_message ON template_origins (platform, message_id);
CREATE INDEX template_origins_by_author ON template_origins (platform, author_id);

-- What a model made of one row in one prompt: numbers, to go on with a measurement where it was interrupted.
CREATE TABLE row_outcomes (
    prompt_sha256 TEXT NOT NULL,
    model TEXT NOT NULL,
    row_sha256 TEXT NOT NULL,
    numbers TEXT NOT NULL,                          -- JSON object
    saved_at_utc INTEGER NOT NULL,
    PRIMARY KEY (prompt_sha256, model, row_sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX row_outcomes_by_time ON row_outcomes (saved_at_utc);

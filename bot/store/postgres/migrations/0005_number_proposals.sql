-- The highest number of a proposed example, so that no number is given twice. `channel` is '' but in direct messages.
CREATE TABLE proposal_numbers (
    platform TEXT COLLATE "C" NOT NULL,
    server TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,                     -- of the template
    latest BIGINT NOT NULL CHECK (latest >= 1),
    PRIMARY KEY (platform, server, channel, name)
);

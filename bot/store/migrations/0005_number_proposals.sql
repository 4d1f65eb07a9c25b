-- The highest number of a proposed example, so that no number is given twice. `channel` is '' but in direct messages.
CREATE TABLE proposal_numbers (
    platform TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,                             -- of the template
    latest INTEGER NOT NULL CHECK (latest >= 1),
    PRIMARY KEY (platform, server, channel, name)
) STRICT, WITHOUT ROWID;

-- Proposals had no number of their own: their place among those of the template was shown, the oldest first.
UPDATE open_cards SET state = json_set(state, '$.number', placed.number)
FROM (
    SELECT o.id, row_number() OVER (
        PARTITION BY c.platform, c.server, iif(c.server = '@me', c.channel, ''), json_extract(o.state, '$.template')
        ORDER BY o.created_at_utc, o.rowid
    ) AS number
    FROM open_cards o JOIN conversations c ON c.id = o.conversation_id
    WHERE o.kind = 'example_proposal'
) AS placed
WHERE open_cards.id = placed.id;

INSERT INTO proposal_numbers (platform, server, channel, name, latest)
SELECT c.platform, c.server, iif(c.server = '@me', c.channel, ''), json_extract(o.state, '$.template'), count(*)
FROM open_cards o JOIN conversations c ON c.id = o.conversation_id
WHERE o.kind = 'example_proposal'
GROUP BY 1, 2, 3, 4;

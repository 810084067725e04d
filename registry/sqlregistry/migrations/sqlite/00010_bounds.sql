-- +goose Up
-- Whose room in the audit an entry takes, and which of theirs it is, counted one by one: when there are too many, the oldest of the same share go.
-- An empty share is that of operators, commands and perdiem itself; any other is an actor's who is none of these.
ALTER TABLE audit ADD COLUMN share TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
UPDATE audit SET place = seq;
CREATE UNIQUE INDEX audit_share ON audit (share, place);

-- To forget revoked tokens, and to count those of an application's own that were not.
CREATE INDEX tokens_revoked ON tokens (revoked) WHERE revoked IS NOT NULL;
CREATE INDEX tokens_own ON tokens (application, seq) WHERE member = '' AND revoked IS NULL;

-- To forget what an application had that is removed; a file may remove very many.
CREATE INDEX alert_messages_application ON alert_messages (application);
CREATE INDEX alert_crossings_application ON alert_crossings (application);
CREATE INDEX near_members_application ON near_members (application);

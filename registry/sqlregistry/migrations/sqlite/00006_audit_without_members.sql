-- +goose Up
-- The audit names no members: entries of issued tokens did.
UPDATE audit SET became = COALESCE((SELECT 'application ' || t.application || ' for a member' FROM tokens t WHERE 'token ' || t.id = audit.subject), '')
WHERE action = 'token.issue' AND became LIKE '% member %';
